//! The codes of errors that are not a manifest's (whose are in [`manifest::Code`](crate::manifest::Code)): every cause that a user meets
//! has one, it never changes meaning, and it is never used again.

/// An enumeration of codes: each with its text and its cause in one sentence.
macro_rules! codes {
    ($(#[$outer:meta])* $($id:ident = $text:literal, $doc:literal;)*) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = concat!($text, ": ", $doc)] $id,)*
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &[Self] = &[$(Self::$id),*];

            /// The code as it is printed, for instance `MB0102`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$id => $text),* }
            }

            /// The cause in one sentence.
            #[must_use]
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$id => $doc),* }
            }
        }
    };
}

pub(crate) use codes;

codes! {
    /// Cause of an error that is not a manifest's.
    // What the host lacks.
    OldKernel = "MB1001", "The host's kernel is too old.";
    NoNamespace = "MB1002", "The host does not let this user make a namespace.";
    NoTun = "MB1003", "The device /dev/net/tun cannot be opened.";
    NoKvm = "MB1004", "The device /dev/kvm cannot be opened.";
    NoProgram = "MB1005", "A program that the run needs is not installed.";
    NotIsolated = "MB1006", "VMMs cannot be isolated from this machine.";
    // The machine's set-up.
    TunedAlready = "MB1101", "The machine was tuned before and has not been put back.";
    NotTuned = "MB1102", "There are no previous values to put back.";
    // Artefacts.
    NoAgent = "MB2001", "The guest agent is not built.";
    NoKernel = "MB2002", "A guest kernel cannot be had from any of its sources.";
    NoEngineProgram = "MB2003", "A VMM's program cannot be had from any of its sources.";
    WrongDigest = "MB2004", "A file does not have the SHA-256 that its description states.";
    NoRootfs = "MB2005", "A root file system cannot be made.";
    BadDescription = "MB2006", "The description of a kernel, root file system, program or engine is wrong.";
    ToolFailed = "MB2007", "A program that artefacts are built with could not be started, or failed.";
    CacheDamaged = "MB2008", "The cache holds a note that cannot be read.";
    UnfitPath = "MB2009", "A path holds a character that engines' command lines and files cannot hold.";
    // Run directories.
    NoRun = "MB3001", "No run has this name, or several begin with it.";
    NotARun = "MB3002", "The folder is no run directory.";
    RunExists = "MB3003", "The run directory that was to be made exists already.";
    RunInUse = "MB3004", "Another microbench has the run open.";
    PlanEdited = "MB3005", "The run's plan was edited after the run began.";
    JournalDamaged = "MB3006", "A line of the run's journal is damaged.";
    RunFileDamaged = "MB3007", "A file of the run cannot be understood.";
    OtherFormat = "MB3008", "The run is of another format than this microbench reads.";
    ArtefactChanged = "MB3009", "A kernel, image, program or file has changed since the run began.";
    ArtefactGone = "MB3010", "A kernel, image, program or file of the run is not there any more.";
    OtherHost = "MB3011", "The run was begun on another host.";
    OtherHostKind = "MB3012", "The run was begun on a host of another kind.";
    NoRoom = "MB3013", "The disk has too little room for the next trial.";
    RunInShm = "MB3014", "The run directory is in /dev/shm, which a run covers.";
    BadArchive = "MB3015", "The file is no archive of a run, or was changed.";
    NotAShard = "MB3016", "The run is no shard.";
    ShardsDiffer = "MB3017", "The shards are not of one run.";
    ShardTwice = "MB3018", "A shard or a trial of it would be in the merged run twice.";
    ShardMissing = "MB3019", "A shard is missing or incomplete.";
    Merged = "MB3020", "The run was merged of shards and cannot be gone on with.";
    // Execution.
    EmulatorFailed = "MB4001", "The emulated host does not start.";
    EmulatorKeepsEnding = "MB4002", "The emulated host ends before it completes a trial.";
    EmulatorSays = "MB4003", "Something failed in the emulated host.";
    NoTap = "MB4004", "A tap interface cannot be made.";
    NoGuest = "MB4005", "No guest comes up under KVM.";
    SlurmFailed = "MB4006", "A command of Slurm failed.";
    // Analysis.
    NotAnalysed = "MB5001", "The run has not been analysed.";
    NoFigure = "MB5002", "A figure cannot be drawn.";
    HostKindsDiffer = "MB5003", "The runs are of different kinds of hosts, whose times do not compare.";
    HostsDiffer = "MB5004", "The runs are of different hosts.";
    NothingInCommon = "MB5005", "The runs have no cell and metric with a value in common.";
    BadTable = "MB5006", "A table of samples cannot be read or written.";
    BadImport = "MB5007", "The table to import does not fit the study.";
    BadQuery = "MB5008", "The SQL query cannot be answered.";
    NoReport = "MB5009", "The report cannot be made.";
    // The command line.
    NoProject = "MB6001", "No folder with kernels/ and rootfs/ is found.";
    UnknownProfile = "MB6002", "The study has no profile of this name.";
    TooManyTrials = "MB6003", "The plan would have more trials than the limit.";
    UnknownCell = "MB6004", "The study has no cell of this name.";
    UnknownVariant = "MB6005", "The run has no variant of this name.";
    UnknownName = "MB6006", "An engine, metric or code of this name does not exist.";
    FileExists = "MB6007", "The file that was to be written exists already.";
    BadValue = "MB6008", "The value of an option is outside its range.";
    NotDivisible = "MB6009", "The plan cannot be divided into so many shards.";
    NoSubmission = "MB6010", "The folder is no submission to Slurm.";
    // The rest.
    System = "MB9001", "The operating system refused something.";
    Unexpected = "MB9002", "Something failed for which there is no code.";
    NoOutput = "MB9003", "Standard output cannot be written to.";
}

impl Code {
    /// The error of this cause, which says `message`. It can be an error of its own, or the context of another.
    #[must_use]
    pub fn says(self, message: impl Into<String>) -> Coded {
        Coded { code: self, message: message.into() }
    }

    /// The exit code of a program that ends with this error.
    #[must_use]
    pub fn exit(self) -> u8 {
        match self.as_str().as_bytes() {
            [_, _, b'1', b'0', ..] => super::exit::LACKING_HOST,
            [_, _, b'6', ..] => super::exit::WRONG_INPUT,
            _ if self == Self::BadImport => super::exit::WRONG_INPUT,
            _ => super::exit::FAILED,
        }
    }
}

/// An error with its code; it displays as its message alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Coded {
    /// The cause.
    pub code: Code,
    /// What is wrong, where, and what mends it.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lacking_host_and_a_wrong_command_line_have_exit_codes_of_their_own() {
        assert_eq!(Code::NoKvm.exit(), 3);
        assert_eq!(Code::TunedAlready.exit(), 1);
        assert_eq!(Code::UnknownProfile.exit(), 2);
        assert_eq!(Code::RunInUse.exit(), 1);
    }
}

//! The codes of errors: every cause that a user meets has one, it never changes meaning, and it is never used again.

use super::exit::{FAILED, MISSING_REQUIREMENT, WRONG_INPUT};

macro_rules! codes {
    ($(#[$outer:meta])* $($id:ident = $text:literal, $exit:ident, $doc:literal;)*) => {
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

            /// The exit code of a program that ends with this error.
            #[must_use]
            pub const fn exit(self) -> u8 {
                match self { $(Self::$id => $exit),* }
            }
        }
    };
}

codes! {
    /// Cause of an error, with the exit code of a program that ends with it.
    // Manifests.
    // The file.
    Unreadable = "MB0001", WRONG_INPUT, "The manifest cannot be read.";
    TooLong = "MB0002", WRONG_INPUT, "The manifest is longer than 1 MiB.";
    NotUtf8 = "MB0003", WRONG_INPUT, "The manifest is not UTF-8 text.";
    Syntax = "MB0004", WRONG_INPUT, "The manifest is not TOML.";
    // Shape.
    UnknownSection = "MB0101", WRONG_INPUT, "A section of this name does not exist.";
    UnknownKey = "MB0102", WRONG_INPUT, "A key of this name does not exist here.";
    Missing = "MB0103", WRONG_INPUT, "A section, key or setting that must be there is missing.";
    WrongType = "MB0104", WRONG_INPUT, "A value is of another type than its key wants.";
    OutOfRange = "MB0105", WRONG_INPUT, "A number or text is outside its permitted range.";
    BadName = "MB0106", WRONG_INPUT, "A name holds characters that it may not hold.";
    Empty = "MB0107", WRONG_INPUT, "A list, table or text is empty where one element is needed.";
    Twice = "MB0108", WRONG_INPUT, "An element stands twice in a list.";
    ControlCharacter = "MB0109", WRONG_INPUT, "A text of one line holds a line break or another control character.";
    Conflict = "MB0110", WRONG_INPUT, "Two keys stand together that exclude each other.";
    // Engines and settings.
    UnknownEngine = "MB0201", WRONG_INPUT, "An engine of this name does not exist.";
    UnknownKernel = "MB0202", WRONG_INPUT, "A kernel of this name does not exist.";
    UnknownRootfs = "MB0203", WRONG_INPUT, "A root file system of this name does not exist.";
    NotAChoice = "MB0204", WRONG_INPUT, "A value is not one of those that its key permits.";
    NotOfEngine = "MB0205", WRONG_INPUT, "A setting belongs to another engine than the one in use here.";
    SameLabel = "MB0206", WRONG_INPUT, "Two variants have one label: a figure could not tell them apart.";
    FileUnreadable = "MB0207", WRONG_INPUT, "A file that a setting names cannot be read.";
    // Matrix.
    UnknownVariant = "MB0301", WRONG_INPUT, "A variant of this name is not defined.";
    UnknownAxis = "MB0302", WRONG_INPUT, "An axis of this name is not in the matrix, or is no setting.";
    AxisNotOfVariant = "MB0303", WRONG_INPUT, "An axis varies a setting that one of its variants does not have.";
    TrialsNotCovered = "MB0304", WRONG_INPUT, "A concurrency level has no number of trials.";
    TrialsUnused = "MB0305", WRONG_INPUT, "A number of trials is given for a concurrency level that is not in the matrix.";
    ExcludesNothing = "MB0306", WRONG_INPUT, "An exclude line takes out nothing that an earlier one did not.";
    NothingLeft = "MB0307", WRONG_INPUT, "Every combination is excluded.";
    TooMany = "MB0308", WRONG_INPUT, "The study exceeds a stated limit of cells, trials or lines.";
    UnknownLevel = "MB0309", WRONG_INPUT, "A level is not on its axis.";
    AlreadyThere = "MB0310", WRONG_INPUT, "An include line adds a cell that the matrix already has.";
    SameCellName = "MB0311", WRONG_INPUT, "Two levels of an axis would give their cells one name.";
    NotMet = "MB0312", WRONG_INPUT, "A limit of the matrix is one that no cell can meet.";
    // Metrics.
    MetricSource = "MB0401", WRONG_INPUT, "A metric has not exactly one source.";
    UnknownEvent = "MB0402", WRONG_INPUT, "An event of this name does not exist.";
    UnknownReading = "MB0403", WRONG_INPUT, "A reading of this name does not exist.";
    EventOrder = "MB0404", WRONG_INPUT, "A metric's last event does not come after its first.";
    BadSize = "MB0405", WRONG_INPUT, "A text is not a size in bytes.";
    NotBuiltIn = "MB0406", WRONG_INPUT, "A metric without a source is not one of the built-in ones.";
    ProbeConflict = "MB0407", WRONG_INPUT, "The probe is set to different values.";
    NotOfWork = "MB0408", WRONG_INPUT, "A key does not go with the kind of work.";
    NoOwnDisk = "MB0409", WRONG_INPUT, "Work on the disk needs a disk of the VM's own.";
    // Figures.
    UnknownMetric = "MB0501", WRONG_INPUT, "A metric of this name is not in the study.";
    AxisTwice = "MB0502", WRONG_INPUT, "A figure uses one axis twice.";
    MixedUnits = "MB0503", WRONG_INPUT, "A figure mixes metrics of different units.";
    Pooled = "MB0504", WRONG_INPUT, "A bar of the figure would pool different cells.";
    NoCells = "MB0505", WRONG_INPUT, "No cell is left for a figure, or for what else asks for some.";
    NotOfForm = "MB0506", WRONG_INPUT, "A key does not go with the figure's form, or with another of its keys.";
    NoReference = "MB0507", WRONG_INPUT, "A figure shows published values, but the study names none.";
    // Claims.
    ClaimComparison = "MB0601", WRONG_INPUT, "A claim has not exactly one comparison or reason for having none.";
    BadExpectation = "MB0602", WRONG_INPUT, "A text is not an expectation.";
    // Published values.
    ReferenceUnreadable = "MB0701", WRONG_INPUT, "The file of published values cannot be read.";
    // What the host lacks.
    OldKernel = "MB1001", MISSING_REQUIREMENT, "The host's kernel is too old.";
    NoNamespace = "MB1002", MISSING_REQUIREMENT, "The host does not let this user make a namespace.";
    NoTun = "MB1003", MISSING_REQUIREMENT, "The device /dev/net/tun cannot be opened.";
    NoKvm = "MB1004", MISSING_REQUIREMENT, "The device /dev/kvm cannot be opened.";
    NoProgram = "MB1005", MISSING_REQUIREMENT, "A program that the run needs is not installed.";
    NotIsolated = "MB1006", MISSING_REQUIREMENT, "VMMs cannot be isolated from this machine.";
    OtherMachine = "MB1007", MISSING_REQUIREMENT, "Measuring needs Linux on x86-64.";
    // The machine's set-up.
    TunedAlready = "MB1101", FAILED, "The machine was tuned before and has not been put back.";
    NotTuned = "MB1102", FAILED, "There are no previous values to put back.";
    // Artefacts.
    NoAgent = "MB2001", FAILED, "The guest agent is not built.";
    NoKernel = "MB2002", FAILED, "A guest kernel cannot be had from any of its sources.";
    NoEngineProgram = "MB2003", FAILED, "A VMM's program cannot be had from any of its sources.";
    WrongDigest = "MB2004", FAILED, "A file does not have the SHA-256 that its description states.";
    NoRootfs = "MB2005", FAILED, "A root file system cannot be made.";
    BadDescription = "MB2006", FAILED, "The description of a kernel, root file system, program or engine is wrong.";
    ToolFailed = "MB2007", FAILED, "A program that artefacts are built with could not be started, or failed.";
    CacheDamaged = "MB2008", FAILED, "The cache holds a note that cannot be read.";
    UnfitPath = "MB2009", FAILED, "A path holds a character that engines' command lines and files cannot hold.";
    // Run directories.
    NoRun = "MB3001", FAILED, "No run has this name, or several begin with it.";
    NotARun = "MB3002", FAILED, "The folder is no run directory.";
    RunExists = "MB3003", FAILED, "The run directory that was to be made exists already.";
    RunInUse = "MB3004", FAILED, "Another microbench has the run open.";
    PlanEdited = "MB3005", FAILED, "The run's plan was edited after the run began.";
    JournalDamaged = "MB3006", FAILED, "A line of the run's journal is damaged.";
    RunFileDamaged = "MB3007", FAILED, "A file of the run cannot be understood.";
    OtherFormat = "MB3008", FAILED, "The run is of another format than this microbench reads.";
    ArtefactChanged = "MB3009", FAILED, "A kernel, image, program or file has changed since the run began.";
    ArtefactGone = "MB3010", FAILED, "A kernel, image, program or file of the run is not there any more.";
    OtherHost = "MB3011", FAILED, "The run was begun on another host.";
    OtherHostKind = "MB3012", FAILED, "The run was begun on a host of another kind.";
    NoRoom = "MB3013", FAILED, "The disk has too little room for the next trial.";
    RunInShm = "MB3014", FAILED, "The run directory is in /dev/shm, which a run covers.";
    BadArchive = "MB3015", FAILED, "The file is no archive of a run, or was changed.";
    NotAShard = "MB3016", FAILED, "The run is no shard.";
    ShardsDiffer = "MB3017", FAILED, "The shards are not of one run.";
    ShardTwice = "MB3018", FAILED, "A shard or a trial of it would be in the merged run twice.";
    ShardMissing = "MB3019", FAILED, "A shard is missing or incomplete.";
    Merged = "MB3020", FAILED, "The run was merged of shards and cannot be gone on with.";
    RunFileEdited = "MB3021", FAILED, "A file of the run was edited after the run began.";
    NotBegun = "MB3022", FAILED, "The run has no session: nothing of it was executed.";
    // Execution.
    EmulatorFailed = "MB4001", FAILED, "The emulated host does not start.";
    EmulatorKeepsEnding = "MB4002", FAILED, "The emulated host ends before it completes a trial.";
    EmulatorSays = "MB4003", FAILED, "Something failed in the emulated host.";
    NoTap = "MB4004", FAILED, "A tap interface cannot be made.";
    NoGuest = "MB4005", FAILED, "No guest comes up under KVM.";
    SlurmFailed = "MB4006", FAILED, "A command of Slurm failed.";
    // Analysis.
    NotAnalysed = "MB5001", FAILED, "The run has not been analysed.";
    NoFigure = "MB5002", FAILED, "A figure cannot be drawn.";
    HostKindsDiffer = "MB5003", FAILED, "The runs are of different kinds of hosts, whose times do not compare.";
    HostsDiffer = "MB5004", FAILED, "The runs are of different hosts.";
    NothingInCommon = "MB5005", FAILED, "The runs have no cell and metric with a value in common.";
    BadTable = "MB5006", FAILED, "A table of samples cannot be read or written.";
    BadImport = "MB5007", WRONG_INPUT, "The table to import does not fit the study.";
    BadQuery = "MB5008", FAILED, "The SQL query cannot be answered.";
    NoReport = "MB5009", FAILED, "The report cannot be made.";
    // The command line.
    NoProject = "MB6001", WRONG_INPUT, "The folder given as the project describes no kernel and no root file system.";
    UnknownProfile = "MB6002", WRONG_INPUT, "The study has no profile of this name.";
    TooManyTrials = "MB6003", WRONG_INPUT, "The plan would have more trials than the limit.";
    UnknownCell = "MB6004", WRONG_INPUT, "The study has no cell of this name.";
    NoSuchVariant = "MB6005", WRONG_INPUT, "The run has no variant of this name.";
    UnknownName = "MB6006", WRONG_INPUT, "An engine, metric or code of this name does not exist.";
    FileExists = "MB6007", WRONG_INPUT, "The file that was to be written exists already.";
    BadValue = "MB6008", WRONG_INPUT, "The value of an option is outside its range.";
    NotDivisible = "MB6009", WRONG_INPUT, "The plan cannot be divided into so many shards.";
    NoSubmission = "MB6010", WRONG_INPUT, "The folder is no submission to Slurm.";
    // The rest.
    System = "MB9001", FAILED, "The operating system refused something.";
    Unexpected = "MB9002", FAILED, "Something failed for which there is no code.";
    NoOutput = "MB9003", FAILED, "Standard output cannot be written to.";
}

impl Code {
    /// The error of this cause, which says `message`. It can be an error of its own, or the context of another.
    #[must_use]
    pub fn says(self, message: impl Into<String>) -> Coded {
        Coded { code: self, message: message.into() }
    }
}

impl Coded {
    /// The error's code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
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

    #[test]
    fn codes_are_unique_ordered_and_of_one_form() {
        for pair in Code::ALL.windows(2) {
            assert!(pair[0].as_str() < pair[1].as_str(), "{:?} before {:?}", pair[0], pair[1]);
        }
        for code in Code::ALL {
            let text = code.as_str();
            assert!(
                text.len() == 6 && text.starts_with("MB") && text[2..].bytes().all(|b| b.is_ascii_digit()),
                "{text}"
            );
            assert!(code.doc().ends_with('.'), "{text}");
        }
    }
}

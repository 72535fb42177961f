//! Error codes. Each cause of an error that a user can meet has a code. A code never changes its meaning and is never
//! reused.

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

            /// The printed form, for example `MB0102`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$id => $text),* }
            }

            /// The title of the code: one sentence that ends with a full stop.
            #[must_use]
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$id => $doc),* }
            }

            /// The exit code of `microbench` when it ends with this error; see [`exit`](crate::exit).
            #[must_use]
            pub const fn exit(self) -> u8 {
                match self { $(Self::$id => $exit),* }
            }
        }
    };
}

codes! {
    /// The cause of an error.
    ///
    /// ```
    /// use microbench_formats::code::Code;
    ///
    /// let error = Code::NoKvm.with_message("/dev/kvm: permission denied");
    /// assert_eq!(error.to_string(), "/dev/kvm: permission denied");
    /// assert_eq!(error.code.as_str(), "MB1004");
    /// assert_eq!(error.code.exit(), 3);
    /// ```
    // Manifests.
    // The file.
    Unreadable = "MB0001", WRONG_INPUT, "The manifest cannot be read.";
    TooLong = "MB0002", WRONG_INPUT, "The manifest is longer than 1 MiB.";
    NotUtf8 = "MB0003", WRONG_INPUT, "The manifest is not UTF-8 text.";
    Syntax = "MB0004", WRONG_INPUT, "The manifest is not valid TOML.";
    // Shape.
    UnknownSection = "MB0101", WRONG_INPUT, "There is no section of this name.";
    UnknownKey = "MB0102", WRONG_INPUT, "There is no key of this name here.";
    Missing = "MB0103", WRONG_INPUT, "A required section, key or setting is missing.";
    WrongType = "MB0104", WRONG_INPUT, "A value has the wrong type.";
    OutOfRange = "MB0105", WRONG_INPUT, "A number or string is outside its permitted range.";
    BadName = "MB0106", WRONG_INPUT, "A name contains a character that is not permitted.";
    Empty = "MB0107", WRONG_INPUT, "A list, table or string is empty.";
    Duplicate = "MB0108", WRONG_INPUT, "A list contains a duplicate element.";
    ControlCharacter = "MB0109", WRONG_INPUT, "A string contains a line break or another control character.";
    Conflict = "MB0110", WRONG_INPUT, "Two keys exclude each other.";
    BadAuthor = "MB0111", WRONG_INPUT, "An author is not a name with an optional mail address and ORCID.";
    BadLicense = "MB0112", WRONG_INPUT, "A licence is not an SPDX license expression.";
    BadDoi = "MB0113", WRONG_INPUT, "A DOI is invalid.";
    // Engines and settings.
    UnknownEngine = "MB0201", WRONG_INPUT, "There is no engine of this name.";
    UnknownKernel = "MB0202", WRONG_INPUT, "There is no kernel of this name.";
    UnknownRootfs = "MB0203", WRONG_INPUT, "There is no root file system of this name.";
    NotAChoice = "MB0204", WRONG_INPUT, "A value is not one of those that its key accepts.";
    NotOfEngine = "MB0205", WRONG_INPUT, "A setting is not supported by the variant's engine.";
    SameLabel = "MB0206", WRONG_INPUT, "Two variants have the same label.";
    FileUnreadable = "MB0207", WRONG_INPUT, "A file that a setting names cannot be read.";
    // Matrix.
    UnknownVariant = "MB0301", WRONG_INPUT, "There is no variant of this name.";
    UnknownAxis = "MB0302", WRONG_INPUT, "There is no axis of this name.";
    AxisNotOfVariant = "MB0303", WRONG_INPUT, "An axis varies a setting that one of its variants does not support.";
    TrialsNotCovered = "MB0304", WRONG_INPUT, "A concurrency level has no number of trials.";
    TrialsUnused = "MB0305", WRONG_INPUT, "`trials` has an entry for a concurrency level that is not in the matrix.";
    ExcludesNothing = "MB0306", WRONG_INPUT, "An exclude line has no effect.";
    NothingLeft = "MB0307", WRONG_INPUT, "Every combination is excluded.";
    TooMany = "MB0308", WRONG_INPUT, "The study exceeds the limit of cells, trials or lines.";
    UnknownLevel = "MB0309", WRONG_INPUT, "A level is not on its axis.";
    DuplicateCell = "MB0310", WRONG_INPUT, "An include line adds a cell that the matrix already contains.";
    SameCellName = "MB0311", WRONG_INPUT, "Two levels of an axis result in the same cell name.";
    LimitUnmet = "MB0312", WRONG_INPUT, "No cell can meet the limit of the matrix.";
    // Metrics.
    MetricSource = "MB0401", WRONG_INPUT, "A metric does not have exactly one source.";
    UnknownEvent = "MB0402", WRONG_INPUT, "There is no event of this name.";
    UnknownReading = "MB0403", WRONG_INPUT, "There is no reading of this name.";
    EventOrder = "MB0404", WRONG_INPUT, "The last event of a metric does not occur after its first event.";
    BadSize = "MB0405", WRONG_INPUT, "A string is not a size in bytes.";
    NotBuiltIn = "MB0406", WRONG_INPUT, "A metric has no source and is not built in.";
    ProbeConflict = "MB0407", WRONG_INPUT, "The probe is set to different values.";
    NotOfWorkload = "MB0408", WRONG_INPUT, "A key does not apply to the kind of workload.";
    NoOwnDisk = "MB0409", WRONG_INPUT, "A disk workload requires that each VM has its own disk.";
    // Figures.
    UnknownMetric = "MB0501", WRONG_INPUT, "The study has no metric of this name.";
    DuplicateAxis = "MB0502", WRONG_INPUT, "A figure uses the same axis twice.";
    MixedUnits = "MB0503", WRONG_INPUT, "A figure or claim combines metrics of different units.";
    Pooled = "MB0504", WRONG_INPUT, "A bar of the figure would pool different cells.";
    NoCells = "MB0505", WRONG_INPUT, "No cell matches a selection of levels.";
    NotOfForm = "MB0506", WRONG_INPUT, "A key does not apply to the figure's form, or conflicts with another key.";
    NoReference = "MB0507", WRONG_INPUT, "A figure shows published values, but the study names no file of them.";
    // Claims.
    ClaimComparison = "MB0601", WRONG_INPUT, "A claim does not have exactly one comparison or `unmeasured`.";
    BadExpectation = "MB0602", WRONG_INPUT, "The value of `expect` is invalid.";
    AcrossHostCpus = "MB0603", WRONG_INPUT, "A claim compares cells on different CPUs of the emulated host.";
    // Published values.
    ReferenceUnreadable = "MB0701", WRONG_INPUT, "The file of published values cannot be read.";
    // Missing requirements of the host.
    OldKernel = "MB1001", MISSING_REQUIREMENT, "The kernel of the host is too old.";
    NoNamespace = "MB1002", MISSING_REQUIREMENT, "The host does not permit a namespace.";
    NoTun = "MB1003", MISSING_REQUIREMENT, "The device /dev/net/tun cannot be opened.";
    NoKvm = "MB1004", MISSING_REQUIREMENT, "The device /dev/kvm cannot be opened.";
    NoProgram = "MB1005", MISSING_REQUIREMENT, "A required program is not installed.";
    NotIsolated = "MB1006", MISSING_REQUIREMENT, "VMMs cannot be isolated from this host.";
    OtherMachine = "MB1007", MISSING_REQUIREMENT, "Measurements require Linux on x86-64.";
    NoTracepoint = "MB1008", MISSING_REQUIREMENT, "A tracepoint of KVM cannot be opened.";
    // `doctor --tune` and `doctor --restore`.
    TunedAlready = "MB1101", FAILED, "The host is tuned already.";
    NotTuned = "MB1102", FAILED, "There are no previous values to restore.";
    // Artefacts.
    NoAgent = "MB2001", FAILED, "The guest agent was not found.";
    NoKernel = "MB2002", FAILED, "A guest kernel cannot be obtained from any of its sources.";
    NoEngineProgram = "MB2003", FAILED, "A VMM's program cannot be obtained from any of its sources.";
    WrongDigest = "MB2004", FAILED, "A file does not have the SHA-256 that its description states.";
    NoRootfs = "MB2005", FAILED, "A root file system cannot be built.";
    BadDescription = "MB2006", FAILED, "The description of a kernel, root file system or engine is invalid.";
    ToolFailed = "MB2007", FAILED, "A program that builds artefacts failed or could not be started.";
    CacheDamaged = "MB2008", FAILED, "A metadata file in the cache cannot be read.";
    UnusablePath = "MB2009", FAILED, "A path contains a character that is not permitted.";
    // Run folders.
    NoRun = "MB3001", FAILED, "There is no run of this name, or several names begin with it.";
    NotARun = "MB3002", FAILED, "The folder contains no run.";
    RunExists = "MB3003", FAILED, "The run folder exists already.";
    RunInUse = "MB3004", FAILED, "Another process is executing the run.";
    PlanEdited = "MB3005", FAILED, "The plan of the run was changed after the run started.";
    JournalDamaged = "MB3006", FAILED, "The journal of the run is damaged.";
    RunFileDamaged = "MB3007", FAILED, "A file of the run is damaged.";
    OtherFormat = "MB3008", FAILED, "The format of the run is not supported.";
    ArtefactChanged = "MB3009", FAILED, "A kernel, image, program or file has changed since the run started.";
    ArtefactMissing = "MB3010", FAILED, "An artefact of the run is missing.";
    OtherHost = "MB3011", FAILED, "The run was started on another host.";
    OtherHostKind = "MB3012", FAILED, "The run was started on another kind of host.";
    DiskFull = "MB3013", FAILED, "There is not enough free disk space for the next trial.";
    RunInShm = "MB3014", FAILED, "The run folder is in /dev/shm.";
    BadArchive = "MB3015", FAILED, "The archive of a run is invalid.";
    NotAShard = "MB3016", FAILED, "The run is not a shard.";
    ShardsDiffer = "MB3017", FAILED, "The shards belong to different runs.";
    DuplicateShard = "MB3018", FAILED, "A shard or one of its trials occurs twice.";
    ShardMissing = "MB3019", FAILED, "A shard is missing or incomplete.";
    Merged = "MB3020", FAILED, "A merged run cannot be resumed.";
    RunFileEdited = "MB3021", FAILED, "engines.json or lock.toml of the run was changed after the run started.";
    NoSession = "MB3022", FAILED, "The run has no session: no trial was executed.";
    // Execution.
    EmulatorFailed = "MB4001", FAILED, "The emulated host did not start.";
    EmulatedHostEnds = "MB4002", FAILED, "The emulated host ends repeatedly before it completes a trial.";
    EmulatedHostFailed = "MB4003", FAILED, "The emulated host reported an error.";
    NoTap = "MB4004", FAILED, "A tap interface cannot be created.";
    NoGuest = "MB4005", FAILED, "No guest boots under KVM.";
    SlurmFailed = "MB4006", FAILED, "A Slurm command failed.";
    OnlyEmulated = "MB4007", WRONG_INPUT, "Cells differ only in a setting of the emulated host.";
    // Analysis.
    NotAnalysed = "MB5001", FAILED, "The run has not been analysed.";
    NoFigure = "MB5002", FAILED, "A figure cannot be drawn.";
    HostKindsDiffer = "MB5003", FAILED, "The runs were measured on different kinds of hosts.";
    HostsDiffer = "MB5004", FAILED, "The runs were measured on different hosts.";
    NothingInCommon = "MB5005", FAILED, "The runs have no cell and metric with values in common.";
    BadTable = "MB5006", FAILED, "A table of samples cannot be read or written.";
    BadImport = "MB5007", WRONG_INPUT, "The imported table does not match the study.";
    BadQuery = "MB5008", FAILED, "The SQL query is invalid.";
    NoReport = "MB5009", FAILED, "The report cannot be made.";
    // The command line.
    NoProject = "MB6001", WRONG_INPUT, "The project folder describes no kernel and no root file system.";
    UnknownProfile = "MB6002", WRONG_INPUT, "The study has no profile of this name.";
    TooManyTrials = "MB6003", WRONG_INPUT, "The plan would have more trials than the limit.";
    UnknownCell = "MB6004", WRONG_INPUT, "The study has no cell of this name.";
    NoSuchVariant = "MB6005", WRONG_INPUT, "The run has no variant of this name.";
    UnknownName = "MB6006", WRONG_INPUT, "There is no study, engine, metric or error code of this name.";
    FileExists = "MB6007", WRONG_INPUT, "The output file exists already.";
    BadValue = "MB6008", WRONG_INPUT, "The value of an option is invalid.";
    NotDivisible = "MB6009", WRONG_INPUT, "The plan cannot be divided into this number of shards.";
    NoSubmission = "MB6010", WRONG_INPUT, "The folder is not a submission to Slurm.";
    // Files of others.
    Foreign = "MB7001", FAILED, "A project, run or description belongs to another user, or others can change it.";
    NotRegular = "MB7002", FAILED, "A file is a link, a FIFO or a device, or is too long.";
    BadSource = "MB7003", FAILED, "A source of an artefact is not permitted.";
    // Everything else.
    System = "MB9001", FAILED, "A system call failed.";
    Unexpected = "MB9002", FAILED, "An error without its own code occurred.";
    NoOutput = "MB9003", FAILED, "Standard output cannot be written.";
}

impl Code {
    /// An error with this code and `message`. Use it as an error of its own, or as the context of another error.
    #[must_use]
    pub fn with_message(self, message: impl Into<String>) -> CodedError {
        CodedError { code: self, message: message.into() }
    }
}

impl CodedError {
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }
}

/// An error with its code. `Display` shows the message only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CodedError {
    pub code: Code,
    /// What failed, where, and what to do.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_requirements_and_wrong_input_have_their_own_exit_codes() {
        assert_eq!(Code::NoKvm.exit(), 3);
        assert_eq!(Code::TunedAlready.exit(), 1);
        assert_eq!(Code::UnknownProfile.exit(), 2);
        assert_eq!(Code::RunInUse.exit(), 1);
    }

    #[test]
    fn codes_are_unique_and_in_ascending_order() {
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

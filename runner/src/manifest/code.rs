//! The codes of a manifest's errors: every cause has one, it never changes meaning, and it is never used again.

use crate::error::code::codes;

codes! {
    /// Cause of an error in a manifest.
    // The file.
    Unreadable = "MB0001", "The manifest cannot be read.";
    TooLong = "MB0002", "The manifest is longer than 1 MiB.";
    NotUtf8 = "MB0003", "The manifest is not UTF-8 text.";
    Syntax = "MB0004", "The manifest is not TOML.";
    // Shape.
    UnknownSection = "MB0101", "A section of this name does not exist.";
    UnknownKey = "MB0102", "A key of this name does not exist here.";
    Missing = "MB0103", "A section, key or setting that must be there is missing.";
    WrongType = "MB0104", "A value is of another type than its key wants.";
    OutOfRange = "MB0105", "A number or text is outside its permitted range.";
    BadName = "MB0106", "A name holds characters that it may not hold.";
    Empty = "MB0107", "A list, table or text is empty where one element is needed.";
    Twice = "MB0108", "An element stands twice in a list.";
    ControlCharacter = "MB0109", "A text of one line holds a line break or another control character.";
    Conflict = "MB0110", "Two keys stand together that exclude each other.";
    // Engines and settings.
    UnknownEngine = "MB0201", "An engine of this name does not exist.";
    UnknownKernel = "MB0202", "A kernel of this name does not exist.";
    UnknownRootfs = "MB0203", "A root file system of this name does not exist.";
    NotAChoice = "MB0204", "A value is not one of those that its key permits.";
    NotOfEngine = "MB0205", "A setting belongs to another engine than the one in use here.";
    SameLabel = "MB0206", "Two variants have one label: a figure could not tell them apart.";
    FileUnreadable = "MB0207", "A file that a setting names cannot be read.";
    // Matrix.
    UnknownVariant = "MB0301", "A variant of this name is not defined.";
    UnknownAxis = "MB0302", "An axis of this name is not in the matrix, or is no setting.";
    AxisNotOfVariant = "MB0303", "An axis varies a setting that one of its variants does not have.";
    TrialsNotCovered = "MB0304", "A concurrency level has no number of trials.";
    TrialsUnused = "MB0305", "A number of trials is given for a concurrency level that is not in the matrix.";
    ExcludesNothing = "MB0306", "An exclude line takes out nothing that an earlier one did not.";
    NothingLeft = "MB0307", "Every combination is excluded.";
    TooMany = "MB0308", "The study exceeds a stated limit of cells, trials or lines.";
    UnknownLevel = "MB0309", "A level is not on its axis.";
    AlreadyThere = "MB0310", "An include line adds a cell that the matrix already has.";
    SameCellName = "MB0311", "Two levels of an axis would give their cells one name.";
    NotMet = "MB0312", "A limit of the matrix is one that no cell can meet.";
    // Metrics.
    MetricSource = "MB0401", "A metric has not exactly one source.";
    UnknownEvent = "MB0402", "An event of this name does not exist.";
    UnknownReading = "MB0403", "A reading of this name does not exist.";
    EventOrder = "MB0404", "A metric's last event does not come after its first.";
    BadSize = "MB0405", "A text is not a size in bytes.";
    NotBuiltIn = "MB0406", "A metric without a source is not one of the built-in ones.";
    ProbeConflict = "MB0407", "The probe is set to different values.";
    NotOfWork = "MB0408", "A key does not go with the kind of work.";
    NoOwnDisk = "MB0409", "Work on the disk needs a disk of the VM's own.";
    // Figures.
    UnknownMetric = "MB0501", "A metric of this name is not in the study.";
    AxisTwice = "MB0502", "A figure uses one axis twice.";
    MixedUnits = "MB0503", "A figure mixes metrics of different units.";
    Pooled = "MB0504", "A bar of the figure would pool different cells.";
    NoCells = "MB0505", "No cell is left for a figure, or for what else asks for some.";
    NotOfForm = "MB0506", "A key does not go with the figure's form, or with another of its keys.";
    NoReference = "MB0507", "A figure shows published values, but the study names none.";
    // Claims.
    ClaimComparison = "MB0601", "A claim has not exactly one comparison or reason for having none.";
    BadExpectation = "MB0602", "A text is not an expectation.";
    // Published values.
    ReferenceUnreadable = "MB0701", "The file of published values cannot be read.";
}

#[cfg(test)]
mod tests {
    use super::*;

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

//! Names of studies, variants, metrics, figures and claims, which are parts of file names and cell ids.

/// Largest number of characters of a name in a manifest.
pub const LONGEST: usize = 64;

/// What names are for, which decides the permitted characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// The name of a study: no `_`.
    Study,
    /// The name of a variant: also upper-case letters and `.`.
    Variant,
    /// Every other name.
    Other,
}

impl NameKind {
    /// Whether `text` is a name of this kind in a manifest: at most [`LONGEST`] characters, the first of which is a
    /// letter or digit.
    ///
    /// ```
    /// use microbench_formats::name::NameKind;
    ///
    /// assert!(NameKind::Other.accepts("boot_time-2") && NameKind::Variant.accepts("QEMU-9.2"));
    /// assert!(!NameKind::Other.accepts("../../x") && !NameKind::Other.accepts("/abs"));
    /// ```
    #[must_use]
    pub fn accepts(self, text: &str) -> bool {
        text.len() <= LONGEST && self.accepts_characters(text)
    }

    /// [`Self::accepts`] for a text of any length.
    #[must_use]
    pub fn accepts_characters(self, text: &str) -> bool {
        let is_permitted = |c: char| match c {
            'a'..='z' | '0'..='9' | '-' => true,
            '_' => self != Self::Study,
            'A'..='Z' | '.' => self == Self::Variant,
            _ => false,
        };
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_permitted)
    }
}

/// Whether `text` can be the id of a cell: names of levels, joined by `/`.
#[must_use]
pub fn is_cell_id(text: &str) -> bool {
    text.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && part.chars().all(is_of_cell))
}

/// Whether ids of cells contain the character as it is.
#[must_use]
pub fn is_of_cell(c: char) -> bool {
    c.is_ascii_alphanumeric() || ".,:=+-_".contains(c)
}

//! Errors of a manifest: collected in one pass, and rendered with their source lines.
//!
//! At most [`MOST_KEPT`] errors are kept and rendered; further errors are counted.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet};
use microbench_formats::code::Code;
use microbench_formats::terminal::wrapped_to;

use super::nearest::quote;
use super::read::At;
use super::renamed::Renamed;

/// Maximum number of errors that are kept and shown.
pub const MOST_KEPT: usize = 50;
/// Maximum number of source bytes shown for one error. A longer excerpt is replaced by its line and column.
const LONGEST_SHOWN: usize = 8192;
/// Maximum number of lines that are listed for one old key.
const MOST_LINES: usize = 100;
/// Columns of a source line outside a terminal; a longer line is cut around its mark.
const SOURCE_WIDTH: usize = 120;
/// Columns of help outside a terminal.
const HELP_WIDTH: usize = 80;
/// The least columns that errors are rendered for.
const LEAST_WIDTH: usize = 40;
/// Columns of ` = help: `, without the digits of the line number before it.
const HELP_PREFIX: usize = 9;

/// One error of a manifest: cause, place and help.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    pub code: Code,
    /// One line.
    pub message: String,
    /// Number of the file: 0 for the manifest, then other files in the order of reading.
    pub file: usize,
    /// Byte range in the file; `None` for an error of the whole file.
    pub span: Option<Range<usize>>,
    /// Text next to the mark below the source line.
    pub label: Option<String>,
    /// Other places in the same file, with labels.
    pub related: Vec<(Range<usize>, String)>,
    pub help: Vec<String>,
}

impl ManifestError {
    pub(super) fn new(code: Code, span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span: Some(span), ..Self::of_file(code, message) }
    }

    pub(super) fn of_file(code: Code, message: impl Into<String>) -> Self {
        let (related, help) = (Vec::new(), Vec::new());
        Self { code, message: message.into(), file: 0, span: None, label: None, related, help }
    }

    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    pub(super) fn related(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }
}

/// Collects errors while a manifest is read.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    errors: Vec<ManifestError>,
    more: usize,
    /// Old keys that were reported, with all their places.
    renamed: Vec<OldKey>,
    /// Files other than the manifest.
    others: Vec<SourceFile>,
    /// Number of the file that the next error is in.
    file: usize,
}

/// An old key of one file: the error at its first place, and its other places.
#[derive(Debug)]
struct OldKey {
    key: &'static Renamed,
    file: usize,
    /// Index of its error.
    error: usize,
    others: Vec<usize>,
}

/// A file that errors refer to.
#[derive(Clone, Debug)]
struct SourceFile {
    path: String,
    source: String,
}

impl Diagnostics {
    pub(super) fn push(&mut self, error: ManifestError) {
        self.push_with(|| error);
    }

    /// Like [`push`](Self::push), but the error is built only if it is kept. For errors that can be numerous.
    pub(super) fn push_with(&mut self, error: impl FnOnce() -> ManifestError) {
        if self.errors.len() < MOST_KEPT {
            self.errors.push(ManifestError { file: self.file, ..error() });
        } else {
            self.more += 1;
        }
    }

    /// Reports a renamed key. One error names all places of the key in a file. It is always kept, so that a manifest of
    /// an older version gets a complete list of its renamed keys.
    pub(super) fn push_renamed(&mut self, key: &'static Renamed, old: &At<String>, place: &str) {
        let known = self.renamed.iter_mut().find(|known| std::ptr::eq(known.key, key) && known.file == self.file);
        if let Some(known) = known {
            known.others.push(old.span.start);
            return;
        }
        let (file, error) = (self.file, self.errors.len());
        self.renamed.push(OldKey { key, file, error, others: Vec::new() });
        let message = if key.old == old.value {
            format!("{} in {place} was renamed to `{}`", quote(&old.value), key.new)
        } else {
            format!("{} in {place} moved into `{}`", quote(&old.value), key.new)
        };
        let help = if key.form.is_empty() {
            format!("write `{}`; the value stays the same", key.new)
        } else {
            key.form.into()
        };
        let error = ManifestError::new(Code::UnknownKey, old.span.clone(), message).help(help);
        self.errors.push(ManifestError { file, ..error });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// Number of errors so far. Each place of an old key counts as one.
    pub(super) fn count(&self) -> usize {
        let others: usize = self.renamed.iter().map(|key| key.others.len()).sum();
        self.errors.len() + self.more + others
    }

    /// Reports the next errors in another file, and returns the number of that file.
    pub(super) fn open_file(&mut self, path: &str, source: &str) -> usize {
        self.others.push(SourceFile { path: path.into(), source: source.into() });
        self.file = self.others.len();
        self.file
    }

    /// Reports the next errors in a file that was opened before.
    pub(super) fn reopen_file(&mut self, file: usize) {
        self.file = file;
    }

    /// Reports the next errors in the manifest again.
    pub(super) fn close_file(&mut self) {
        self.file = 0;
    }

    pub(super) fn into_errors(mut self, path: &str, source: &str) -> ManifestErrors {
        let mut files = vec![SourceFile { path: path.into(), source: source.into() }];
        files.extend(self.others);
        for key in self.renamed.iter().filter(|key| !key.others.is_empty()) {
            let source = files.get(key.file).map_or("", |file| &file.source);
            self.errors[key.error].help.push(other_lines_help(&key.others, source));
        }
        self.errors.sort_by_key(|error| (error.file, error.span.as_ref().map_or(0, |span| span.start)));
        ManifestErrors { files, errors: self.errors, more: self.more }
    }
}

/// Help that lists the lines of `places`, up to [`MOST_LINES`].
fn other_lines_help(places: &[usize], source: &str) -> String {
    let mut lines: Vec<u32> = places.iter().map(|at| line_of(source, *at)).collect();
    lines.sort_unstable();
    lines.dedup();
    let more = lines.len().saturating_sub(MOST_LINES);
    let listed: Vec<String> = lines[..lines.len() - more].iter().map(ToString::to_string).collect();
    let noun = if lines.len() == 1 { "line" } else { "lines" };
    let rest = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("also on {noun} {}{rest}", listed.join(", "))
}

/// All errors of a manifest and of the files that it names. `Display` writes [`ManifestErrors::plain`].
///
/// ```
/// use microbench_study::manifest::{self, Catalog};
///
/// let errors = manifest::parse("boot.toml", "[study", &Catalog::default()).unwrap_err();
/// assert_eq!(errors.count(), errors.errors().len());
/// assert!(errors.plain().contains("boot.toml"));
/// ```
#[derive(Clone, Debug)]
pub struct ManifestErrors {
    /// Never empty; the first is the manifest.
    files: Vec<SourceFile>,
    errors: Vec<ManifestError>,
    more: usize,
}

impl ManifestErrors {
    pub(super) fn of_file(path: &str, source: &str, error: ManifestError) -> Self {
        Self { files: vec![SourceFile { path: path.into(), source: source.into() }], errors: vec![error], more: 0 }
    }

    /// The kept errors in the order of the source: those of the manifest first.
    #[must_use]
    pub fn errors(&self) -> &[ManifestError] {
        &self.errors
    }

    /// Number of errors, including those that were not kept.
    #[must_use]
    pub fn count(&self) -> usize {
        self.errors.len() + self.more
    }

    /// Renders the errors without colours, outside a terminal.
    #[must_use]
    pub fn plain(&self) -> String {
        self.render(false, None)
    }

    /// Renders the errors with ANSI colours if `is_coloured`, for a terminal of `columns` columns.
    ///
    /// Help is wrapped at `columns`, and source lines are cut around their marks. Without a terminal (`None`), help is
    /// wrapped at 80 columns and source lines are cut at 120.
    #[must_use]
    pub fn render(&self, is_coloured: bool, columns: Option<usize>) -> String {
        let columns = columns.map(|columns| columns.max(LEAST_WIDTH));
        let renderer = if is_coloured { Renderer::styled() } else { Renderer::plain() };
        let renderer = renderer.term_width(columns.unwrap_or(SOURCE_WIDTH));
        let mut text = String::new();
        for error in &self.errors {
            let help = self.wrapped_help(error, columns.unwrap_or(HELP_WIDTH));
            text.push_str(&renderer.render(&[self.group(error, &help)]));
            text.push_str("\n\n");
        }
        let count = self.count();
        let noun = if count == 1 { "error" } else { "errors" };
        let kept = if self.more == 0 { String::new() } else { format!(" (the first {MOST_KEPT} are shown)") };
        let summary = format!("{}: {count} {noun}{kept}; nothing was started", self.files[0].path);
        text.push_str(&renderer.render(&[Group::with_title(Level::ERROR.primary_title(summary))]));
        text.push('\n');
        text
    }

    /// The help of an error, wrapped so that no rendered line is wider than `columns`.
    fn wrapped_help(&self, error: &ManifestError, columns: usize) -> Vec<String> {
        // The renderer indents help by the digits of the last line number that it shows.
        let spans = error.related.iter().map(|(span, _)| span).chain(&error.span);
        let last = spans.map(|span| self.file_of(error).clip(span).end).max();
        let number = last.map_or(1, |last| line_of(&self.file_of(error).source, last));
        let digits = number.checked_ilog10().unwrap_or(0) as usize + 1;
        error.help.iter().map(|help| wrap_help(help, columns - digits - HELP_PREFIX)).collect()
    }

    fn file_of(&self, error: &ManifestError) -> &SourceFile {
        &self.files[error.file.min(self.files.len() - 1)]
    }

    fn group<'a>(&'a self, error: &'a ManifestError, help: &'a [String]) -> Group<'a> {
        let title = Level::ERROR.primary_title(error.message.as_str()).id(error.code.as_str());
        let file = self.file_of(error);
        let help = help.iter().map(|help| Level::HELP.message(help.as_str()));
        let place: Element<'a> = match &error.span {
            None => Origin::path(file.path.as_str()).into(),
            Some(span) => {
                // The renderer reads its whole source: pass only the lines that are shown.
                let (lines, first) = file.lines(error.related.iter().map(|(span, _)| span).chain([span]));
                if lines.len() > LONGEST_SHOWN {
                    let start = file.clip(span).start;
                    let line = file.source[..start].rfind('\n').map_or(0, |newline| newline + 1);
                    let place = Origin::path(file.path.as_str()).line(line_of(&file.source, start) as usize);
                    return title
                        .element(place.char_column(file.source[line..start].chars().count() + 1))
                        .elements(help);
                }
                let clip = |span: &Range<usize>| {
                    let span = file.clip(span);
                    span.start - lines.start..span.end - lines.start
                };
                let mut mark = AnnotationKind::Primary.span(clip(span));
                if let Some(label) = &error.label {
                    mark = mark.label(label.as_str());
                }
                let related = error
                    .related
                    .iter()
                    .map(|(span, label)| AnnotationKind::Context.span(clip(span)).label(label.as_str()));
                Snippet::source(&file.source[lines.clone()])
                    .line_start(first)
                    .path(file.path.as_str())
                    .annotation(mark)
                    .annotations(related)
                    .into()
            }
        };
        title.element(place).elements(help)
    }
}

impl SourceFile {
    /// Byte range of the lines from the first to the last span, and the number of the first line.
    fn lines<'a>(&self, spans: impl Iterator<Item = &'a Range<usize>>) -> (Range<usize>, usize) {
        let (mut start, mut end) = (self.source.len(), 0);
        for span in spans {
            let span = self.clip(span);
            start = start.min(span.start);
            end = end.max(span.end);
        }
        let start = self.source[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let last = end.max(start);
        let end = self.source[last..].find('\n').map_or(self.source.len(), |length| last + length);
        // A span may be inside trailing carriage returns.
        let end = last + self.source[last..end].trim_end_matches('\r').len();
        (start..end, line_of(&self.source, start) as usize)
    }

    /// The part of `span` on its first line, extended to character boundaries.
    fn clip(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.source.floor_char_boundary(span.start);
        let end = self.source.ceil_char_boundary(span.end.max(start));
        let line = self.source[start..end].find(['\r', '\n']).map_or(end, |length| start + length);
        start..line
    }
}

/// `help` wrapped at `width` columns. Code in back-ticks stays on one line if it fits.
fn wrap_help(help: &str, width: usize) -> String {
    /// Stands for a space at which the text is not broken.
    const KEPT_SPACE: char = '\u{e000}';
    let mut text = String::new();
    for (at, part) in help.split('`').enumerate() {
        let is_code = at % 2 == 1;
        if at > 0 {
            text.push('`');
        }
        if is_code && part.chars().count() + 2 <= width {
            text.extend(part.chars().map(|c| if c == ' ' { KEPT_SPACE } else { c }));
        } else {
            text.push_str(part);
        }
    }
    wrapped_to(width, &text, 0).replace(KEPT_SPACE, " ")
}

impl fmt::Display for ManifestErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.plain().trim_end())
    }
}

impl std::error::Error for ManifestErrors {}

/// Line number, from 1, of the byte offset `at`.
pub(super) fn line_of(source: &str, at: usize) -> u32 {
    let newlines = source.as_bytes()[..at.min(source.len())].iter().filter(|byte| **byte == b'\n').count();
    u32::try_from(newlines).unwrap_or(u32::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::wrap_help;

    #[test]
    fn help_is_wrapped_between_words_and_not_within_short_code() {
        assert_eq!(wrap_help("set `hold_s = 5` in [guest]", 14), "set\n`hold_s = 5`\nin [guest]");
        assert_eq!(wrap_help("use `a b c d e f g h` now", 8), "use `a b\nc d e f\ng h` now");
    }

    #[test]
    fn short_help_stays_on_one_line() {
        assert_eq!(wrap_help("did you mean `seed`?", 80), "did you mean `seed`?");
    }
}

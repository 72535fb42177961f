//! What is wrong with a manifest: every problem with its code, place and remedy, rendered with the text it is about.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// Stable codes of problems. A code is never reused for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "`meaning` documents each, in the words that users see")]
pub enum Code {
    Unreadable,
    Syntax,
    UnknownKey,
    MissingKey,
    WrongType,
    OutOfRange,
    UnknownName,
    BadName,
    EmptyList,
    Duplicate,
    NotASetting,
    TrialsUncovered,
    ExcludeIdle,
    IncludeIdle,
    NoCells,
    TooManyCells,
    BadMetric,
    BadFigure,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 18] = [
        Self::Unreadable,
        Self::Syntax,
        Self::UnknownKey,
        Self::MissingKey,
        Self::WrongType,
        Self::OutOfRange,
        Self::UnknownName,
        Self::BadName,
        Self::EmptyList,
        Self::Duplicate,
        Self::NotASetting,
        Self::TrialsUncovered,
        Self::ExcludeIdle,
        Self::IncludeIdle,
        Self::NoCells,
        Self::TooManyCells,
        Self::BadMetric,
        Self::BadFigure,
    ];

    /// The code as it is printed.
    #[must_use]
    pub fn text(self) -> String {
        format!("MB{:04}", 100 + self as u32)
    }

    /// One line on what it means.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Unreadable => "the manifest cannot be read as UTF-8 text of at most 1 MiB",
            Self::Syntax => "the manifest is not TOML",
            Self::UnknownKey => "a key that means nothing at its place",
            Self::MissingKey => "a key that must be there is not",
            Self::WrongType => "a value of another type than its key takes",
            Self::OutOfRange => "a value outside what its key takes",
            Self::UnknownName => "a name of something that does not exist",
            Self::BadName => "a name with characters that names may not have",
            Self::EmptyList => "a list that must hold something is empty",
            Self::Duplicate => "a level given twice",
            Self::NotASetting => "an axis that is no setting of a variant's engine",
            Self::TrialsUncovered => "a concurrency for which `trials` gives no number",
            Self::ExcludeIdle => "an exclude that matches no cell",
            Self::IncludeIdle => "an include that adds no cell and changes none",
            Self::NoCells => "every cell is excluded",
            Self::TooManyCells => "more cells than a plan may hold",
            Self::BadMetric => "a metric whose keys do not go together",
            Self::BadFigure => "a figure whose keys do not go together",
        }
    }
}

/// One problem and its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Stable code.
    pub code: Code,
    /// What is wrong, one line.
    pub message: String,
    /// Bytes of the text that it is about.
    pub span: Range<usize>,
    /// What stands beside the caret; may be empty.
    pub label: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// A manifest that was refused, with all its problems in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    path: PathBuf,
    text: String,
    problems: Vec<Problem>,
}

impl Rejected {
    /// `problems` of the manifest at `path` with this text.
    #[must_use]
    pub fn new(path: &Path, text: String, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| (problem.span.start, problem.span.end, problem.code));
        problems.dedup();
        Self { path: path.to_path_buf(), text, problems }
    }

    /// The problems.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// All problems as text for a person, with colours when `colour`.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let path = self.path.display().to_string();
        let mut out: Vec<String> = (self.problems.iter())
            .map(|problem| {
                let code = problem.code.text();
                let title = Level::ERROR.primary_title(problem.message.as_str()).id(code.as_str());
                let span = clamp(&problem.span, &self.text);
                let annotation = AnnotationKind::Primary.span(span).label(problem.label.as_str());
                let snippet = Snippet::source(self.text.as_str()).path(path.as_str()).annotation(annotation);
                let mut group = title.element(snippet);
                if let Some(help) = &problem.help {
                    group = group.element(Level::HELP.message(help.as_str()));
                }
                renderer.render(&[group])
            })
            .collect();
        let count = self.problems.len();
        out.push(format!("{path}: {count} problem{}; nothing was started", if count == 1 { "" } else { "s" }));
        out.join("\n\n")
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Rejected {}

/// A span within the text, on character boundaries.
fn clamp(span: &Range<usize>, text: &str) -> Range<usize> {
    let floor = |at: usize| (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    floor(span.start)..floor(span.end.max(span.start))
}

/// The 1-based line of a byte position.
#[must_use]
pub fn line_of(text: &str, position: usize) -> u32 {
    let before = &text.as_bytes()[..position.min(text.len())];
    u32::try_from(before.iter().filter(|&&byte| byte == b'\n').count() + 1).unwrap_or(u32::MAX)
}

/// "did you mean": the nearest of `names`, or all of them when none is near.
#[must_use]
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let names: Vec<&str> = names.into_iter().collect();
    let best = (names.iter())
        .map(|name| (strsim::jaro_winkler(&wanted.to_lowercase(), &name.to_lowercase()), *name))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((score, name)) if score > 0.75 => Some(format!("did you mean `{name}`?")),
        Some(_) => Some(format!("known here: {}", names.join(", "))),
        None => None,
    }
}

//! The build of a program: the commit of its sources, and the compiler.

use serde::{Deserialize, Serialize};

/// Hexadecimal digits of a commit in short texts.
const SHORT: usize = 10;

/// What a program was built from, and how.
///
/// ```
/// use microbench_formats::build::Build;
///
/// let build = Build { commit: Some("9e348ee".into()), dirty: Some(true), ..Build::default() };
/// assert_eq!(build.source(), "commit 9e348ee with uncommitted changes");
/// assert_eq!(Build::default().source(), "unknown commit");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// Commit of the sources, hex; `None` if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether tracked files differed from the commit when the program was built; `None` if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dirty: Option<bool>,
    /// Date of the commit, `YYYY-MM-DD`; `None` if unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// `dev` or `release`: cargo's profile, or the one that it inherits from.
    pub profile: String,
    /// `opt-level` of the code that measures, for example `3`.
    pub opt_level: String,
    /// Version of the compiler, as `rustc --version` prints it without the name; empty if unknown.
    pub rustc: String,
    /// Target triple, for example `x86_64-unknown-linux-gnu`.
    pub target: String,
}

impl Build {
    /// The commit and whether there were uncommitted changes: `commit 9e348ee of 2026-11-30 with uncommitted changes`,
    /// or `commit 9e348ee of 2026-11-30, clean`.
    #[must_use]
    pub fn source(&self) -> String {
        let Some(commit) = &self.commit else { return "unknown commit".to_owned() };
        let date = self.date.as_ref().map_or_else(String::new, |date| format!(" of {date}"));
        let changes = match self.dirty {
            Some(true) => " with uncommitted changes",
            Some(false) => ", clean",
            None => "; it is unknown whether there were uncommitted changes",
        };
        format!("commit {commit}{date}{changes}")
    }

    /// The different builds among `builds`, in the order of their first occurrence.
    #[must_use]
    pub fn distinct<'a>(builds: impl IntoIterator<Item = &'a Self>) -> Vec<&'a Self> {
        let mut found = Vec::new();
        for build in builds {
            if !found.contains(&build) {
                found.push(build);
            }
        }
        found
    }

    /// The source in a few words, with a short commit: `9e348ee1d2 2026-11-30, uncommitted changes`.
    #[must_use]
    pub fn short_source(&self) -> String {
        let Some(commit) = &self.commit else { return "unknown commit".to_owned() };
        let commit: String = commit.chars().take(SHORT).collect();
        let date = self.date.as_ref().map_or_else(String::new, |date| format!(" {date}"));
        let changes = if self.dirty == Some(true) { ", uncommitted changes" } else { "" };
        format!("{commit}{date}{changes}")
    }

    /// Profile, compiler and target: `release profile, opt-level 3, rustc 1.95.0, x86_64-unknown-linux-gnu`.
    #[must_use]
    pub fn compiler(&self) -> String {
        let rustc = if self.rustc.is_empty() { "unknown version" } else { &self.rustc };
        format!("{} profile, opt-level {}, rustc {rustc}, {}", self.profile, self.opt_level, self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_state_unknown_and_uncommitted_sources() {
        let build = Build {
            commit: Some("0123456789abcdef".into()),
            dirty: Some(false),
            date: Some("2026-11-30".into()),
            ..Build::default()
        };
        assert_eq!(build.source(), "commit 0123456789abcdef of 2026-11-30, clean");
        assert_eq!(build.short_source(), "0123456789 2026-11-30");
        let dirty = Build { dirty: Some(true), ..build.clone() };
        assert_eq!(dirty.short_source(), "0123456789 2026-11-30, uncommitted changes");
        let unknown = Build { dirty: None, ..build };
        assert!(unknown.source().ends_with("it is unknown whether there were uncommitted changes"));
    }
}

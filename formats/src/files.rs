//! The files of a run folder. docs/reference/files.md is made from this table, and a test compares runs with it.

/// A file of a run folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSpec {
    /// Path in the run folder; `*` matches any text within a name.
    pub name: &'static str,
    /// The command that writes it.
    pub by: &'static str,
    /// The contents, one or more sentences.
    pub doc: &'static str,
}

const fn file(name: &'static str, by: &'static str, doc: &'static str) -> FileSpec {
    FileSpec { name, by, doc }
}

/// All files, in the order of the commands that write them.
pub const FILES: &[FileSpec] = &[
    file("manifest.toml", "run", "A copy of the study's manifest."),
    file("plan.json", "run", "The expanded study: cells with all settings, trials in order, metrics, figures, claims."),
    file(".plan.json", "run", "A copy of the plan at the start of the run, to report edits of plan.json."),
    file("engines.json", "run", "The engine descriptions at the start of the run."),
    file("shard.json", "run --shard", "The part of the plan that the run executes; only in the run of a shard."),
    file("label.json", "run --label", "The label of the run; only in a run with a label."),
    file(
        "lock.toml",
        "run",
        "All artefacts: kind, version, size, SHA-256, origin; of a kernel that was built here `CONFIG_HZ`.",
    ),
    file("host.json", "run", "The host: hardware, configuration, digests of all programs and files used, fingerprint."),
    file(
        "journal.ndjson",
        "run",
        "The results: one record per line (event, reading, failure, disturbance), each with a CRC-32.",
    ),
    file(
        "run.log",
        "run",
        "The log of the program with wall-clock times, for debugging. Each session appends to it; at most 8 MiB.",
    ),
    file("session.json", "run", "The process that opened the journal last."),
    file("merged.json", "merge", "The shards of a merged run: names, hosts, trials, digests of their journals."),
    file(
        "hosts/*.json",
        "merge",
        "The `host.json` of each shard. The run has a `host.json` only if all shards have the same fingerprint.",
    ),
    file("console/*.log", "run", "The console log of each VM, up to a size limit."),
    file("emulated-host-*.log", "run", "The console logs of the emulated hosts."),
    file("testbed-*.log", "run", "The console logs of the emulated hosts, in runs of formats 5 and 6."), // phrases: allow
    file(
        "samples.parquet",
        "analyze",
        "One row for each VM and metric: the value, or why it is missing. samples.md describes the columns.",
    ),
    file("samples.csv", "analyze", "The same rows as CSV."),
    file(
        "summary.csv",
        "analyze",
        "One row for each cell and metric: statistics with intervals, numbers of missing values.",
    ),
    file(
        "uncertainty.csv",
        "analyze",
        "One row for each component of the uncertainty of each metric in each cell: the value, its definition and source, \
         or why it is missing.",
    ),
    file("claims.md", "analyze", "The claims of the study with their verdicts, as text; only if the study has claims."),
    file("claims.csv", "analyze", "The claims and verdicts as CSV."),
    file("figures/*.svg", "plot", "A figure."),
    file("figures/*.png", "plot", "The figure as a bitmap."),
    file("figures/*.pdf", "plot", "The figure for LaTeX, without caption, with selectable text."),
    file("figures/*.caption.tex", "plot", "The caption, escaped for LaTeX."),
    file("figures/*.caption.txt", "plot", "The caption: contents, n, statistic, level of the interval, host."),
    file("figures/*/*", "plot --theme", "All figures in one theme."),
    file(
        "tables/*",
        "table",
        "The summary and each metric as Markdown, CSV and LaTeX, the claims as Markdown and LaTeX. `numbers.tex` has a \
         macro for each number.",
    ),
    file(
        "CITATION.cff",
        "export",
        "Authors, licence and DOI, in the Citation File Format; only in an archive, if the study has authors.",
    ),
    file("report.html", "report", "The complete report as one HTML page without external files."),
];

/// Whether `path`, relative to the run folder, matches an entry of [`FILES`].
#[must_use]
pub fn is_known(path: &str) -> bool {
    FILES.iter().any(|file| {
        let (names, pattern): (Vec<_>, Vec<_>) = (path.split('/').collect(), file.name.split('/').collect());
        names.len() == pattern.len() && names.iter().zip(pattern).all(|(name, pattern)| matches_pattern(name, pattern))
    })
}

/// Index in [`FILES`] and description of an entry of the run folder.
///
/// For a folder (`figures/`), the description is that of its first file. The index of an unknown entry is
/// `FILES.len()`.
#[must_use]
pub fn describe_entry(name: &str) -> (usize, &'static str) {
    let is = |file: &FileSpec| match name.strip_suffix('/') {
        Some(folder) => file.name.split_once('/').is_some_and(|(first, _)| first == folder),
        None => matches_pattern(name, file.name),
    };
    let at = FILES.iter().position(is);
    at.map_or((FILES.len(), "not written by microbench"), |at| (at, FILES[at].doc))
}

/// The name of an emulated host's console log without its prefix, for example `0-1.log`; `None` for other names.
///
/// Runs of formats 5 and 6 use an older prefix.
#[must_use]
pub fn emulated_host_log(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("emulated-host-").or_else(|| name.strip_prefix("testbed-"))?; // phrases: allow
    rest.ends_with(".log").then_some(rest)
}

/// Whether a name matches a pattern with at most one `*`.
fn matches_pattern(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((head, tail)) => name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_matches_any_text_within_a_name() {
        assert!(is_known("plan.json") && is_known("console/t0001-a0-vm000.log") && is_known("figures/paper/fig4.svg"));
        assert_eq!(describe_entry("emulated-host-0-1.log").1, "The console logs of the emulated hosts.");
        assert_eq!(emulated_host_log("testbed-0-1.log"), emulated_host_log("emulated-host-0-1.log")); // phrases: allow
        assert_eq!((describe_entry("figures/").1, describe_entry("notes").0), ("A figure.", FILES.len()));
        assert!(!is_known("plan.jsonx") && !is_known("console/a/b.log") && !is_known("emulated-host-0-1.txt"));
    }
}

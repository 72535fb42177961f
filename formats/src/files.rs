//! The files of a run directory: the one table that docs/reference/files.md is made of and a test holds runs against.

/// One file or folder of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSpec {
    /// Path in the run's folder; `*` stands for anything within a name.
    pub name: &'static str,
    /// The command that writes it.
    pub by: &'static str,
    /// What is in it.
    pub doc: &'static str,
}

const fn file(name: &'static str, by: &'static str, doc: &'static str) -> FileSpec {
    FileSpec { name, by, doc }
}

/// Every file, in the order of the steps that write them.
pub const FILES: &[FileSpec] = &[
    file("manifest.toml", "run", "The study, as it was given."),
    file(
        "plan.json",
        "run",
        "Cells with all their settings, trials in their order, metrics with their definitions, figures, claims.",
    ),
    file(".plan.json", "run", "The plan as the run began, to say what was edited."),
    file("engines.json", "run", "The engines' descriptions, as they were when the run began."),
    file("shard.json", "run --shard", "Which part of the plan the run executes; only where that is not all of it."),
    file("lock.toml", "run", "Every artefact: kind, version, bytes, SHA-256, origin."),
    file(
        "host.json",
        "run",
        "The machine that executed: facts, how it is set up, digests of everything that ran, a fingerprint.",
    ),
    file(
        "journal.ndjson",
        "run",
        "What happened: one line an event, reading, failure or disturbance, each with its CRC-32.",
    ),
    file(
        "run.log",
        "run",
        "What the program did, with wall-clock times, to find out why something went wrong; at most 8 MiB, appended to by each session.",
    ),
    file("session.json", "run", "The process that had the journal open last."),
    file(
        "merged.json",
        "merge",
        "The shards that the run was merged of: names, hosts, trials, digests of their journals.",
    ),
    file(
        "hosts/*.json",
        "merge",
        "The `host.json` of each shard; that of the run is there only where all have one fingerprint.",
    ),
    file("console/*.log", "run", "Each VM's console, bounded."),
    file("emulated-host-*.log", "run", "The consoles of the emulated hosts."),
    file("testbed-*.log", "run", "The consoles of the emulated hosts, in runs of formats 5 and 6."),
    file(
        "samples.parquet",
        "analyze",
        "A row for each VM and metric: the value, or why there is none. samples.md has its columns.",
    ),
    file("samples.csv", "analyze", "The same rows as text."),
    file(
        "summary.csv",
        "analyze",
        "A row for each cell and metric: statistics with their intervals, counts of what is missing.",
    ),
    file(
        "claims.md",
        "analyze",
        "The study's claims with their verdicts, for reading; only where the study makes claims.",
    ),
    file("claims.csv", "analyze", "The same as a table."),
    file("figures/*.svg", "plot", "A figure."),
    file("figures/*.png", "plot", "The same in pixels."),
    file("figures/*.pdf", "plot", "The same for LaTeX: the picture alone, its text as text."),
    file("figures/*.caption.tex", "plot", "Its caption, escaped for LaTeX."),
    file("figures/*.caption.txt", "plot", "Its caption: what is shown, n, statistic, level of the interval, host."),
    file("figures/*/*", "plot --theme", "The same files for all figures in one theme."),
    file(
        "tables/*",
        "table",
        "The summary, each metric and the claims as Markdown, CSV and LaTeX; `numbers.tex`: each number as a macro.",
    ),
    file("report.html", "report", "All of it on one page that loads nothing."),
];

/// True when `path`, relative to a run's folder, is in the table.
#[must_use]
pub fn is_known(path: &str) -> bool {
    FILES.iter().any(|file| {
        let (names, pattern): (Vec<_>, Vec<_>) = (path.split('/').collect(), file.name.split('/').collect());
        names.len() == pattern.len() && names.iter().zip(pattern).all(|(name, pattern)| fits(name, pattern))
    })
}

/// Where in the table a name of the run's folder stands, and what it is; of a folder (`figures/`), what its first file is.
#[must_use]
pub fn known(name: &str) -> (usize, &'static str) {
    let is = |file: &FileSpec| match name.strip_suffix('/') {
        Some(folder) => file.name.split_once('/').is_some_and(|(first, _)| first == folder),
        None => fits(name, file.name),
    };
    let at = FILES.iter().position(is);
    at.map_or((FILES.len(), "nothing that microbench makes"), |at| (at, FILES[at].doc))
}

/// What follows the prefix in the name of an emulated host's console log, for instance `0-1.log`; `None` for other names.
/// Runs of formats 5 and 6 use the prefix `testbed-`.
#[must_use]
pub fn emulated_host_log(name: &str) -> Option<&str> {
    let rest = name.strip_prefix("emulated-host-").or_else(|| name.strip_prefix("testbed-"))?;
    rest.ends_with(".log").then_some(rest)
}

/// A name against a pattern with at most one `*`.
fn fits(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((head, tail)) => name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_within_a_name() {
        assert!(is_known("plan.json") && is_known("console/t0001-a0-vm000.log") && is_known("figures/paper/fig4.svg"));
        assert_eq!(known("emulated-host-0-1.log").1, "The consoles of the emulated hosts.");
        assert_eq!(emulated_host_log("testbed-0-1.log"), emulated_host_log("emulated-host-0-1.log"));
        assert_eq!((known("figures/").1, known("notes").0), ("A figure.", FILES.len()));
        assert!(!is_known("plan.jsonx") && !is_known("console/a/b.log") && !is_known("emulated-host-0-1.txt"));
    }
}

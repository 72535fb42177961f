//! Results of benchmarks as files, and BENCHMARKS.md, which is made from them.
//!
//! A run of `make bench` writes one file a benchmark into bench/results/DATE-HOST/. BENCHMARKS.md is bench/BENCHMARKS.md.in in
//! which each line `<!-- table: NAME -->` is replaced by the newest results of that benchmark. A run of some benchmarks therefore
//! leaves the tables of the others as they are.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// Text of BENCHMARKS.md around the tables.
const TEMPLATE: &str = include_str!("../BENCHMARKS.md.in");
const BEFORE_NAME: &str = "<!-- table: ";
const AFTER_NAME: &str = " -->";

/// One file of bench/results/DATE-HOST/.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Results {
    pub(crate) benchmark: String,
    /// `YYYY-MM-DD`, UTC.
    pub(crate) date: String,
    /// Processor, number of CPUs, kernel.
    pub(crate) host: String,
    /// What a reader of the numbers must know; for example that the rounds were not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
    pub(crate) rows: Vec<Row>,
}

/// [`crate::outcome::Row`], as it is read from a file.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Row {
    what: String,
    unit: String,
    ours: Figure,
    peer: Option<Named>,
    limit: Option<Named>,
    goal: String,
    met: Option<bool>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Named {
    name: String,
    figure: Figure,
}

#[derive(Debug, Deserialize, Serialize)]
struct Figure {
    median: f64,
    /// Smallest and largest value; `None` in results that were copied from a table without them.
    least: Option<f64>,
    most: Option<f64>,
    n: usize,
    /// The value of each round, in the order of the rounds; empty where only the median was kept.
    #[serde(default)]
    rounds: Vec<f64>,
}

/// Writes the results of one benchmark into `folder`, whose name begins with the date.
///
/// # Errors
/// When the folder's name has no date, or the file cannot be written.
pub(crate) fn save(folder: &Path, benchmark: &str, host: &str, rows: &[crate::outcome::Row]) -> Result<()> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let date = name.get(..10).filter(|date| is_date(date));
    let date = date.with_context(|| format!("the name of {} does not begin with YYYY-MM-DD", folder.display()))?;
    let results = Results {
        benchmark: benchmark.to_owned(),
        date: date.to_owned(),
        host: host.to_owned(),
        note: None,
        rows: serde_json::from_value(serde_json::to_value(rows)?)?,
    };
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let path = folder.join(format!("{benchmark}.json"));
    let text = serde_json::to_string_pretty(&results)? + "\n";
    fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Whether `text` has the form `YYYY-MM-DD`.
fn is_date(text: &str) -> bool {
    text.bytes().enumerate().all(|(at, byte)| if matches!(at, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() })
}

/// The newest results of each benchmark, by name. `folder` is bench/results.
///
/// # Errors
/// When a file cannot be read, or is not a file of results.
pub(crate) fn newest(folder: &Path) -> Result<BTreeMap<String, Results>> {
    let mut folders: Vec<_> = fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    // By name, which begins with the date: of two files of one benchmark the later one stays.
    folders.sort();
    let mut all = BTreeMap::new();
    for run in folders.iter().filter(|path| path.is_dir()) {
        for path in fs::read_dir(run)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()? {
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
                let results: Results =
                    serde_json::from_str(&text).with_context(|| format!("cannot parse {}", path.display()))?;
                all.insert(results.benchmark.clone(), results);
            }
        }
    }
    Ok(all)
}

/// The text of BENCHMARKS.md.
///
/// # Errors
/// When the template has no place for a benchmark of `results`.
pub(crate) fn render(results: &BTreeMap<String, Results>) -> Result<String> {
    let mut page = String::new();
    let mut placed = 0;
    for line in TEMPLATE.lines() {
        match table_name(line) {
            Some(name) => {
                let own = results.get(name);
                placed += usize::from(own.is_some());
                page += &own.map_or_else(|| "Not measured yet.\n".to_owned(), render_table);
            }
            None => writeln!(page, "{line}")?,
        }
    }
    ensure!(placed == results.len(), "bench/BENCHMARKS.md.in has {placed} places for {} benchmarks", results.len());
    Ok(page)
}

/// The benchmark whose table replaces this line of the template; `None` for other lines.
fn table_name(line: &str) -> Option<&str> {
    line.strip_prefix(BEFORE_NAME)?.strip_suffix(AFTER_NAME)
}

/// The benchmarks of the template, in its order.
#[cfg(test)]
pub(crate) fn names_in_template() -> Vec<&'static str> {
    TEMPLATE.lines().filter_map(table_name).collect()
}

fn render_table(results: &Results) -> String {
    let Results { date, host, note, rows, .. } = results;
    let note: String = note.iter().map(|note| format!("{note}\n")).collect();
    let mut table = format!("{date}; {host}.\n{note}\n");
    table += "| measurement | unit | microbench | n | compared with | ratio | goal |\n";
    table += "| --- | --- | ---: | ---: | --- | ---: | --- |\n";
    for row in rows {
        let compared: Vec<&Named> = row.peer.iter().chain(&row.limit).collect();
        let list = |cell: &dyn Fn(&Named) -> String| {
            if compared.is_empty() {
                "–".to_owned()
            } else {
                compared.iter().map(|named| cell(named)).collect::<Vec<_>>().join("; ")
            }
        };
        let others = list(&|named| format!("{}: {}", named.name, range(&named.figure)));
        let ratios = list(&|named| crate::table::number(row.ours.median / named.figure.median));
        let Row { what, unit, ours, goal, met, .. } = row;
        let verdict = crate::table::verdict(*met);
        let goal = if met.is_some() { format!("{goal}: {verdict}") } else { "–".to_owned() };
        table += &format!("| {what} | {unit} | {} | {} | {others} | {ratios} | {goal} |\n", range(ours), ours.n);
    }
    table
}

/// The median, with smallest and largest value where they are known and differ.
fn range(figure: &Figure) -> String {
    let number = crate::table::number;
    match (figure.least, figure.most) {
        (Some(least), Some(most)) if least < most => {
            format!("{} ({} to {})", number(figure.median), number(least), number(most))
        }
        _ => number(figure.median),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn benchmarks_md_is_what_the_committed_results_render_to() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let rendered = render(&newest(&root.join("bench/results")).unwrap()).unwrap();
        let committed = fs::read_to_string(root.join("BENCHMARKS.md")).unwrap();
        assert_eq!(committed, rendered, "`microbench-bench --render-only` writes BENCHMARKS.md");
    }

    #[test]
    fn newer_results_replace_older_ones_of_the_same_benchmark_only() {
        let folder = tempfile::tempdir().unwrap();
        let write = |run: &str, benchmark: &str, host: &str| {
            fs::create_dir_all(folder.path().join(run)).unwrap();
            let text = format!(
                "{{\"benchmark\":\"{benchmark}\",\"date\":\"{}\",\"host\":\"{host}\",\"rows\":[]}}",
                &run[..10]
            );
            fs::write(folder.path().join(run).join(format!("{benchmark}.json")), text).unwrap();
        };
        write("2026-01-02-b", "spawn", "new");
        write("2026-01-01-a", "spawn", "old");
        write("2026-01-01-a", "plan", "old");
        let hosts: Vec<_> = newest(folder.path()).unwrap().into_values().map(|results| results.host).collect();
        assert_eq!(hosts, ["old", "new"]);
    }

    #[test]
    fn results_need_a_folder_named_by_date() {
        let error = save(Path::new("results"), "spawn", "host", &[]).unwrap_err();
        assert_eq!(error.to_string(), "the name of results does not begin with YYYY-MM-DD");
    }
}

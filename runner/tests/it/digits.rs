//! Numbers in texts and tables: as many digits as the interval justifies, no infinite or undefined number, and numeric
//! columns that hold numbers only.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use microbench_testing::require;

use crate::documents::root;
use crate::support::{Bench, text, trials};

/// Noise, identical values, values of which most are censored or all, and zeros. `scale` is a factor of all values.
fn table(scale: f64) -> String {
    let mut rows = "metric,variant,concurrency,trial,value,censored\n".to_owned();
    let mut row = |metric: &str, variant: &str, concurrency: u32, trial: u32, value: f64, censored: bool| {
        writeln!(rows, "{metric},{variant},{concurrency},{trial},{},{censored}", value * scale).unwrap();
    };
    for (variant, slower) in [("fc", 1.0), ("qemu", 1.04)] {
        let is_other = variant == "qemu";
        for trial in 0..12 {
            let noise = f64::from((trial * 7) % 12) / 10.0;
            row("kernel_boot_time", variant, 1, trial, (100.0 + noise) * slower, false);
            row("kernel_boot_time", variant, 4, trial, 307.25, false);
            row("webservice_startup_time", variant, 1, trial, 120.0 + noise, is_other && trial % 2 == 0);
            row("webservice_startup_time", variant, 4, trial, 500.0, is_other);
            row("shutdown_time", variant, 1, trial, 0.001_23 * (1.0 + noise / 100.0) * slower, trial % 4 == 0);
            row("bandwidth", variant, 1, trial, (1e6 + noise * 1e5) * slower, false);
            row("bandwidth", variant, 4, trial, if is_other { noise } else { 0.0 }, false);
        }
    }
    rows
}

const FIGURES: &str = "
[figures.boot]
form = \"grouped-bars\"
metrics = [\"kernel_boot_time\", \"shutdown_time\"]
x = \"concurrency\"
groups = \"variant\"

[figures.map]
form = \"heat-map\"
metric = \"webservice_startup_time\"
x = \"concurrency\"
groups = \"variant\"
";

/// A project with the analysed runs `a`, `b` and `c`.
fn runs() -> Bench {
    let bench = Bench::new();
    let study = fs::read_to_string(root().join("plots/check/example.toml")).unwrap();
    bench.file("study.toml", &(study + FIGURES));
    for (name, scale) in [("a", 1.0), ("b", 1.01), ("c", 1.02)] {
        bench.file("table.csv", &table(scale));
        let imported = bench.run(&["import", "study.toml", "table.csv", "--out", &format!("runs/{name}")]);
        assert!(imported.status.success(), "{}", text(&imported.stderr));
        assert!(bench.run(&["analyze", name]).status.success());
    }
    bench
}

/// All files below `folder`.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The lines with an infinite or undefined number as a word.
fn undefined(text: &str) -> Vec<&str> {
    let is_undefined = |word: &str| ["inf", "infinity", "nan"].contains(&word.to_lowercase().as_str());
    text.lines().filter(|line| line.split(|c: char| !c.is_alphanumeric()).any(is_undefined)).collect()
}

/// The columns of a CSV table that have a number in one row and a text in another. `unit` is text: a count has the unit
/// `1`.
fn mixed_columns(table: &str) -> Vec<String> {
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let heads: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let is_mixed = |at: &usize| {
        let known = || rows.iter().map(|row| &row[*at]).filter(|field| !field.is_empty());
        known().any(|field| field.parse::<f64>().is_ok()) && known().any(|field| field.parse::<f64>().is_err())
    };
    (0..heads.len())
        .filter(|at| !heads[*at].eq_ignore_ascii_case("unit"))
        .filter(is_mixed)
        .map(|at| heads[at].clone())
        .collect()
}

#[test]
fn no_output_and_no_file_has_an_undefined_number() {
    require!(trials());
    let bench = runs();
    let commands: [&[&str]; 14] = [
        &["analyze", "a"],
        &["analyze", "a", "--detail"],
        &["analyze", "a", "--json"],
        &["analyze", "a", "b", "c"],
        &["compare", "a", "--detail"],
        &["compare", "a", "b", "--detail", "--margin", "0.02"],
        &["compare", "a", "b", "--format", "markdown"],
        &["compare", "a", "b", "--format", "github"],
        &["compare", "a", "b", "--format", "json"],
        &["table", "a"],
        &["plot", "a"],
        &["report", "a"],
        &["history", "study.toml"],
        &["query", "a", "select * from summary"],
    ];
    for command in commands {
        let done = bench.run(command);
        let (out, err) = (text(&done.stdout), text(&done.stderr));
        assert!(done.status.success(), "{command:?}: {out}{err}");
        assert_eq!((undefined(&out), undefined(&err)), (vec![], vec![]), "{command:?}");
    }
    let mut read = 0;
    for path in files(&bench.path("runs/a")) {
        let ends = ["csv", "json", "ndjson", "md", "tex", "txt"];
        let is_text = path.extension().is_some_and(|end| ends.iter().any(|text| *text == end));
        let Some(content) = fs::read_to_string(&path).ok().filter(|_| is_text) else { continue };
        assert_eq!(undefined(&content), Vec::<&str>::new(), "{}", path.display());
        if path.extension().is_some_and(|end| end == "csv") {
            assert_eq!(mixed_columns(&content), Vec::<String>::new(), "{}", path.display());
        }
        read += 1;
    }
    assert!(read > 20, "{read} files");
}

#[test]
fn digits_of_values_and_intervals_are_those_of_the_half_width() {
    require!(trials());
    let bench = runs();
    let plain = |command: &[&str]| text(&bench.run(command).stdout);
    insta::assert_snapshot!("digits analyze", plain(&["analyze", "a"]).split("\n\n").nth(1).unwrap());
    insta::assert_snapshot!("digits compare", plain(&["compare", "a"]));
    assert!(bench.run(&["table", "a"]).status.success());
    let file = |name: &str| fs::read_to_string(bench.path("runs/a").join(name)).unwrap();
    insta::assert_snapshot!("digits table", file("tables/metric-webservice_startup_time.md"));
    insta::assert_snapshot!("digits csv", file("tables/metric-webservice_startup_time.csv"));
    insta::assert_snapshot!("digits claims", file("claims.md"));
}

#[test]
fn censored_end_is_empty_and_named() {
    require!(trials());
    let bench = runs();
    let table = fs::read_to_string(bench.path("runs/a/summary.csv")).unwrap();
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let heads = reader.headers().unwrap().clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    let field = |row: usize, name: &str| rows[row][heads.iter().position(|head| head == name).unwrap()].to_owned();
    let row = |cell: &str| {
        let found = (0..rows.len())
            .find(|row| field(*row, "cell") == cell && field(*row, "metric") == "webservice_startup_time");
        found.unwrap_or_else(|| panic!("no {cell}: {table}"))
    };
    let half = row("qemu/1");
    assert_eq!(field(half, "median_high"), "", "{table}");
    assert!(field(half, "censored_columns").contains("median_high"), "{table}");
    assert_eq!(field(row("qemu/4"), "censored_columns"), "median median_low median_high", "{table}");
    assert_eq!(field(row("fc/1"), "censored_columns"), "", "{table}");
}

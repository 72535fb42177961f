//! Imported tables: a CSV becomes a run with samples and figures.

use std::fs;
use std::path::{Path, PathBuf};

use microbench_formats::figure::Theme;
use microbench_formats::plan::Plan;
use microbench_plots::figure::description::{Chart, Mark, MarkShape};
use microbench_plots::figure::{Data, Description, describe};
use microbench_plots::{samples, summary};
use microbench_testing::{Missing, require};

use crate::support::{Bench, text, trials};

#[test]
fn imported_table_is_analysed_and_plotted() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1, 2]\ntrials = 1", "");
    bench.file(
        "table.csv",
        "metric,concurrency,trial,value,unit,reason\n\
         webservice_startup_time,1,0,100,ms,\n\
         webservice_startup_time,1,1,102,ms,\n\
         webservice_startup_time,1,2,,ms,the disk was full\n\
         webservice_startup_time,2,0,150,ms,\n\
         webservice_startup_time,2,0,170,ms,\n",
    );
    let imported = bench.run(&["import", "study.toml", "table.csv", "--out", "run"]);
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    assert_eq!(text(&imported.stderr), "5 rows imported, 0 left out\n");
    assert!(text(&imported.stdout).trim().ends_with("run"), "{}", text(&imported.stdout));
    let early = bench.run(&["plot", "run"]);
    assert!(!early.status.success() && text(&early.stderr).contains("microbench analyze"), "{}", text(&early.stderr));
    insta::assert_snapshot!(text(&bench.run(&["analyze", "run"]).stdout));
    let samples = fs::read_to_string(bench.path("run/samples.csv")).unwrap();
    assert!(samples.lines().any(|line| line.contains("the disk was full")), "{samples}");
    let drawn = bench.run(&["plot", "run", "--theme", "paper"]);
    assert!(drawn.status.success(), "{}", text(&drawn.stderr));
    assert!(bench.path("run/figures/paper/startup.svg").is_file());
    let caption = fs::read_to_string(bench.path("run/figures/paper/startup.caption.txt")).unwrap();
    assert!(caption.contains("imported"), "{caption}");
}

#[test]
fn wrong_table_is_refused_with_every_line() {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1, 2]\ntrials = 1", "");
    bench.file("table.csv", "metric,concurrency,value\nhashing_time,3,1\nhashing,1,1\nhashing_time,1,one\n");
    let refused = bench.run(&["import", "study.toml", "table.csv", "--out", "run"]);
    assert_eq!(refused.status.code(), Some(2));
    insta::assert_snapshot!(text(&refused.stderr));
    assert!(!bench.path("run").exists());
}

#[test]
fn old_keys_of_a_mapping_are_refused_with_their_new_names() {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    bench.file("table.csv", "metric,kind,value\nhashing_time,a,1\nhashing_time,b,2\n");
    bench.file(
        "old.toml",
        "[only]\nkind = [\"a\"]\n[except]\nkind = [\"b\"]\n[[cells]]\nrow = { kind = \"a\" }\ncell = {}\n",
    );
    let refused = bench.run(&["import", "study.toml", "table.csv", "--mapping", "old.toml", "--out", "run"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    for (old, new) in [("only", "where"), ("except", "where_not"), ("row", "where")] {
        assert!(said.contains(&format!("`{old}` in ")) && said.contains(&format!("was renamed to `{new}`")), "{said}");
    }
    assert!(said.contains("MB0102") && !bench.path("run").exists(), "{said}");
    bench.file("new.toml", "where = { kind = [\"a\", \"b\"] }\nwhere_not = { kind = \"b\" }\n");
    let imported = bench.run(&["import", "study.toml", "table.csv", "--mapping", "new.toml", "--out", "run"]);
    assert_eq!(text(&imported.stderr), "1 row imported, 1 left out\n");
}

#[test]
fn duplicate_rows_are_refused_with_both_lines() {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1, 2]\ntrials = 1", "");
    bench.file(
        "table.csv",
        "metric,concurrency,trial,vm,value\n\
         hashing_time,1,0,,1\n\
         hashing_time,1,0,,2\n\
         hashing_time,2,0,a,1\n\
         hashing_time,2,0,b,2\n\
         hashing_time,2,0,a,3\n\
         hashing_time,2,0,c,4\n",
    );
    let refused = bench.run(&["import", "study.toml", "table.csv", "--out", "run"]);
    assert_eq!(refused.status.code(), Some(2));
    insta::assert_snapshot!(text(&refused.stderr));
    assert!(!bench.path("run").exists());
}

#[test]
fn duplicate_column_names_are_refused_with_their_positions() {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    bench.file("table.csv", "metric,value,unit,value\nhashing_time,1,ms,2\n");
    let refused = bench.run(&["import", "study.toml", "table.csv", "--out", "run"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = text(&refused.stderr);
    assert!(said.contains("line 1: columns 2 and 4 are both named `value`"), "{said}");
}

/// Labels of the paper's charts, from `../shared/reference/README.md`, "Means as plotted".
const SEQUENTIAL: [&str; 5] = ["host cpu", "emulated cpu", "T2 cpu", "C3 cpu", "default kernel"];
const CONCURRENT: [&str; 6] =
    ["qemu x10", "qemu x10 emulated", "qemu x20", "qemu x20 emulated", "firecracker x10", "firecracker x20"];
/// Heights of the bars of each figure, from the same source.
const BARS: &[(&str, &[f64])] = &[
    ("fig4", &[1056.0, 1084.3, 763.1, 806.3, 861.0]),
    ("fig4-concurrent", &[1456.3, 1415.4, 2466.7, 2192.2, 857.1, 1188.2]),
    ("fig5", &[228.1, 215.9, 204.8, 204.8, 196.2]),
    // The layer of start-up times first, then the layer of kernel boot times in front.
    ("fig6", &[1324.6, 1585.9, 1185.6, 1200.6, 1149.8, 1056.0, 1084.3, 763.1, 806.3, 861.0]),
    // The printed figure 7 uses one array for both bars of 10 QEMU guests; these are the correct values.
    ("fig7", &[1806.9, 2017.2, 5277.9, 7556.3, 1309.0, 2225.7, 1456.3, 1415.4, 2466.7, 2192.2, 857.1, 1188.2]),
    ("fig8", &[68.1, 71.0, 91.3, 92.4, 94.8]),
    ("fig9", &[116.6, 110.9, 418.2, 480.4, 134.2, 222.3]),
    ("fig10", &[10741.5, 10580.6, 2313.7, 2318.2, 2323.7]),
    ("fig11", &[15981.0, 15778.0, 31863.0, 32660.0, 2389.1, 2663.9]),
];

/// Ticks, and heights by layer from back to front.
fn bars(description: &Description) -> (Vec<String>, Vec<f64>) {
    let Chart::Marks { panels, .. } = &description.chart else { panic!("no marks") };
    assert_eq!(panels.len(), 1);
    let mut marks: Vec<_> = panels[0].marks.iter().collect();
    marks.sort_by_key(|mark| (mark.layer.0, mark.tick));
    let height = |mark: &&Mark| match &mark.shape {
        MarkShape::Bar { height, interval, points } => {
            assert!(interval.is_none() && points.is_empty(), "the figures of the paper show only means");
            *height
        }
        other => panic!("{other:?}"),
    };
    (panels[0].ticks.clone(), marks.iter().map(height).collect())
}

/// Figures 4 to 11 of the paper, from its values, in its theme, with the study in this repository. Skipped without the
/// table, which is not part of this repository.
#[test]
fn values_of_the_paper_reproduce_its_figures() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let table = root.join("../shared/reference/paper-2019.csv");
    require!(
        table.is_file().then_some(()).ok_or_else(|| Missing::machine(format!("{} does not exist", table.display())))
    );
    let bench = Bench::new();
    let at = |path: &Path| path.display().to_string();
    let run = bench.path("published");
    let made = bench.run(&[
        "import",
        &at(&root.join("experiments/paper-2019-published.toml")),
        &at(&table),
        "--mapping",
        &at(&root.join("experiments/reference/paper-2019-mapping.toml")),
        "--out",
        &at(&run),
    ]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    for command in ["analyze", "plot"] {
        let done = bench.run(&[command, &at(&run)]);
        assert!(done.status.success(), "{}", text(&done.stderr));
    }
    let plan: Plan = serde_json::from_slice(&fs::read(run.join("plan.json")).unwrap()).unwrap();
    let samples = samples::load(&run).unwrap();
    let rows = summary::summarise(&plan, &samples);
    assert_eq!(plan.figures.len(), BARS.len());
    for (name, published) in BARS {
        let figure = plan.figures.iter().find(|figure| figure.name == *name).unwrap();
        assert_eq!(figure.theme, Theme::Paper);
        let described = describe(Data { plan: &plan, rows: &rows, samples: &samples }, figure).unwrap();
        assert_eq!(described.len(), 1);
        let (ticks, heights) = bars(&described[0]);
        let labels: Vec<&str> = match name {
            &"fig6" => [
                "qemu host cpu",
                "qemu emulated cpu",
                "firecracker T2 cpu",
                "firecracker C3 cpu",
                "firecracker default kernel",
            ]
            .to_vec(),
            _ if published.len() % SEQUENTIAL.len() == 0 => SEQUENTIAL.to_vec(),
            _ => CONCURRENT.to_vec(),
        };
        assert_eq!(ticks, labels, "{name}");
        assert_eq!(heights.len(), published.len(), "{name}");
        for (height, published) in heights.iter().zip(*published) {
            // The source gives values above 15,000 without a decimal.
            let precision = if *published > 15_000.0 { 0.501 } else { 0.051 };
            assert!((height - published).abs() <= precision, "{name}: {height}, not {published}");
        }
        for end in ["svg", "png", "caption.txt"] {
            assert!(run.join(format!("figures/{name}.{end}")).is_file(), "{name}.{end}");
        }
    }
}

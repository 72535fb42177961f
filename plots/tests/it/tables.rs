//! Tables and LaTeX macros of known values, and a LaTeX document that uses them.

use std::path::Path;
use std::process::Command;

use microbench_formats::axis::Level;
use microbench_formats::claim::{Claim, Comparison, Side, Subject};
use microbench_formats::figure::FigureForm;
use microbench_formats::record::Record;
use microbench_formats::statistic::Statistic;
use microbench_plots::{analyze, plot, table};
use microbench_testing::{program, require};

use crate::support::{Run, bar, figure, selection, text};

/// A failure message as a malicious guest could cause it.
pub(crate) const HOSTILE: &str =
    "<script>alert(1)</script> \\input{/etc/passwd} $x_1$ 100 % & #1 ^~ \u{1b}[31m | [a](http://b)";

fn claim(name: &str, comparison: Option<Comparison>) -> Claim {
    Claim {
        name: name.into(),
        text: format!("What {name} says: 100 % & more."),
        unmeasured: if comparison.is_none() { HOSTILE.into() } else { String::new() },
        comparison,
        statistic: Statistic::Median,
        least: Some(1.0),
        most: None,
        strict: false,
        subject: Subject::Statistic,
        clock: None,
        gate: false,
        published: Some(1.18),
        data: String::new(),
    }
}

/// A run with a figure by axes, a figure of listed bars, claims, and cells that are not applicable for a hostile
/// reason.
pub(crate) fn published(trials: u32) -> Run {
    let mut by_axes = figure("fig4", FigureForm::GroupedBars, &["kernel_boot_time"]);
    by_axes.groups = Some("concurrency".into());
    let mut listed = figure("fig5", FigureForm::Bars, &["kernel_boot_time"]);
    listed.bars = vec![
        bar("Both, 1 VM", "", &[("variant", vec![text("qemu"), text("fc")]), ("concurrency", vec![Level::Int(1)])]),
        bar("100 % T2", "", &[("variant", vec![text("t2")]), ("concurrency", vec![Level::Int(1)])]),
    ];
    let mut run = Run::new(trials, vec![by_axes, listed]);
    let side = |variant: &str| Side {
        metric: "kernel_boot_time".into(),
        of: selection(&[("variant", vec![text(variant)]), ("concurrency", vec![Level::Int(1)])]),
    };
    run.plan.claims =
        vec![claim("ratio", Some(Comparison::Ratio(side("qemu"), side("fc")))), claim("unmeasured", None)];
    run.write_plan();
    let mut records = run.records();
    for record in &mut records {
        if let Record::Failure { message, .. } = record {
            *message = HOSTILE.into();
        }
    }
    run.write_journal(&records);
    analyze(run.folder()).unwrap();
    run
}

/// Runs pdflatex on `name` in `folder`; returns its output, and whether it succeeded.
fn pdflatex(folder: &Path, name: &str) -> (String, bool) {
    let output = Command::new("pdflatex")
        .args(["-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", name])
        .current_dir(folder)
        .output()
        .expect("pdflatex starts");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.success())
}

#[test]
fn every_table_of_numbers_has_three_formats_and_no_blank_cell() {
    let run = published(7);
    let files = table::save(run.folder()).unwrap();
    assert_eq!(files.len(), 3 * 3 + 2 + 1, "summary, two metrics; claims without CSV; numbers");
    let boot = run.read("tables/metric-kernel_boot_time.md");
    insta::assert_snapshot!(boot);
    insta::assert_snapshot!(
        run.read("tables/metric-kernel_boot_time.tex").lines().skip(1).collect::<Vec<_>>().join("\n")
    );
    for name in ["summary", "metric-kernel_boot_time", "metric-webservice_startup_time", "claims"] {
        let markdown = run.read(&format!("tables/{name}.md"));
        assert!(!markdown.contains("|  |") && !markdown.replace("\\<", "").contains("<script"), "{name}: {markdown}");
        assert!(markdown.contains("Host: emulated host, virtual time"), "{name}");
        if name == "claims" {
            continue;
        }
        let mut csv = csv::Reader::from_reader(run.read(&format!("tables/{name}.csv")).into_bytes().leak() as &[u8]);
        // The last column, `remarks`, has the reason of each missing number.
        assert_eq!(csv.headers().unwrap().iter().next_back(), Some("remarks"));
        for record in csv.records().map(Result::unwrap) {
            let blanks = record.iter().take(record.len() - 1).filter(|field| field.is_empty()).count();
            let is_explained = record.iter().next_back() != Some("");
            assert!(blanks == 0 || is_explained, "{name}.csv has a blank: {record:?}");
        }
    }
    let again: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    table::save(run.folder()).unwrap();
    assert_eq!(again, files.iter().map(|file| std::fs::read(file).unwrap()).collect::<Vec<_>>(), "not the same bytes");
}

#[test]
fn below_six_trials_the_range_replaces_the_interval() {
    let run = published(3);
    table::save(run.folder()).unwrap();
    let boot = run.read("tables/metric-kernel_boot_time.md");
    assert!(boot.contains("| 1 VM: median (ms) | 1 VM: least (ms) | 1 VM: most (ms) |"), "{boot}");
    assert!(boot.contains("| QEMU host CPU | 111 | 110 | 112 | 201 | 200 | 202 |"), "{boot}");
    assert!(boot.contains("below 6 trials the median has no 95 % interval"), "{boot}");
}

#[test]
fn the_error_for_a_run_without_samples_names_the_command() {
    let run = Run::new(1, Vec::new());
    let error = table::save(run.folder()).unwrap_err().to_string();
    assert!(error.contains("microbench analyze"), "{error}");
}

#[test]
fn a_latex_document_compiles_with_macros_tables_and_a_figure() {
    require!(program("pdflatex", "texlive-latex-recommended, texlive-science"));
    let run = published(7);
    table::save(run.folder()).unwrap();
    plot(run.folder(), None).unwrap();
    let picture = if run.path("figures/fig4.pdf").is_file() { "figures/fig4.pdf" } else { "figures/fig4.png" };
    let body = format!(
        r"\documentclass{{article}}
\usepackage{{array}}\usepackage{{booktabs}}\usepackage{{longtable}}\usepackage{{siunitx}}\usepackage{{graphicx}}
\input{{tables/numbers}}
\begin{{document}}
\title{{A paper that updates itself}}\author{{}}\date{{}}\maketitle
Boot takes \mbqty{{fig4}}{{fc/1}}{{median}} (interval \mb{{fig4}}{{fc/1}}{{low}} to \mbqty{{fig4}}{{fc/1}}{{high}},
$n = \mb{{fig4}}{{fc/1}}{{n}}$) under \mb{{fig4}}{{fc/1}}{{label}}, that is \num{{\mb{{kernel_boot_time}}{{fc/1}}{{mean}}}} on average;
both engines: \mbqty{{fig5}}{{Both, 1 VM}}{{value}}. The template: \mbqty{{fig5}}{{t2/1}}{{value}}. Host: \mb{{run}}{{host}}{{note}}.
The claim \mb{{claims}}{{ratio}}{{verdict}}: \mb{{claims}}{{ratio}}{{value}}. \edef\x{{\mb{{fig4}}{{fc/1}}{{median}}}}\typeout{{FOUND \x}}
\input{{tables/metric-kernel_boot_time}}
\begin{{figure}}[h]\centering\includegraphics[width=\linewidth]{{{picture}}}\caption{{As drawn.}}\end{{figure}}
\input{{tables/claims}}
\input{{tables/summary}}
\end{{document}}
"
    );
    std::fs::write(run.path("paper.tex"), body).unwrap();
    // longtable needs two runs to align its columns.
    pdflatex(run.folder(), "paper");
    let (printed, done) = pdflatex(run.folder(), "paper");
    assert!(done, "{printed}");
    assert!(printed.contains("FOUND 63.0\n"), "the macro is not expandable, or wrong: {printed}");
    assert!(run.path("paper.pdf").is_file());
    if let Some(folder) = std::env::var_os("MICROBENCH_TEST_KEEP") {
        std::fs::copy(run.path("paper.pdf"), Path::new(&folder).join("paper.pdf")).unwrap();
    }

    // An unknown name is an error in \mb and in \mbqty.
    for wrong in [r"\mb{fig4}{fc/2}{median}", r"\mbqty{fig4}{fc/1}{mode}"] {
        let text = format!(
            "\\documentclass{{article}}\\usepackage{{siunitx}}\\input{{tables/numbers}}\\begin{{document}}{wrong}\\end{{document}}"
        );
        std::fs::write(run.path("wrong.tex"), text).unwrap();
        let (printed, done) = pdflatex(run.folder(), "wrong");
        assert!(!done && printed.contains("There is no number \\mb{fig4}"), "{printed}");
    }
}

//! Cells on different CPUs of the emulated host, which are different machines.

use microbench_formats::axis::Level;
use microbench_formats::claim::{Claim, Comparison, Side, Subject};
use microbench_formats::figure::FigureForm;
use microbench_formats::record::{EmulatedHost, Record};
use microbench_formats::statistic::Statistic;
use microbench_formats::terminal::OutputWidth;
use microbench_plots::claim::{self, Outcome};
use microbench_plots::compare::{self, Settings};
use microbench_plots::completed::ByCell;
use microbench_plots::figure::{Data, describe};
use microbench_plots::{analyze, journal, pooled, samples, sentence, summary};

use crate::support::{Run, figure, selection, text};

const REASON: &str = "not compared: the CPUs of the emulated hosts differ (qemu/1 on EPYC; fc/1 on Skylake-Server); set \
                      `across_host_cpus = true` in [study] of the next run, or use `microbench compare --across-hosts` \
                      for this one";

/// A run whose variant `fc` was executed on another CPU, on one emulated host for each CPU.
fn run() -> Run {
    run_on("Skylake-Server")
}

/// [`run`] with the CPU `fc_cpu` for the variant `fc`.
fn run_on(fc_cpu: &str) -> Run {
    let mut run = Run::new(8, vec![figure("startup", FigureForm::GroupedBars, &["webservice_startup_time"])]);
    for cell in run.plan.cells.iter_mut().filter(|cell| cell.variant == "fc") {
        cell.settings.extend([("host_cpu".to_owned(), text(fc_cpu))]);
    }
    let side = |variant| Side {
        metric: "webservice_startup_time".into(),
        of: selection(&[("variant", vec![text(variant)]), ("concurrency", vec![Level::Int(1)])]),
    };
    run.plan.claims = vec![Claim {
        name: "faster".into(),
        text: "Firecracker is faster.".into(),
        comparison: Some(Comparison::Ratio(side("fc"), side("qemu"))),
        statistic: Statistic::Median,
        least: None,
        most: Some(1.0),
        strict: true,
        subject: Subject::Statistic,
        clock: None,
        gate: false,
        published: None,
        data: String::new(),
        unmeasured: String::new(),
    }];
    run.write_plan();
    let mut records = run.records();
    for record in &mut records {
        if let Record::TrialStart { cell, emulated_host, .. } = record {
            let (number, host_cpu) = if cell.starts_with("fc") { ("0-1", fc_cpu) } else { ("0-0", "EPYC") };
            *emulated_host = Some(EmulatedHost { number: number.into(), host_cpu: host_cpu.into(), memory_mib: 1_500 });
        }
    }
    run.write_journal(&records);
    run
}

fn rows(run: &Run) -> Vec<summary::Row> {
    let samples = samples::samples(&run.plan, &journal::read(&run.path("journal.ndjson")).unwrap());
    summary::summarise(&run.plan, &samples)
}

fn compared(run: &Run, across_host_cpus: bool) -> Vec<compare::Comparison> {
    let (rows, completed) = (rows(run), ByCell::new());
    let side = compare::Side { plan: &run.plan, rows: &rows, completed: &completed };
    let settings = Settings {
        statistic: Statistic::Median,
        margin: None,
        seed: 1,
        family: Vec::new(),
        blocks: true,
        alternating: true,
        pooled: false,
        across_host_cpus,
    };
    let found = compare::compare_with_baseline(side, "qemu", &settings);
    found.into_iter().filter(|row| row.cell == "fc/1").collect()
}

#[test]
fn comparison_of_two_cpus_has_values_and_a_reason_but_no_ratio() {
    let run = run();
    let refused = compared(&run, false);
    assert_eq!(refused.len(), 2);
    for row in &refused {
        assert!(row.values.iter().all(Option::is_some), "{row:?}");
        assert_eq!((row.ratio, row.p, row.remark.as_str()), (None, None, REASON));
    }
    let meant = compared(&run, true);
    assert!(meant.iter().all(|row| row.ratio.is_some_and(|ratio| ratio < 0.6)), "{meant:?}");
}

#[test]
fn claims_and_sentences_do_not_compare_two_cpus_unless_the_study_permits_it() {
    let mut run = run();
    let verdict = claim::judge(&run.plan, &rows(&run)).remove(0);
    assert_eq!((verdict.outcome, verdict.value, verdict.remark.as_str()), (Outcome::NotMeasured, None, REASON));
    let of_fc = |run: &Run| -> Vec<String> {
        let sentences = sentence::sentences(&run.plan, &rows(run)).into_iter();
        sentences.filter(|sentence| sentence.comparison.cell == "fc/1").map(|sentence| sentence.text).collect()
    };
    assert!(of_fc(&run).iter().all(|sentence| sentence.contains(REASON)), "{:?}", of_fc(&run));
    run.plan.across_host_cpus = true;
    assert_eq!(claim::judge(&run.plan, &rows(&run)).remove(0).outcome, Outcome::Holds);
    assert!(of_fc(&run).iter().all(|sentence| !sentence.contains("no result")), "{:?}", of_fc(&run));
}

#[test]
fn tables_and_report_state_the_cpus_and_the_emulated_host_of_each_trial() {
    const CPUS: &str = "CPUs of the emulated hosts: EPYC (";
    let run = run();
    analyze(run.folder()).unwrap();
    microbench_plots::table::save(run.folder()).unwrap();
    for name in ["summary.md", "claims.md"] {
        let table = run.read(&format!("tables/{name}"));
        assert!(table.contains(CPUS) && table.contains("Skylake-Server ("), "{name}: {table}");
    }
    let page = std::fs::read_to_string(microbench_plots::report::save(run.folder()).unwrap()).unwrap();
    assert!(page.contains(CPUS));
    assert!(page.contains("<th scope=\"col\" class=\"n\">Emulated host</th>"));
    assert!(page.contains("<td class=\"n\">0-1</td>"));
}

#[test]
fn captions_and_samples_state_the_cpu() {
    let run = run();
    let samples = samples::samples(&run.plan, &journal::read(&run.path("journal.ndjson")).unwrap());
    let rows = summary::summarise(&run.plan, &samples);
    let data = Data { plan: &run.plan, rows: &rows, samples: &samples };
    let caption = describe(data, &run.plan.figures[0]).unwrap().remove(0).caption;
    assert!(
        caption.contains(
            "CPUs of the emulated hosts: EPYC (QEMU host CPU, Firecracker T2); Skylake-Server (Firecracker)."
        ),
        "{caption}"
    );
    analyze(run.folder()).unwrap();
    let loaded = samples::load(run.folder()).unwrap();
    assert_eq!(loaded, samples);
    let table = run.read("samples.csv");
    assert!(table.lines().next().unwrap().contains(",machine,emulated_host,host_cpu,emulated_memory_mib,warmup,"));
    assert!(table.lines().any(|line| line.starts_with("known,fc/1,") && line.contains(",0-1,Skylake-Server,1500,")));
}

#[test]
fn trials_on_two_cpus_are_not_pooled() {
    let runs = [run_on("Skylake-Server"), run_on("EPYC"), run_on("Skylake-Server")];
    runs.iter().for_each(|run| drop(analyze(run.folder()).unwrap()));
    let files: Vec<_> = runs.iter().map(|run| run.path("samples.parquet")).collect();
    let rows = pooled::pool(&files).unwrap();
    let of = |cell: &str| -> Vec<(&str, &str, usize)> {
        let own = rows.iter().filter(|row| row.cell == cell && row.metric == "webservice_startup_time");
        own.map(|row| (row.host.as_str(), row.host_cpu.as_str(), row.runs)).collect()
    };
    assert_eq!(of("fc/1"), [("emulated", "EPYC", 1), ("emulated", "Skylake-Server", 2)]);
    assert_eq!(of("qemu/1"), [("emulated", "EPYC", 3)]);
    let table = pooled::render(&rows, OutputWidth::ANY);
    assert!(table.contains("emulated (Skylake-Server)") && !table.contains("(EPYC)"), "{table}");
}

#[test]
fn journal_that_contradicts_the_plan_is_an_error_that_names_the_line() {
    let run = run();
    let problem = |edit: &dyn Fn(&mut Record)| {
        let mut records = run.records();
        let at = records.iter().position(|record| matches!(record, Record::TrialStart { .. })).unwrap();
        edit(&mut records[at]);
        run.write_journal(&records);
        let error = analyze(run.folder()).unwrap_err().to_string();
        assert!(error.contains(&format!("journal.ndjson:{}: trial ", at + 1)), "{error}");
        error
    };
    let other_cell = problem(&|record| {
        if let Record::TrialStart { cell, .. } = record {
            *cell = "other\u{1b}/1".into();
        }
    });
    assert!(other_cell.contains("starts in the cell other /1, but its cell in the plan is "), "{other_cell}");
    let other_cpu = problem(&|record| {
        if let Record::TrialStart { emulated_host, .. } = record {
            *emulated_host = Some(EmulatedHost { number: "0-0".into(), host_cpu: "Denverton".into(), memory_mib: 1 });
        }
    });
    assert!(other_cpu.contains("with the CPU Denverton, but `host_cpu` of its cell "), "{other_cpu}");
}

//! A run's samples and summary: made, and said in words or as JSON.

use std::path::Path;
use std::process::ExitCode;

use microbench::host::identity::{self, Identity};
use microbench::host::noise::Noise;
use microbench::run::directory::Directory;
use microbench::screen::Stream;
use microbench_plots::claim::Outcome;
use microbench_plots::hint::{self, Hint};
use microbench_plots::record::HostKind;
use microbench_plots::results::{CellResult, results};
use microbench_plots::sentence::{self, Sentence};
use microbench_plots::stats::median::Interval;
use microbench_plots::terminal::wrapped_to;
use microbench_plots::{Analysis, claim, summary};
use serde::Serialize;

use super::store::{print_json, print_text};

/// What an analysis found, as JSON has it.
#[derive(Serialize)]
struct Report<'a> {
    run: String,
    study: &'a str,
    host: Option<HostKind>,
    machine: Option<String>,
    values: usize,
    missing: usize,
    results: Vec<CellResult>,
    sentences: Vec<Sentence>,
    hints: Vec<HintReport<'a>>,
    claims: Vec<ClaimReport<'a>>,
    torn_line: Option<usize>,
}

/// A hint in words.
#[derive(Serialize)]
struct HintReport<'a> {
    hint: &'a Hint,
    message: String,
    advice: String,
}

/// A claim and its verdict.
#[derive(Serialize)]
struct ClaimReport<'a> {
    name: &'a str,
    outcome: Outcome,
    value: Option<f64>,
    interval: Option<&'a Interval>,
    n: &'a [usize],
    unit: &'a str,
    remark: &'a str,
}

/// Makes samples and summary of a run's journal, and prints what they say.
pub(super) fn analyze(given: &Path, detail: bool, json: bool) -> anyhow::Result<ExitCode> {
    let run = Directory::open(given)?;
    let analysis = microbench_plots::analyze(run.path())?;
    let identity: Option<Identity> = run.read(identity::FILE).ok();
    let named = given.display().to_string();
    let sentences = sentence::sentences(&analysis.plan, &analysis.summary);
    let hints = hint::hints(&analysis.plan, &analysis.summary, &analysis.journal);
    let host = analysis.summary.iter().find_map(|row| row.host);
    if json {
        let hints =
            hints.iter().map(|hint| HintReport { hint, message: hint.message(), advice: hint.advice(&named, host) });
        return print_json(&Report {
            run: run.name(),
            study: &analysis.plan.study,
            host,
            machine: identity.as_ref().map(Identity::line),
            values: analysis.values,
            missing: analysis.missing,
            results: results(&analysis.summary),
            sentences,
            hints: hints.collect(),
            claims: claims(&analysis),
            torn_line: analysis.journal.torn,
        });
    }
    let room = Stream::Out.room();
    let mut out = summary::text(&analysis.plan, &analysis.summary, &analysis.journal, room);
    let mut say = |line: &str| {
        out.push_str(&wrapped_to(room.words, line, 4));
        out.push('\n');
    };
    if let Some(identity) = &identity {
        say(&identity.line());
        let measured = |metric: &str| analysis.plan.metrics.iter().any(|own| own.name == metric);
        match Noise::of_host(&identity.fingerprint) {
            Some(noise) => say(&noise.line(measured)),
            None => say("noise floor of this host: not measured (`microbench selftest aa STUDY` does)"),
        }
    }
    if detail {
        out.push_str(&format!("\n{}\n", summary::detail(&analysis.summary, analysis.plan.seed, room)));
    }
    out.push_str(&format!("{} samples, {} missing (samples.csv says why)\n", analysis.values, analysis.missing));
    let verdicts = if analysis.verdicts.is_empty() { String::new() } else { claim::text_in(&analysis.verdicts, room) };
    for text in [verdicts, sentence::text(&sentences, &named, room), hint::text(&hints, &named, host, room)] {
        if !text.is_empty() {
            out.push_str(&format!("\n{text}"));
        }
    }
    if let Some(line) = analysis.journal.torn {
        out.push_str(&format!("the journal's last line ({line}) was cut off and does not count\n"));
    }
    Ok(print_text(&out))
}

fn claims(analysis: &Analysis) -> Vec<ClaimReport<'_>> {
    (analysis.verdicts.iter())
        .map(|verdict| ClaimReport {
            name: &verdict.claim.name,
            outcome: verdict.outcome,
            value: verdict.value,
            interval: verdict.interval.as_ref().map(|(interval, _)| interval),
            n: &verdict.n,
            unit: &verdict.unit,
            remark: &verdict.remark,
        })
        .collect()
}

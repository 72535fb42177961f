//! Cost of plotting the bar figures of the 2019 paper's study, from samples to SVG and PNG: `microbench plot`
//! compared with matplotlib, as whole processes.
//!
//! microbench also writes a PDF and two captions per figure, and computes the intervals by bootstrap.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use microbench_formats::axis::Level;
use microbench_formats::cell::Cell;
use microbench_formats::plan::Plan;
use microbench_formats::selection::Selection;
use serde_json::{Value, json};

use crate::Bench;
use crate::measure::{python, run, stdout};
use crate::outcome::{Figure, Named, Outcome, Row};

const STUDY: &str = "experiments/paper-2019-published.toml";
const TRIALS: u32 = 10;
const SCRIPT: &str = include_str!("../python/figures.py");

pub(crate) fn measure(bench: &Bench) -> Result<Outcome> {
    let folder = tempfile::tempdir().context("cannot create a folder")?;
    let run_folder = folder.path().join("run");
    create_run(bench, folder.path(), &run_folder)?;
    let mut ours = Command::new(&bench.microbench);
    ours.arg("plot").arg(&run_folder).args(["--theme", "publication"]);
    run(&mut ours)?;
    let description = folder.path().join("figures.json");
    let drawn = figures(&run_folder)?;
    fs::write(&description, serde_json::to_string(&drawn)?)?;
    let arguments = [run_folder.join("samples.csv"), description, folder.path().join("theirs")]
        .map(|path| path.display().to_string());
    let (mut own, mut theirs, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        own.push(run(&mut ours)?.wall.as_secs_f64());
        if let Some(program) = &bench.python {
            theirs.push(run(&mut python(program, SCRIPT, &arguments))?.wall.as_secs_f64());
        }
        starts.push(run(Command::new(&bench.microbench).arg("--version"))?.wall.as_secs_f64());
    }
    let figure = Figure::of(&own);
    let peer = (!theirs.is_empty()).then(|| Named { name: "matplotlib".to_owned(), figure: Figure::of(&theirs) });
    let met = peer.as_ref().map(|peer| figure.median * 10.0 <= peer.figure.median);
    let row = Row {
        what: format!(
            "{} bar figures of the 2019 paper's study from samples, as SVG and PNG (ours also PDF): whole processes",
            drawn.len()
        ),
        unit: "s",
        ours: figure,
        peer,
        limit: Some(Named { name: "start of a process that plots nothing".to_owned(), figure: Figure::of(&starts) }),
        goal: "10 times as fast",
        met,
    };
    Ok(Outcome { rows: vec![row], curves: Vec::new() })
}

/// Creates a run of the study with synthetic values, and analyses it.
fn create_run(bench: &Bench, folder: &Path, run_folder: &Path) -> Result<()> {
    let plan: Plan = serde_json::from_str(&stdout(Command::new(&bench.microbench).args(["plan", STUDY, "--json"]))?)?;
    let mut csv = String::from("metric,variant,concurrency,trial,value\n");
    for (place, metric) in plan.metrics.iter().enumerate() {
        for (at, cell) in plan.cells.iter().enumerate() {
            for trial in 0..TRIALS {
                for vm in 0..cell.concurrency {
                    let value = 100 * (place + 1) + 10 * at + (trial * 7 + vm * 3) as usize % 11;
                    writeln!(csv, "{},{},{},{trial},{value}", metric.name, cell.variant, cell.concurrency)?;
                }
            }
        }
    }
    let table = folder.join("values.csv");
    fs::write(&table, csv)?;
    run(Command::new(&bench.microbench).args(["import", STUDY]).arg(&table).arg("--out").arg(run_folder))?;
    run(Command::new(&bench.microbench).arg("analyze").arg(run_folder))?;
    Ok(())
}

/// Returns the figures' descriptions for the peer.
fn figures(run: &Path) -> Result<Vec<Value>> {
    let plan: Plan = serde_json::from_slice(&fs::read(run.join("plan.json"))?)?;
    let metrics: BTreeMap<&str, _> = plan.metrics.iter().map(|metric| (metric.name.as_str(), metric)).collect();
    let figure = |figure: &microbench_formats::figure::Figure| {
        let svg = fs::read_to_string(run.join(format!("figures/publication/{}.svg", figure.name)))?;
        let bar = |bar: &microbench_formats::figure::FigureBar| {
            let cells: Vec<&str> =
                plan.cells.iter().filter(|cell| selects(&bar.of, cell)).map(|cell| &*cell.id).collect();
            json!({ "label": bar.label, "group": bar.group, "cells": cells })
        };
        let unit = figure.metrics.first().and_then(|name| metrics.get(name.as_str())).map(|metric| &metric.unit);
        Ok(json!({
            "name": figure.name, "title": figure.title, "unit": unit, "metrics": figure.metrics,
            "inches": [inches(&svg, "width")?, inches(&svg, "height")?],
            "bars": figure.bars.iter().map(bar).collect::<Vec<_>>(),
        }))
    };
    let figures = plan.figures.iter().map(figure).collect::<Result<Vec<_>>>()?;
    ensure!(!figures.is_empty(), "the study has no figures");
    Ok(figures)
}

fn selects(selection: &Selection, cell: &Cell) -> bool {
    selection.iter().all(|(axis, levels)| match axis.as_str() {
        "engine" => levels.contains(&Level::Text(cell.engine.to_string())),
        _ => cell.levels.get(axis).is_some_and(|level| levels.contains(level)),
    })
}

/// Returns the first attribute of this name in an SVG, inches.
fn inches(svg: &str, name: &str) -> Result<f64> {
    let rest = svg.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split("in\"").next());
    rest.and_then(|number| number.parse().ok()).with_context(|| format!("the SVG has no {name}"))
}

//! The reference pages of docs/, made of the tables and types that the program itself goes by. `make docs` writes them; a test fails
//! when the ones in docs/reference are others.

mod commands;
mod manifest;
mod page;
mod types;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use microbench::error::explain;
use microbench_formats::event::{EVENTS, reading};
use microbench_formats::exit;
use microbench_formats::files::FILES;
use microbench_measure::artifacts::image::Rootfs;
use microbench_measure::artifacts::kernel::Kernel;
use microbench_measure::terminal::log::{FILE, VARIABLE};
use microbench_plots::schema;
use microbench_study::engine::context::Context;
use microbench_study::engine::description::Engine;
use microbench_study::manifest::BUILT_IN;
use microbench_study::manifest::protocol::PRESETS;
use microbench_study::manifest::workloads::{WORKLOADS, WorkloadSpec};

use self::page::{cell, code, table};
use super::arguments::Cli;

/// What stands below each heading.
const NOTE: &str = "<!-- `make docs` makes this page of the code; change it there. -->";

/// Writes every page into `folder`.
///
/// # Errors
/// When one cannot be written.
pub(super) fn write(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for (name, title, body) in pages()? {
        let path = folder.join(name);
        let text = format!("# {title}\n\n{NOTE}\n\n{}\n", body.trim_end());
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Every page: its file, its title, and what follows.
fn pages() -> anyhow::Result<Vec<(&'static str, &'static str, String)>> {
    Ok(vec![
        ("commands.md", "Commands", commands()),
        ("engine.md", "An engine's description", engine()),
        ("error-codes.md", "Error codes", error_codes()?),
        ("events.md", "Events", events()),
        ("exit-codes.md", "Exit codes", exit_codes()),
        ("files.md", "Files of a run", files()),
        ("kernel-and-rootfs.md", "Descriptions of kernels and root file systems", images()),
        ("logs.md", "Logs", logs()),
        ("manifest.md", "Manifest", manifest::page()),
        ("metrics.md", "Metrics", metrics()),
        ("readings.md", "Readings", readings()),
        ("samples.md", "Tables and their columns", samples()),
    ])
}

fn commands() -> String {
    format!(
        "`microbench COMMAND --help` says the same. `make` has targets for what is done most: `make help` lists them.\n\
         The program's end is told by its [exit code](exit-codes.md).\n\n{}",
        commands::page(Cli::command())
    )
}

fn engine() -> String {
    format!(
        "An engine is a TOML file: a built-in one in [runner/study/engines](../../runner/study/engines), one of your own in a folder `engines/` \
         beside the manifest.\n[How to write one](../how-to/new-engine.md). Texts that are called templates are handlebars over the \
         [names below](#names-in-templates);\na name that does not exist is an error.\n\n## Keys\n\n{}\n\
         ## Names in templates\n\nBeside these, every effective setting of the cell is there under its own name (`vcpus`, \
         `memory_mib`, the engine's own). Of a setting of kind\n`file`, its name stands for the path and its name with `_text` for the \
         content. `{{{{#if NAME}}}}`, `{{{{#unless NAME}}}}`, `{{{{else}}}}` and\n`{{{{#if (eq NAME \"WORD\")}}}}` are there as well.\n\n{}",
        types::keys::<Engine>("The file"),
        types::names::<Context>(),
    )
}

fn error_codes() -> anyhow::Result<String> {
    let mut text = String::from(
        "Every error has a code, which keeps its meaning for ever and is never used again. `microbench explain CODE` says the same as this \
         page.\n",
    );
    for one in explain::all()? {
        let _ = write!(
            text,
            "\n## `{}`: {}\n\n{}\n\nWhy: {}\n\nNext: {}\n\nExit code: {}.\n\n```text\n{}\n```\n",
            one.code,
            one.title,
            one.means.trim(),
            one.why.trim(),
            one.next.trim(),
            one.exit,
            one.example.trim_end(),
        );
    }
    Ok(text)
}

fn events() -> String {
    let rows: Vec<[String; 2]> = EVENTS.iter().map(|event| [code(event.name), cell(event.doc)]).collect();
    format!(
        "An event is an instant in one VM's life, on the CLOCK_MONOTONIC of the machine that runs the VMM, in ns. In the order of that \
         life;\na metric's `from` must come before its `to`. How each is taken: \
         [what is measured when a VM boots](../explanation/measuring-a-boot.md).\n\n{}\n\
         A metric between two of them is, for instance,\n\n```toml fragment\n[metrics]\nagent_time = \
         {{ from = \"spawn\", to = \"agent.ready\" }}\n```\n\n\
         Events of the console are stamped by the thread that reads it, so they may come later than they happened, by its scheduling.\n",
        table(["event", "the instant"], &rows)
    )
}

fn readings() -> String {
    let all = reading::READINGS.iter().chain(reading::WORKLOAD_READINGS);
    let row = |one: &reading::ReadingSpec| [code(one.name), cell(one.unit), one.better().to_string(), cell(one.doc)];
    let rows: Vec<[String; 4]> = all.map(row).collect();
    format!(
        "A reading is a value that the guest, its kernel or the runner reports for one VM. A metric takes it by \
         `reading = \"NAME\"`;\none in ns is shown in ms. A reading that cannot be had is a sample without a value that says why.\n\n{}\n\
         `METRIC` is the name of the metric whose work it is; which [kind](metrics.md#kinds-of-work) has which of them is there. \
         `workload.METRIC.sha_ni` is in the journal, and no metric can name it. A reading as a metric is, for instance,\n\n```toml fragment\n[metrics]\n\
         memory_of_the_vmm = {{ reading = \"vmm.peak_rss\" }}\n```\n\n\
         `better` is the better direction of the values, by which [`compare`](../how-to/ci-gate.md) calls a \
         difference better or worse. A \
         metric's key\n`better` says another one.\n",
        table(["reading", "unit", "better", "what"], &rows)
    )
}

fn metrics() -> String {
    let rows: Vec<[String; 5]> = BUILT_IN
        .iter()
        .map(|metric| {
            let (unit, definition) = metric.measures();
            [code(metric.name), cell(metric.label), cell(&unit), metric.better().to_string(), cell(&definition)]
        })
        .collect();
    let mut text = format!(
        "These need no more than their name in `[metrics]`, as in `shutdown_time = {{}}`. Others are made of two \
         [events](events.md),\nof a [reading](readings.md) or of work: [how to](../how-to/new-workload-or-metric.md).\n\n{}\n\
         The five phases add up to `webservice_startup_time` exactly, for every engine.\n\n\
         `better` is the better direction of the values: [`compare`](../how-to/ci-gate.md) calls a difference better \
         or worse by it. The \
         key `better` of a metric\n(`lower`, `higher` or `neither`) says another one. Without the key, a metric \
         between two events is better \
         when lower. A metric of a reading has the\ndirection of [its reading](readings.md); a reading that is not in \
         that table has none \
         (`neither`).\n\n\
         ## By protocol\n\n`protocol` in `[study]` sets defaults of settings and metrics; what a manifest says itself wins.\n",
        table(["metric", "label", "unit", "better", "is"], &rows)
    );
    for preset in PRESETS {
        let _ = write!(text, "\n### `{}`: {}\n\n", preset.name(), preset.doc);
        let rows: Vec<[String; 2]> =
            preset.differences().into_iter().map(|(what, why)| [code(&what), cell(why)]).collect();
        if rows.is_empty() {
            text.push_str("The definitions above.\n");
        } else {
            text.push_str(&table(["differs in", "because"], &rows));
        }
    }
    let words = |words: &[&str]| words.iter().map(|word| code(word)).collect::<Vec<_>>().join(", ");
    let row = |work: &WorkloadSpec| {
        let values: Vec<&str> = work.all_values().collect();
        let doc = cell(&format!("{} so many bytes", work.doc));
        [code(work.name()), doc, work.size_limits(), words(work.keys), words(&values), work.clock.to_owned()]
    };
    let rows: Vec<[String; 6]> = WORKLOADS.iter().map(row).collect();
    let _ = write!(
        text,
        "\n## Kinds of work\n\nA metric of work is one of its values: the `value` that its table names, else `duration`. The others are \
         [readings](readings.md).\nWhat the guest times is the guest's word; what the host times is not. How they are done: \
         [how to](../how-to/new-workload-or-metric.md#work-in-the-guest).\n\n{}",
        table(["kind", "is", "bytes of a round", "keys of its own", "values", "clock"], &rows)
    );
    text
}

fn files() -> String {
    let rows: Vec<[String; 3]> =
        FILES.iter().map(|file| [code(file.name), code(file.by), cell(&linked(file.doc))]).collect();
    format!(
        "A run is a folder, `runs/STUDY-TIME` unless `--out` says otherwise. `analyze`, `plot`, `table` and `report` make what is theirs again at any \
         time,\nwithout starting anything. Each file appears whole or not at all.\n\n{}",
        table(["file", "written by", "what"], &rows)
    )
}

fn logs() -> String {
    let levels = [
        ["`error`, `warn`", "what went wrong beside the results, such as a `run.log` that cannot be written"],
        [
            "`info`",
            "why a kind of host was taken, what was built, sessions, failures, disturbances, trials that are executed again",
        ],
        [
            "`debug`",
            "every artefact with its digest, programs that are started, trials, emulated hosts, lookups of runs, files that are read",
        ],
        ["`trace`", "nothing more today"],
    ];
    let rows = levels.map(|[level, what]| [level.to_owned(), cell(what)]);
    format!(
        "Every command logs what it does to standard error: warnings by default, `info` with `-v`, `debug` with `-vv`. \
         The variable `{VARIABLE}` says the same\nwithout an option: `off`, `error`, `warn`, `info`, `debug` or `trace`, alone or for the \
         parts whose names begin so, with commas between them:\n\n\
         ```text\n{VARIABLE}=warn,microbench_measure=debug microbench run experiments/quick.toml\n```\n\n{}\n\
         An option has precedence over the variable. Libraries never log.\n\n\
         ## The log of a run\n\n\
         `{FILE}` in the folder of a run has every event down to `debug`, whatever standard error shows, each with its time (UTC): those of \
         `run`,\n`run --resume` and `selftest aa`. Each session appends to it, up to 8 MiB; then a last line says that it is full.\n\n\
         ## Nothing while a trial is timed\n\n\
         From before the VMs of a trial are prepared until the last one has ended, no event is formatted or written. One that is emitted then is a \
         defect:\nit is counted, and the line `timed window closed` of its trial says so (`dropped`, zero as a rule).\n\n\
         ## The emulated host\n\n\
         The first process of the emulated host logs nothing. Where `{VARIABLE}` is set it logs as the variable says to the console of its machine, \
         `emulated-host-*.log`,\nbetween trials. `-v` does not concern it.\n",
        table(["level", "what"], &rows)
    )
}

/// A page's name as a link to it.
fn linked(text: &str) -> String {
    text.replace("samples.md", "[samples.md](samples.md)")
}

fn samples() -> String {
    let mut text = String::from(
        "What `samples.parquet` holds, and what `microbench query` sees: [how to ask](../how-to/query.md). In a query every table has a first \
         column `run`,\nthe name of the run's folder. A unit in type of code is the column that says it.\n",
    );
    for one in schema::TABLES {
        let rows: Vec<[String; 4]> = one
            .columns
            .iter()
            .map(|column| {
                let unit = if column.unit == "unit" { code("unit") } else { column.unit.to_owned() };
                [code(column.name), column.kind.text().to_owned(), unit, cell(column.meaning)]
            })
            .collect();
        let _ = write!(text, "\n## `{}`\n\nA row is {}; from `{}`.\n\n", one.name, one.row, one.file);
        text.push_str(&table(["column", "type", "unit", "is"], &rows));
    }
    text
}

fn exit_codes() -> String {
    let rows: Vec<[String; 2]> = exit::CODES.iter().map(|(code, doc)| [(*code).to_owned(), cell(doc)]).collect();
    table(["exit code", "is"], &rows)
}

fn images() -> String {
    format!(
        "A kernel is a folder of [kernels/](../../kernels) with a `kernel.toml` ([how to](../how-to/new-kernel.md)), a root file \
         system one of\n[rootfs/](../../rootfs) with a `rootfs.toml` ([how to](../how-to/new-rootfs.md)). The folder's name is what a manifest \
         names.\n\n## `kernel.toml`\n\n{}\n## `rootfs.toml`\n\n{}",
        types::keys::<Kernel>("A kernel"),
        types::keys::<Rootfs>("A root file system"),
    )
}

//! The reference pages of docs/, generated from tables and types of the program. `make docs` writes them, and a test
//! fails when the pages in docs/reference are out of date.

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

/// The note below the title of each page.
const NOTE: &str = "<!-- `make docs` makes this page from the source code; edit the source code instead. -->";

/// A page of the reference.
struct PageSpec {
    file: &'static str,
    title: &'static str,
    /// The readers, as in "For READERS.".
    readers: &'static str,
    /// Pages to read next: title, and path relative to docs/reference.
    next: &'static [(&'static str, &'static str)],
    body: fn() -> anyhow::Result<String>,
}

const PAGES: &[PageSpec] = &[
    PageSpec {
        file: "commands.md",
        title: "Commands",
        readers: "users of the command line",
        next: &[
            ("Exit codes", "exit-codes.md"),
            ("Error codes", "error-codes.md"),
            ("A first study", "../tutorial/first-study.md"),
        ],
        body: || Ok(commands()),
    },
    PageSpec {
        file: "engine.md",
        title: "Engine descriptions",
        readers: "authors of engines",
        next: &[("Add an engine", "../how-to/new-engine.md"), ("Manifest", "manifest.md")],
        body: || Ok(engine()),
    },
    PageSpec {
        file: "error-codes.md",
        title: "Error codes",
        readers: "users who met an error",
        next: &[("Exit codes", "exit-codes.md"), ("Reliability", "../explanation/reliability.md")],
        body: error_codes,
    },
    PageSpec {
        file: "events.md",
        title: "Events",
        readers: "authors of metrics",
        next: &[
            ("What is measured when a VM boots", "../explanation/measuring-a-boot.md"),
            ("Readings", "readings.md"),
            ("Add a metric or a workload", "../how-to/new-workload-or-metric.md"),
        ],
        body: || Ok(events()),
    },
    PageSpec {
        file: "exit-codes.md",
        title: "Exit codes",
        readers: "authors of scripts and CI jobs",
        next: &[("Error codes", "error-codes.md"), ("Gate a change in CI", "../how-to/ci-gate.md")],
        body: || Ok(exit_codes()),
    },
    PageSpec {
        file: "files.md",
        title: "Files of a run",
        readers: "users and programs that read runs",
        next: &[
            ("Tables and their columns", "samples.md"),
            ("Plan and journal: the format of a run", "journal.md"),
            ("Query a run with SQL, Python or R", "../how-to/query.md"),
        ],
        body: || Ok(files()),
    },
    PageSpec {
        file: "kernel-and-rootfs.md",
        title: "Kernel and root file system descriptions",
        readers: "authors of guest kernels and root file systems",
        next: &[
            ("Add a guest kernel", "../how-to/new-kernel.md"),
            ("Add a root file system", "../how-to/new-rootfs.md"),
        ],
        body: || Ok(images()),
    },
    PageSpec {
        file: "logs.md",
        title: "Logs",
        readers: "users who look for the cause of a problem",
        next: &[("Files of a run", "files.md"), ("Reliability", "../explanation/reliability.md")],
        body: || Ok(logs()),
    },
    PageSpec {
        file: "manifest.md",
        title: "Manifest",
        readers: "authors of studies",
        next: &[
            ("Metrics", "metrics.md"),
            ("Make figures for a paper", "../how-to/paper-figures.md"),
            ("Error codes", "error-codes.md"),
        ],
        body: manifest::page,
    },
    PageSpec {
        file: "metrics.md",
        title: "Metrics",
        readers: "authors of studies",
        next: &[
            ("Events", "events.md"),
            ("Readings", "readings.md"),
            ("Add a metric or a workload", "../how-to/new-workload-or-metric.md"),
        ],
        body: || Ok(metrics()),
    },
    PageSpec {
        file: "readings.md",
        title: "Readings",
        readers: "authors of metrics",
        next: &[("Events", "events.md"), ("Add a metric or a workload", "../how-to/new-workload-or-metric.md")],
        body: || Ok(readings()),
    },
    PageSpec {
        file: "samples.md",
        title: "Tables and their columns",
        readers: "users who analyse runs with SQL, Python or R",
        next: &[
            ("Query a run with SQL, Python or R", "../how-to/query.md"),
            ("Statistics", "../explanation/statistics.md"),
        ],
        body: || Ok(samples()),
    },
];

/// Writes all pages into `folder`.
///
/// # Errors
/// When a page cannot be written.
pub(super) fn write(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for page in PAGES {
        let path = folder.join(page.file);
        let next: String = page.next.iter().map(|(title, path)| format!("- [{title}]({path})\n")).collect();
        let body = (page.body)()?;
        let text = format!(
            "# {}\n\n{NOTE}\n\nFor {}.\n\n{}\n\n## Read next\n\n{next}",
            page.title,
            page.readers,
            body.trim_end()
        );
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn commands() -> String {
    format!(
        "The output of `microbench COMMAND --help`. `make help` lists `make` targets for common tasks. See also: \
         [exit codes](exit-codes.md).\n\n{}",
        commands::page(Cli::command())
    )
}

fn engine() -> String {
    format!(
        "An engine is described by a TOML file. Built-in engines are in [runner/study/engines](../../runner/study/engines), your own engines \
         in a folder `engines/`\nnext to the manifest: [how to add an engine](../how-to/new-engine.md). Templates are Handlebars templates with the \
         [names below](#names-in-templates);\nan unknown name is an error.\n\n## Keys\n\n{}\n\
         ## Names in templates\n\nIn addition to these names, every setting of the cell has its own name (`vcpus`, `memory_mib`, settings of the \
         engine). For a setting of kind\n`file`, `NAME` is the path of the file and `NAME_text` its content. Templates support \
         `{{{{#if NAME}}}}`, `{{{{#unless NAME}}}}`, `{{{{else}}}}` and\n`{{{{#if (eq NAME \"VALUE\")}}}}`.\n\n{}",
        types::keys::<Engine>("The file"),
        types::names::<Context>(),
    )
}

fn error_codes() -> anyhow::Result<String> {
    let mut text = String::from(
        "Every error has a code. Codes never change their meaning and are never reused. `microbench explain CODE` prints the same \
         text.\n",
    );
    for entry in explain::entries()? {
        let _ = write!(
            text,
            "\n## `{}`: {}\n\n{}\n\nCause: {}\n\nFix: {}\n\nExit code: {}.\n\n```text\n{}\n```\n",
            entry.code,
            entry.title,
            entry.means.trim(),
            entry.why.trim(),
            entry.next.trim(),
            entry.exit,
            entry.example.trim_end(),
        );
    }
    Ok(text)
}

fn events() -> String {
    let rows: Vec<[String; 2]> = EVENTS.iter().map(|event| [code(event.name), cell(event.doc)]).collect();
    format!(
        "An event is an instant in the life of one VM, in ns of CLOCK_MONOTONIC of the machine that runs the VMM. The table has \
         the order of the events;\nthe `from` of a metric must precede its `to`. \
         [What is measured when a VM boots](../explanation/measuring-a-boot.md) explains how events are recorded.\n\n{}\n\
         A metric between two events:\n\n```toml fragment\n[metrics]\nagent_time = \
         {{ from = \"spawn\", to = \"agent.ready\" }}\n```\n\n\
         The thread that reads the console timestamps its events, so these timestamps include the scheduling delay of that thread.\n",
        table(["event", "instant"], &rows)
    )
}

fn readings() -> String {
    let all = reading::READINGS.iter().chain(reading::WORKLOAD_READINGS);
    let row = |one: &reading::ReadingSpec| [code(one.name), cell(one.unit), one.better().to_string(), cell(one.doc)];
    let rows: Vec<[String; 4]> = all.map(row).collect();
    format!(
        "A reading is a value that the guest, its kernel or the runner reports for one VM. A metric uses it with \
         `reading = \"NAME\"`.\nReadings in ns are shown in ms. An unavailable reading becomes a missing sample with the reason.\n\n{}\n\
         `METRIC` is the name of the metric of the workload. The [kinds of workload](metrics.md#kinds-of-workload) have different \
         readings.\n`workload.METRIC.sha_ni` is recorded in the journal, and metrics cannot use it. A metric of a reading:\n\n\
         ```toml fragment\n[metrics]\nmemory_of_the_vmm = {{ reading = \"vmm.peak_rss\" }}\n```\n\n\
         `better` is the direction of better values: [`compare`](../how-to/ci-gate.md) uses it for the verdicts better and worse. The \
         key `better` of a metric\noverrides it.\n",
        table(["reading", "unit", "better", "description"], &rows)
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
        "Built-in metrics are enabled by their name in `[metrics]`, for example `shutdown_time = {{}}`. Other metrics are defined by two \
         [events](events.md),\na [reading](readings.md) or a workload: [how to define a metric](../how-to/new-workload-or-metric.md).\n\n{}\n\
         For every engine, the five phases add up to exactly `webservice_startup_time`.\n\n\
         `better` is the direction of better values: [`compare`](../how-to/ci-gate.md) uses it for the verdicts better and worse. The \
         key `better` of a metric\n(`lower`, `higher` or `neither`) overrides it. By default, lower values of a metric between two events are \
         better. A metric of a reading has the\ndirection of [its reading](readings.md), or `neither` for a reading that is not in \
         that table.\n\n\
         ## By protocol\n\n`protocol` in `[study]` sets defaults of settings and metrics, which the manifest can override.\n",
        table(["metric", "label", "unit", "better", "definition"], &rows)
    );
    for preset in PRESETS {
        let _ = write!(text, "\n### `{}`: {}\n\n", preset.name(), preset.doc);
        let rows: Vec<[String; 2]> =
            preset.differences().into_iter().map(|(what, why)| [code(&what), cell(why)]).collect();
        if rows.is_empty() {
            text.push_str("The definitions above.\n");
        } else {
            text.push_str(&table(["difference", "reason"], &rows));
        }
    }
    let names = |names: &[&str]| names.iter().map(|name| code(name)).collect::<Vec<_>>().join(", ");
    let row = |workload: &WorkloadSpec| {
        let values: Vec<&str> = workload.all_values().collect();
        let doc = cell(workload.doc);
        [
            code(workload.name()),
            doc,
            workload.size_limits(),
            names(workload.keys),
            names(&values),
            workload.clock.to_owned(),
        ]
    };
    let rows: Vec<[String; 6]> = WORKLOADS.iter().map(row).collect();
    let _ = write!(
        text,
        "\n## Kinds of workload\n\nA metric of a workload is one of its values: that of the key `value`, by default `duration`. The other values are \
         [readings](readings.md).\nTimes of the guest's clock rely on the guest; times of the host's clock do not. See \
         [workloads in the guest](../how-to/new-workload-or-metric.md#run-a-workload-in-the-guest).\n\n{}",
        table(["kind", "description", "bytes of a round", "keys", "values", "clock"], &rows)
    );
    text
}

fn files() -> String {
    let rows: Vec<[String; 3]> =
        FILES.iter().map(|file| [code(file.name), code(file.by), cell(&linked(file.doc))]).collect();
    format!(
        "A run is a folder, by default `runs/STUDY-TIME`. `analyze`, `plot`, `table` and `report` can create their files again at any time, \
         without starting VMs.\nEach file appears complete or not at all.\n\n{}",
        table(["file", "written by", "content"], &rows)
    )
}

fn logs() -> String {
    let levels = [
        ["`error`, `warn`", "problems that do not affect results, such as a `run.log` that cannot be written"],
        ["`info`", "choice of the kind of host, built artefacts, sessions, failures, disturbances, repeated trials"],
        [
            "`debug`",
            "artefacts with their digests, started programs, trials, emulated hosts, run lookups, files that are read",
        ],
        ["`trace`", "the same as `debug`"],
    ];
    let rows = levels.map(|[level, what]| [level.to_owned(), cell(what)]);
    format!(
        "Every command logs to standard error: warnings by default, `info` with `-v`, `debug` with `-vv`. \
         The environment variable `{VARIABLE}` sets\nthe level as well: `off`, `error`, `warn`, `info`, `debug` or `trace`, for all modules or for modules \
         whose names start with a prefix,\ncomma-separated:\n\n\
         ```text\n{VARIABLE}=warn,microbench_measure=debug microbench run experiments/quick.toml\n```\n\n{}\n\
         The option has precedence over the variable. Only microbench's own modules log.\n\n\
         ## The log of a run\n\n\
         `{FILE}` in the folder of a run has all log events up to `debug` of `run`, `run --resume` and `selftest noise-floor`, each with its \
         time\n(UTC), independently of the level for standard error. Each session appends to the file until it has 8 MiB, which a last line \
         records.\n\n\
         ## Timed windows\n\n\
         No log event is formatted or written from before the VMs of a trial are prepared until the last VM has ended. Events in this window \
         are dropped\nand counted: the log line `timed window closed` of the trial has the number (`dropped`, normally zero).\n\n\
         ## The emulated host\n\n\
         By default, the init of the emulated host does not log. With `{VARIABLE}`, it logs between trials to the console of the emulated \
         host,\n`emulated-host-*.log`. `-v` has no effect on it.\n",
        table(["level", "events"], &rows)
    )
}

/// Replaces the name of a page by a link.
fn linked(text: &str) -> String {
    text.replace("samples.md", "[samples.md](samples.md)")
}

fn samples() -> String {
    let mut text = String::from(
        "The columns of `samples.parquet`, and the tables of `microbench query`: [how to query runs](../how-to/query.md). In a query, the first \
         column of\nevery table is `run`, the name of the run. A unit in code font is the name of the column that contains the unit.\n",
    );
    for table_spec in schema::TABLES {
        let rows: Vec<[String; 4]> = table_spec
            .columns
            .iter()
            .map(|column| {
                let unit = if column.unit == "unit" { code("unit") } else { column.unit.to_owned() };
                [code(column.name), column.kind.name().to_owned(), unit, cell(column.meaning)]
            })
            .collect();
        let _ = write!(
            text,
            "\n## `{}`\n\nOne row is {}. Source: `{}`.\n\n",
            table_spec.name, table_spec.row, table_spec.file
        );
        text.push_str(&table(["column", "type", "unit", "description"], &rows));
    }
    text
}

fn exit_codes() -> String {
    let rows: Vec<[String; 2]> = exit::CODES.iter().map(|(code, doc)| [(*code).to_owned(), cell(doc)]).collect();
    table(["exit code", "meaning"], &rows)
}

fn images() -> String {
    format!(
        "A kernel is a folder in [kernels/](../../kernels) with a `kernel.toml` ([how to add a kernel](../how-to/new-kernel.md)). A root file \
         system is a folder in\n[rootfs/](../../rootfs) with a `rootfs.toml` ([how to add a root file system](../how-to/new-rootfs.md)). A manifest \
         uses the name of the folder.\n\n## `kernel.toml`\n\n{}\n## `rootfs.toml`\n\n{}",
        types::keys::<Kernel>("A kernel"),
        types::keys::<Rootfs>("A root file system"),
    )
}

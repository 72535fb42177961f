//! `runs`, `show`, `export` and `prune`: lists, shows, packs and removes runs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use indicatif::DecimalBytes;
use microbench::store::directory::Directory;
use microbench::store::overview::{CellCount, Overview, cells};
use microbench::store::prune::{self, Decision, Rule};
use microbench::store::status::{self, Entry, FailureGroup, Kind, Session, State};
use microbench::store::{archive, citation, lookup};
use microbench_formats::attribution::Attribution;
use microbench_formats::build::Build;
use microbench_formats::code::Code;
use microbench_formats::describe::{describe, one_line};
use microbench_formats::terminal::{Column, OutputWidth, fitted, wrapped_to};
use microbench_measure::artifacts::Artifact;
use microbench_measure::terminal::output;
use microbench_measure::terminal::screen::Stream;
use microbench_measure::{errln, out, outln};
use microbench_plots::journal::UNISOLATED;
use serde::Serialize;

/// Prints a value as JSON to standard output.
pub(super) fn print_json<T: Serialize + ?Sized>(value: &T) -> anyhow::Result<ExitCode> {
    output::print_json(&(serde_json::to_string_pretty(value).context("cannot write JSON")? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints text to standard output. Lines wider than the terminal are broken.
pub(super) fn print_text(text: &str) -> anyhow::Result<ExitCode> {
    out!("{}", Stream::Out.fold(text))?;
    Ok(ExitCode::SUCCESS)
}

/// All runs of the project, newest last, with their folder. Without `links`, links to runs are left out.
fn entries(links: bool) -> anyhow::Result<(PathBuf, Vec<Entry>)> {
    let folder = lookup::runs_folder()?;
    let mut runs = lookup::list_runs(&folder);
    runs.retain(|run| links || !run.path.is_symlink());
    let entries = runs.iter().map(|run| Ok(status::read_entry(&Directory::open(&run.path)?, run.start).0));
    Ok((folder, entries.collect::<anyhow::Result<_>>()?))
}

/// Prints the list of runs.
pub(super) fn runs(study: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    let (folder, mut entries) = entries(true)?;
    let all = entries.len();
    entries.retain(|entry| study.is_none_or(|study| entry.study == study));
    if json {
        return print_json(&entries);
    }
    if entries.is_empty() {
        let of_study = study.map_or_else(String::new, |study| format!(" of the study `{study}` among {all} runs"));
        let message = format!("no runs{of_study} in {}; `microbench run STUDY` creates one", folder.display());
        errln!("{}", Stream::Err.fold(&wrapped_to(Stream::Err.output_width().prose, &message, 2)));
        return Ok(ExitCode::SUCCESS);
    }
    print_text(&list(&entries, Stream::Out.output_width()))
}

/// Whether `entry` is a shard of the merged run `of`.
fn is_part(entry: &Entry, of: &Entry) -> bool {
    of.study == entry.study && of.merged.iter().any(|part| part.name == entry.name && Some(part.shard) == entry.shard)
}

/// The table of runs, with the sessions of a resumed run and the shards of a merged run below it. The reasons of
/// unreadable runs follow the table.
fn list(entries: &[Entry], width: OutputWidth) -> String {
    const BRANCHES: [&str; 2] = ["\u{251c}\u{2500}", "\u{2570}\u{2500}"];
    let columns = [
        Column::left("run", 0),
        Column::left("study", 6),
        Column::left("label", 4),
        Column::left("host", 3),
        Column::left("begun (UTC)", 2),
        Column::left("state", 0),
        Column::right("trials", 0),
        Column::right("VMs failed", 1),
        Column::right("size", 5),
    ];
    let trials = |ended: usize, planned: usize| {
        if ended == planned { planned.to_string() } else { format!("{ended} of {planned}") }
    };
    let mut rows = Vec::new();
    // A shard of a merged run is listed below that run only.
    let is_top_level = |entry: &&Entry| !entries.iter().any(|other| is_part(entry, other));
    for entry in entries.iter().filter(is_top_level) {
        let study = match (entry.kind, entry.shard, entry.merged.len()) {
            (Kind::Noise, ..) => format!("{} (A/A test)", entry.study),
            (_, Some(shard), _) => format!("{} (shard {shard})", entry.study),
            (_, None, 1..) => format!("{} (merged)", entry.study),
            _ => entry.study.clone(),
        };
        let is_readable = entry.state != State::Unreadable;
        let if_readable = |text: String| if is_readable { text } else { "-".to_owned() };
        rows.push(vec![
            entry.name.clone(),
            study,
            status::label(&entry.sessions).map_or_else(String::new, ToString::to_string),
            entry.host.map_or_else(|| "-".to_owned(), |host| format!("{host}{}", unisolated(&entry.sessions))),
            minute(&entry.begun),
            state_name(entry),
            if_readable(trials(entry.trials_ended, entry.trials_planned)),
            if_readable(entry.failed_vms.to_string()),
            DecimalBytes(entry.bytes).to_string(),
        ]);
        for (n, part) in (1..).zip(&entry.merged) {
            let shard = entries.iter().find(|other| other.shard == Some(part.shard) && is_part(other, entry));
            rows.push(vec![
                format!("{} {} {}", BRANCHES[usize::from(n == entry.merged.len())], part.shard, part.name),
                String::new(),
                String::new(),
                part.machines.join(", "),
                shard.map_or_else(String::new, |shard| minute(&shard.begun)),
                shard.map_or_else(|| "removed".to_owned(), state_name),
                trials(part.trials_ended, part.trials_planned),
                String::new(),
                shard.map_or_else(String::new, |shard| DecimalBytes(shard.bytes).to_string()),
            ]);
        }
        if entry.sessions.len() > 1 && entry.merged.is_empty() {
            for (n, session) in (1..).zip(&entry.sessions) {
                let repetition = session.repetition.map_or_else(String::new, |at| format!(" (repetition {})", at + 1));
                rows.push(vec![
                    format!("{} session {n}{repetition}", BRANCHES[usize::from(n == entry.sessions.len())]),
                    String::new(),
                    String::new(),
                    format!("{}{}", session.host, unisolated(std::slice::from_ref(session))),
                    minute(&session.started),
                    String::new(),
                    session.trials.to_string(),
                ]);
            }
        }
    }
    // Most projects have no labels: a column without a text is left out.
    const LABEL: usize = 2;
    let mut columns = columns.to_vec();
    if rows.iter().all(|row| row[LABEL].is_empty()) {
        columns.remove(LABEL);
        rows.iter_mut().for_each(|row| drop(row.remove(LABEL)));
    }
    let (mut text, left_out) = fitted(&columns, &rows, width.table);
    let mut reasons = String::new();
    for entry in entries {
        if let Some(reason) = &entry.reason {
            // Relative paths, which rarely are wider than the terminal.
            let reason = one_line(&reason.replace(&format!("{}/", entry.path), ""), 400);
            reasons.push_str(&wrapped_to(width.prose, &format!("{}: {reason}", entry.name), 2));
            reasons.push('\n');
        }
    }
    if !reasons.is_empty() {
        text.push_str(&format!("\n{reasons}"));
    }
    text + &width.left_out(&left_out)
}

/// The state of a run without its numbers of trials.
fn state_name(entry: &Entry) -> String {
    match entry.state {
        State::Complete if entry.kind == Kind::Imported => "imported".to_owned(),
        State::Complete => "complete".to_owned(),
        State::Interrupted if entry.sessions.is_empty() => "not started".to_owned(),
        State::Interrupted => "interrupted".to_owned(),
        State::Running => entry.owner.as_ref().map_or("running".to_owned(), |owner| format!("running ({})", owner.pid)),
        State::Unreadable => "unreadable".to_owned(),
    }
}

/// Note after the kind of host in the list, by the sessions of the run.
fn unisolated(sessions: &[Session]) -> &'static str {
    if status::unisolated(sessions).is_some() { ", not isolated" } else { "" }
}

/// `2026-01-01 12:00` for a time in RFC 3339.
fn minute(instant: &str) -> String {
    instant.parse::<jiff::Timestamp>().map_or_else(|_| instant.to_owned(), |at| at.strftime("%F %H:%M").to_string())
}

/// The state of a run with its numbers of trials.
fn state(entry: &Entry) -> String {
    let (ended, planned) = (entry.trials_ended, entry.trials_planned);
    let state = state_name(entry);
    match entry.state {
        State::Unreadable => state,
        State::Complete => format!("{state}, {planned} trials, {} VMs failed", entry.failed_vms),
        State::Interrupted if entry.sessions.is_empty() => format!("{state}, {planned} trials"),
        _ => format!("{state}, {ended} of {planned} trials, {} VMs failed", entry.failed_vms),
    }
}

/// JSON output of `show` for an archive.
#[derive(Serialize)]
struct ArchiveReport {
    archive: String,
    name: String,
    study: String,
    title: String,
    trials_ended: usize,
    trials_planned: usize,
    files: Vec<FileReport>,
}

/// A file of an archive.
#[derive(Serialize)]
struct FileReport {
    name: String,
    bytes: u64,
    sha256: String,
}

fn reports(packed: &archive::Packed) -> Vec<FileReport> {
    let file_report = |(name, bytes, sha256): &(String, u64, String)| FileReport {
        name: name.clone(),
        bytes: *bytes,
        sha256: sha256.clone(),
    };
    packed.files.iter().map(file_report).collect()
}

/// Shows a run, or checks an archive of one.
pub(super) fn show(given: &Path, json: bool) -> anyhow::Result<ExitCode> {
    if archive::is_archive(given) && given.is_file() {
        return show_archive(given, json);
    }
    let run = Directory::open(given)?;
    let (entry, found) = status::read_entry(&run, lookup::start_time(run.path()));
    let Some((plan, status)) = found else {
        if json {
            print_json(&entry)?;
        } else {
            outln!("{}: unreadable: {}", entry.name, entry.reason.unwrap_or_default())?;
        }
        return Ok(ExitCode::FAILURE);
    };
    let overview = Overview::new(&run, entry, &plan, &status, &given.display().to_string());
    if json {
        return print_json(&overview);
    }
    print_text(&overview_text(&overview, Stream::Out.output_width()))
}

fn show_archive(path: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let checked = archive::check(path)?;
    let (packed, status, plan) = (&checked.packed, &checked.status, &checked.plan);
    if json {
        return print_json(&ArchiveReport {
            archive: path.display().to_string(),
            name: packed.name.clone(),
            study: plan.study.clone(),
            title: plan.title.clone(),
            trials_ended: status.ended(),
            trials_planned: status.planned,
            files: reports(packed),
        });
    }
    let bytes = packed.files.iter().map(|(_, bytes, _)| bytes).sum();
    let width = Stream::Out.output_width();
    let mut text = format!(
        "{}: run {} of study {}, {} of {} trials\n{} files, {}; all SHA-256 digests match SHA256SUMS\n\n",
        path.display(),
        packed.name,
        plan.study,
        status.ended(),
        status.planned,
        packed.files.len(),
        DecimalBytes(bytes),
    );
    text.push_str(&cells_text(&cells(plan, status), width));
    text.push_str(&format!("\nto unpack it: tar -xf {}\n", path.display()));
    text.push_str(&format!("then: microbench analyze {0}, microbench plot {0}\n", packed.name));
    print_text(&text)
}

/// The details of a run as text.
fn overview_text(overview: &Overview, width: OutputWidth) -> String {
    let run = &overview.run;
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        text.push_str(&wrapped_to(width.prose, &format!("{label:10} {value}"), 11));
        text.push('\n');
    };
    line("run", &run.name);
    if let Some(label) = status::label(&run.sessions) {
        line("label", label.as_str());
    }
    line("folder", &run.path);
    line("study", &format!("{} ({})", run.study, one_line(&overview.title, 200)));
    let profile = if overview.profile.is_empty() { String::new() } else { format!(", profile {}", overview.profile) };
    for (label, value) in attribution(&overview.attribution) {
        line(label, &value);
    }
    let protocol = serde_json::to_value(overview.protocol).ok().and_then(|value| value.as_str().map(str::to_owned));
    line("plan", &format!("protocol {}{profile}, seed {}", protocol.unwrap_or_default(), overview.seed));
    line(
        "host kind",
        &run.host.map_or_else(|| "none (no session yet)".to_owned(), |host| format!("{host} ({})", host.note())),
    );
    if let Some(machine) = &overview.machine {
        line("machine", machine);
    }
    for build in Build::distinct(run.sessions.iter().filter_map(|session| session.build.as_ref())) {
        line("build", &one_line(&format!("{}; {}", build.source(), build.compiler()), 400));
    }
    if let Some(why) = status::unisolated(&run.sessions) {
        line("isolation", &format!("{UNISOLATED}: {why}"));
    }
    if let Some(shard) = run.shard {
        line("shard", &format!("{shard}; `microbench merge` merges all {} shards", shard.of));
    }
    line("state", &state(run));
    for part in &run.merged {
        let shard = format!(
            "{}, {} of {} trials, on {}",
            part.name,
            part.trials_ended,
            part.trials_planned,
            part.machines.join(", ")
        );
        line(&format!("shard {}", part.shard), &shard);
    }
    for (n, session) in (1..).zip(&run.sessions) {
        let hosts = if session.hosts == 1 { String::new() } else { format!(" on {} hosts", session.hosts) };
        let on = if session.machine.is_empty() { String::new() } else { format!(" on {}", session.machine) };
        let build = session.build.as_ref().map_or_else(String::new, |build| format!(" ({})", build.short_source()));
        let repetition = session.repetition.map_or_else(String::new, |at| format!(" of repetition {}", at + 1));
        let details = format!(
            "{}{on}{hosts}, {} trials{repetition}, microbench {}{}",
            minute(&session.started),
            session.trials,
            one_line(&session.version, 40),
            one_line(&build, 80)
        );
        line(&format!("session {n}"), &details);
    }
    text.push('\n');
    let table = |columns: &[Column], rows: &[Vec<String>]| {
        let (text, left_out) = fitted(columns, rows, width.table);
        text + &width.left_out(&left_out) + "\n"
    };
    text.push_str(&cells_text(&overview.cells, width));
    text.push('\n');
    text.push_str(&failures_text(&overview.failures, width));
    if !overview.artifacts.is_empty() {
        text.push_str(&(artifacts(&overview.artifacts, width) + "\n"));
    }
    let columns =
        [Column::left("file", 0), Column::right("files", 3), Column::right("size", 1), Column::left("what", 0)];
    let rows: Vec<Vec<String>> = (overview.files.iter())
        .map(|file| {
            vec![file.name.clone(), file.files.to_string(), DecimalBytes(file.bytes).to_string(), file.what.clone()]
        })
        .collect();
    text.push_str(&table(&columns, &rows));
    if !overview.next.is_empty() {
        text.push_str("next commands:\n");
        for [command, description] in &overview.next {
            text.push_str(&wrapped_to(width.prose, &format!("  {command}  # {description}"), 6));
            text.push('\n');
        }
    }
    text
}

/// Labels and values of the lines on authors, licence and DOI. Names beyond 400 characters are counted.
fn attribution(of: &Attribution) -> Vec<(&'static str, String)> {
    const MOST: usize = 400;
    let mut names = String::new();
    for (shown, author) in of.authors.iter().enumerate() {
        let name = one_line(&author.display_name(), 100);
        if shown > 0 && names.chars().count() + name.chars().count() > MOST {
            names.push_str(&format!(" and {} more", of.authors.len() - shown));
            break;
        }
        let separator = if shown == 0 { "" } else { ", " };
        names.push_str(&format!("{separator}{name}"));
    }
    let licence = of.license.as_deref().map(|licence| ("licence", one_line(licence, MOST)));
    let doi = of.doi.as_deref().map(|doi| ("DOI", one_line(doi, MOST)));
    let names = Some(("authors", names)).filter(|_| !of.authors.is_empty());
    names.into_iter().chain(licence).chain(doi).collect()
}

/// Failures of VMs with a blank line behind them; empty without failures.
fn failures_text(failures: &[FailureGroup], width: OutputWidth) -> String {
    if failures.is_empty() {
        return String::new();
    }
    let lines = failures.iter().map(|group| wrapped_to(width.prose, &format!("  {}", group.line()), 6) + "\n");
    format!("failures\n{}\n", lines.collect::<String>())
}

/// The table of trials by cell and result.
fn cells_text(cells: &[CellCount], width: OutputWidth) -> String {
    let columns = [
        Column::left("cell (trials)", 0),
        Column::left("label", 1),
        Column::right("ok", 0),
        Column::right("failed", 0),
        Column::right("invalid", 0),
        Column::right("skipped", 0),
        Column::right("missing", 0),
    ];
    let rows: Vec<Vec<String>> = (cells.iter())
        .map(|cell| {
            vec![
                cell.cell.clone(),
                one_line(&cell.label, 60),
                cell.ok.to_string(),
                cell.failed.to_string(),
                cell.invalid.to_string(),
                cell.skipped.to_string(),
                cell.missing.to_string(),
            ]
        })
        .collect();
    let (text, left_out) = fitted(&columns, &rows, width.table);
    text + &width.left_out(&left_out)
}

/// Artefacts as a table.
pub(super) fn artifacts(artifacts: &[Artifact], width: OutputWidth) -> String {
    let columns = [
        Column::left("kind", 3),
        Column::left("name", 0),
        Column::left("version", 1),
        Column::right("bytes", 4),
        Column::left("SHA-256", 0),
        Column::left("origin", 5),
    ];
    let row = |artifact: &Artifact| {
        vec![
            artifact.kind.to_string(),
            artifact.name.clone(),
            artifact.version.clone(),
            artifact.bytes.to_string(),
            artifact.sha256.chars().take(16).collect(),
            artifact.origin.clone(),
        ]
    };
    let (text, left_out) = fitted(&columns, &artifacts.iter().map(row).collect::<Vec<_>>(), width.table);
    text + &width.left_out(&left_out)
}

/// JSON output of `export`.
#[derive(Serialize)]
struct ExportReport {
    archive: String,
    bytes: u64,
    sha256: String,
    files: Vec<FileReport>,
}

/// Packs a run into an archive.
pub(super) fn export(given: &Path, out: Option<&Path>, consoles: bool, json: bool) -> anyhow::Result<ExitCode> {
    let run = Directory::open(given)?;
    let out = out.map_or_else(|| archive::default_out(&run.name()), Path::to_path_buf);
    let packed = archive::export(&run, &out, consoles)?;
    let (sha256, bytes) = microbench_measure::artifacts::cache::sha256_file(&out)
        .with_context(|| format!("cannot read {}", out.display()))?;
    if json {
        return print_json(&ExportReport {
            archive: out.display().to_string(),
            bytes,
            sha256,
            files: reports(&packed),
        });
    }
    if let Some(note) = citation::without_authors(&run.plan()?.0.attribution) {
        errln!("{}", Stream::Err.fold(&wrapped_to(Stream::Err.output_width().prose, &format!("note: {note}"), 2)));
    }
    if !run.path().join("samples.parquet").exists() {
        errln!("note: the run has no samples; `microbench analyze` computes them, also after unpacking");
    }
    errln!(
        "packed {} files, {}; SHA-256 {sha256}; `microbench show {}` checks the archive",
        packed.files.len(),
        DecimalBytes(bytes),
        out.display()
    );
    outln!("{}", out.display())?;
    Ok(ExitCode::SUCCESS)
}

/// JSON output of `prune`.
#[derive(Serialize)]
struct PruneReport {
    removed: bool,
    bytes: u64,
    runs: Vec<Decision>,
}

/// Removes runs by name or by rule, or prints which runs would be removed. The exit code is 1 when a run that was named
/// is kept.
pub(super) fn prune(names: &[PathBuf], rule: Rule, yes: bool, json: bool) -> anyhow::Result<ExitCode> {
    let mut decisions = if names.is_empty() {
        prune::decide(&entries(false)?.1, rule, jiff::Timestamp::now())
    } else {
        let decide = |given: &PathBuf| {
            let found = lookup::find(given)?;
            let message =
                || format!("{} is a link, and its target is not removed; remove the link by `rm`", found.display());
            ensure!(!found.is_symlink(), Code::NotRegular.with_message(message()));
            let run = Directory::open(given)?;
            Ok(prune::decide_named(&status::read_entry(&run, lookup::start_time(run.path())).0))
        };
        names.iter().map(decide).collect::<anyhow::Result<_>>()?
    };
    if yes {
        for decision in decisions.iter_mut().filter(|decision| decision.is_removed) {
            if let Err(error) = prune::remove(Path::new(&decision.path)) {
                (decision.is_removed, decision.why) = (false, describe(error.as_ref()));
            }
        }
    }
    let bytes: u64 = decisions.iter().filter(|decision| decision.is_removed).map(|decision| decision.bytes).sum();
    let removed = decisions.iter().filter(|decision| decision.is_removed).count();
    let is_kept = !names.is_empty() && removed < decisions.len();
    if json {
        print_json(&PruneReport { removed: yes, bytes, runs: decisions })?;
    } else {
        let columns =
            [Column::left("run", 0), Column::right("size", 1), Column::left("decision", 0), Column::left("reason", 0)];
        let action = |is_removed: bool| match (is_removed, yes) {
            (false, _) => "kept",
            (true, true) => "removed",
            (true, false) => "remove",
        };
        let rows: Vec<Vec<String>> = (decisions.iter())
            .map(|run| {
                vec![
                    run.name.clone(),
                    DecimalBytes(run.bytes).to_string(),
                    action(run.is_removed).to_owned(),
                    run.why.clone(),
                ]
            })
            .collect();
        if !rows.is_empty() {
            print_text(&fitted(&columns, &rows, Stream::Out.output_width().table).0)?;
        }
        let runs = if removed == 1 { "run" } else { "runs" };
        match (yes, removed) {
            (_, 0) => outln!("nothing to remove")?,
            (true, _) => outln!("{removed} {runs} removed, {} freed", DecimalBytes(bytes))?,
            (false, _) => outln!(
                "{removed} {runs} would be removed, {} would be freed; pass --yes to remove",
                DecimalBytes(bytes)
            )?,
        }
    }
    Ok(if is_kept { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

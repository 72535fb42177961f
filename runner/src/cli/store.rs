//! The runs that there are: a list, one from all sides, one as an archive, and the end of those that may go.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use indicatif::DecimalBytes;
use microbench::store::directory::Directory;
use microbench::store::overview::{CellCount, Overview, cells};
use microbench::store::prune::{self, Decision, Rule};
use microbench::store::survey::{self, Entry, Kind, Session, State};
use microbench::store::{archive, name};
use microbench_formats::describe::{describe, one_line};
use microbench_formats::terminal::{Column, Room, fitted, wrapped_to};
use microbench_measure::artifacts::Artifact;
use microbench_measure::terminal::screen::Stream;
use microbench_measure::{errln, out, outln};
use microbench_plots::journal::UNISOLATED;
use serde::Serialize;

/// Prints a value as JSON, which is then all that standard output has.
pub(super) fn print_json<T: Serialize + ?Sized>(value: &T) -> anyhow::Result<ExitCode> {
    outln!("{}", serde_json::to_string_pretty(value).context("cannot write JSON")?)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints text, no line wider than the terminal.
pub(super) fn print_text(text: &str) -> anyhow::Result<ExitCode> {
    out!("{}", Stream::Out.fold(text))?;
    Ok(ExitCode::SUCCESS)
}

/// Every run of the project, the newest last.
fn entries() -> anyhow::Result<(PathBuf, Vec<Entry>)> {
    let folder = name::runs_folder()?;
    let runs = name::all(&folder);
    let entries = runs.iter().map(|run| Ok(survey::entry(&Directory::open(&run.path)?, run.begun).0));
    Ok((folder, entries.collect::<anyhow::Result<_>>()?))
}

/// Lists the runs.
pub(super) fn runs(study: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    let (folder, mut entries) = entries()?;
    let all = entries.len();
    entries.retain(|entry| study.is_none_or(|study| entry.study == study));
    if json {
        return print_json(&entries);
    }
    if entries.is_empty() {
        let of = study.map_or_else(String::new, |study| format!(" of the study `{study}` (of {all} runs)"));
        let words = format!("no runs{of} in {}; `microbench run STUDY` makes one", folder.display());
        errln!("{}", Stream::Err.fold(&wrapped_to(Stream::Err.room().words, &words, 2)));
        return Ok(ExitCode::SUCCESS);
    }
    print_text(&list(&entries, Stream::Out.room()))
}

/// Whether `entry` is a shard that the run `of` was merged of.
fn is_part(entry: &Entry, of: &Entry) -> bool {
    of.study == entry.study && of.merged.iter().any(|part| part.name == entry.name && Some(part.shard) == entry.shard)
}

/// The runs as a table, a run's sessions or shards and what is wrong with it below it.
fn list(entries: &[Entry], room: Room) -> String {
    let columns = [
        Column::left("run", 0),
        Column::left("study", 4),
        Column::left("host", 3),
        Column::left("begun (UTC)", 2),
        Column::left("state", 0),
        Column::right("VMs failed", 1),
        Column::right("size", 5),
    ];
    let mut rows = Vec::new();
    // A shard stands below the run that it was merged to.
    let own = |entry: &&Entry| !entries.iter().any(|other| is_part(entry, other));
    for entry in entries.iter().filter(own) {
        let study = match (entry.kind, entry.shard, entry.merged.len()) {
            (Kind::Noise, ..) => format!("{} (against itself)", entry.study),
            (_, Some(shard), _) => format!("{} (shard {shard})", entry.study),
            (_, None, 1..) => format!("{} (merged)", entry.study),
            _ => entry.study.clone(),
        };
        rows.push(vec![
            entry.name.clone(),
            study,
            entry.host.map_or_else(|| "-".to_owned(), |host| format!("{host}{}", unisolated(&entry.sessions))),
            minute(&entry.begun),
            state(entry),
            if entry.state == State::Unreadable { "-".to_owned() } else { entry.failed_vms.to_string() },
            DecimalBytes(entry.bytes).to_string(),
        ]);
        for (n, part) in (1..).zip(&entry.merged) {
            let branch = if n == entry.merged.len() { "\u{2570}\u{2500}" } else { "\u{251c}\u{2500}" };
            let shard = entries.iter().find(|other| other.shard == Some(part.shard) && is_part(other, entry));
            rows.push(vec![
                format!("{branch} {} {}", part.shard, part.name),
                String::new(),
                part.machines.join(", "),
                shard.map_or_else(String::new, |shard| minute(&shard.begun)),
                format!("{} of {} trials", part.trials_ended, part.trials_planned),
                String::new(),
                shard.map_or_else(|| "removed".to_owned(), |shard| DecimalBytes(shard.bytes).to_string()),
            ]);
        }
        if entry.sessions.len() > 1 && entry.merged.is_empty() {
            for (n, session) in (1..).zip(&entry.sessions) {
                let branch = if n == entry.sessions.len() { "\u{2570}\u{2500}" } else { "\u{251c}\u{2500}" };
                rows.push(vec![
                    format!("{branch} session {n}"),
                    String::new(),
                    format!("{}{}", session.host, unisolated(std::slice::from_ref(session))),
                    minute(&session.started),
                    format!("{} trials", session.trials),
                ]);
            }
        }
    }
    let (mut text, left_out) = fitted(&columns, &rows, room.table);
    for entry in entries {
        if let Some(reason) = &entry.reason {
            text.push_str(&format!(
                "\n{}",
                wrapped_to(room.words, &format!("{}: {}", entry.name, one_line(reason, 400)), 2)
            ));
        }
    }
    if entries.iter().any(|entry| entry.reason.is_some()) {
        text.push('\n');
    }
    text + &room.left_out(&left_out)
}

/// What a kind of host is followed by in the list, by the sessions on it.
fn unisolated(sessions: &[Session]) -> &'static str {
    if survey::unisolated(sessions).is_some() { ", not isolated" } else { "" }
}

/// `2026-01-01 12:00` of an instant in RFC 3339.
fn minute(instant: &str) -> String {
    instant.parse::<jiff::Timestamp>().map_or_else(|_| instant.to_owned(), |at| at.strftime("%F %H:%M").to_string())
}

/// Whether a run is over, in words.
fn state(entry: &Entry) -> String {
    let (ended, planned) = (entry.trials_ended, entry.trials_planned);
    match entry.state {
        State::Complete if entry.kind == Kind::Imported => format!("imported, {planned} trials"),
        State::Complete => format!("complete, {planned} trials"),
        State::Interrupted if entry.sessions.is_empty() => format!("not begun, {planned} trials"),
        State::Interrupted => format!("interrupted, {ended} of {planned} trials"),
        State::Running => {
            let pid = entry.owner.as_ref().map_or_else(String::new, |owner| format!(" by PID {}", owner.pid));
            format!("running{pid}, {ended} of {planned} trials")
        }
        State::Unreadable => "unreadable".to_owned(),
    }
}

/// An archive that was checked, as JSON has it.
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
    let one = |(name, bytes, sha256): &(String, u64, String)| FileReport {
        name: name.clone(),
        bytes: *bytes,
        sha256: sha256.clone(),
    };
    packed.files.iter().map(one).collect()
}

/// Shows a run, or checks an archive of one.
pub(super) fn show(given: &Path, json: bool) -> anyhow::Result<ExitCode> {
    if archive::is_archive(given) && given.is_file() {
        return show_archive(given, json);
    }
    let run = Directory::open(given)?;
    let (entry, found) = survey::entry(&run, name::begun(run.path()));
    let Some((plan, survey)) = found else {
        if json {
            print_json(&entry)?;
        } else {
            outln!("{}: unreadable: {}", entry.name, entry.reason.unwrap_or_default())?;
        }
        return Ok(ExitCode::FAILURE);
    };
    let overview = Overview::new(&run, entry, &plan, &survey, &given.display().to_string());
    if json {
        return print_json(&overview);
    }
    print_text(&overview_text(&overview, Stream::Out.room()))
}

fn show_archive(path: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let checked = archive::check(path)?;
    let (packed, survey, plan) = (&checked.packed, &checked.survey, &checked.plan);
    if json {
        return print_json(&ArchiveReport {
            archive: path.display().to_string(),
            name: packed.name.clone(),
            study: plan.study.clone(),
            title: plan.title.clone(),
            trials_ended: survey.planned - survey.missing.len(),
            trials_planned: survey.planned,
            files: reports(packed),
        });
    }
    let bytes = packed.files.iter().map(|(_, bytes, _)| bytes).sum();
    let room = Stream::Out.room();
    let mut text = format!(
        "{}: the run {} of {}, {} of {} trials\n{} files, {}: each has the SHA-256 that SHA256SUMS states\n\n",
        path.display(),
        packed.name,
        plan.study,
        survey.planned - survey.missing.len(),
        survey.planned,
        packed.files.len(),
        DecimalBytes(bytes),
    );
    text.push_str(&cells_text(&cells(plan, survey), room));
    text.push_str(&format!("\nto unpack it: tar -xf {}\n", path.display()));
    text.push_str(&format!("then: microbench analyze {0}, microbench plot {0}\n", packed.name));
    print_text(&text)
}

/// A run from all sides, as text.
fn overview_text(overview: &Overview, room: Room) -> String {
    let run = &overview.run;
    let mut text = String::new();
    let mut line = |label: &str, words: &str| {
        text.push_str(&wrapped_to(room.words, &format!("{label:10} {words}"), 11));
        text.push('\n');
    };
    line("run", &run.name);
    line("folder", &run.path);
    line("study", &format!("{} ({})", run.study, one_line(&overview.title, 200)));
    let profile = if overview.profile.is_empty() { String::new() } else { format!(", profile {}", overview.profile) };
    let protocol = serde_json::to_value(overview.protocol).ok().and_then(|value| value.as_str().map(str::to_owned));
    line("plan", &format!("protocol {}{profile}, seed {}", protocol.unwrap_or_default(), overview.seed));
    line("host", &run.host.map_or_else(|| "none yet".to_owned(), |host| format!("{host} ({})", host.note())));
    if let Some(machine) = &overview.machine {
        line("", machine);
    }
    if let Some(why) = survey::unisolated(&run.sessions) {
        line("isolation", &format!("{UNISOLATED}: {why}"));
    }
    if let Some(shard) = run.shard {
        line("shard", &format!("{shard}: every {}. block of the plan; `microbench merge` joins them", shard.of));
    }
    line("state", &state(run));
    for part in &run.merged {
        let words = format!(
            "{}, {} of {} trials, on {}",
            part.name,
            part.trials_ended,
            part.trials_planned,
            part.machines.join(", ")
        );
        line(&format!("of {}", part.shard), &words);
    }
    for (n, session) in (1..).zip(&run.sessions) {
        let hosts = if session.hosts == 1 { String::new() } else { format!(" on {} hosts", session.hosts) };
        let on = if session.machine.is_empty() { String::new() } else { format!(" on {}", session.machine) };
        let words = format!(
            "{}{on}{hosts}, {} trials, microbench {}",
            minute(&session.started),
            session.trials,
            session.version
        );
        line(&format!("session {n}"), &words);
    }
    text.push('\n');
    let table = |columns: &[Column], rows: &[Vec<String>]| {
        let (text, left_out) = fitted(columns, rows, room.table);
        text + &room.left_out(&left_out) + "\n"
    };
    text.push_str(&cells_text(&overview.cells, room));
    text.push('\n');
    if !overview.artifacts.is_empty() {
        text.push_str(&(artifacts(&overview.artifacts, room) + "\n"));
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
        text.push_str("what can be done next:\n");
        for [command, does] in &overview.next {
            text.push_str(&wrapped_to(room.words, &format!("  {command}  # {does}"), 6));
            text.push('\n');
        }
    }
    text
}

/// What each cell came to, in trials.
fn cells_text(cells: &[CellCount], room: Room) -> String {
    let columns = [
        Column::left("cell (trials)", 0),
        Column::left("label", 1),
        Column::right("ok", 0),
        Column::right("failed", 0),
        Column::right("invalid", 0),
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
                cell.missing.to_string(),
            ]
        })
        .collect();
    let (text, left_out) = fitted(&columns, &rows, room.table);
    text + &room.left_out(&left_out)
}

/// Artefacts as a table.
pub(super) fn artifacts(artifacts: &[Artifact], room: Room) -> String {
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
    let (text, left_out) = fitted(&columns, &artifacts.iter().map(row).collect::<Vec<_>>(), room.table);
    text + &room.left_out(&left_out)
}

/// What an export made, as JSON has it.
#[derive(Serialize)]
struct ExportReport {
    archive: String,
    bytes: u64,
    sha256: String,
    files: Vec<FileReport>,
}

/// Packs a run into one archive, and checks what was packed.
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
    if !run.path().join("samples.parquet").exists() {
        errln!("the run has no samples yet: whoever unpacks it makes them by `microbench analyze`");
    }
    errln!(
        "{} files, {} packed; SHA-256 {sha256}; `microbench show {}` checks it",
        packed.files.len(),
        DecimalBytes(bytes),
        out.display()
    );
    outln!("{}", out.display())?;
    Ok(ExitCode::SUCCESS)
}

/// What a pruning did or would do, as JSON has it.
#[derive(Serialize)]
struct PruneReport {
    removed: bool,
    bytes: u64,
    runs: Vec<Decision>,
}

/// Removes runs by name or by rule, or says what would be removed. The exit code is 1 when one that was named stays.
pub(super) fn prune(names: &[PathBuf], rule: Rule, yes: bool, json: bool) -> anyhow::Result<ExitCode> {
    let mut decisions = if names.is_empty() {
        prune::decide(&entries()?.1, rule, jiff::Timestamp::now())
    } else {
        let one = |given: &PathBuf| {
            let run = Directory::open(given)?;
            Ok(prune::named(&survey::entry(&run, name::begun(run.path())).0))
        };
        names.iter().map(one).collect::<anyhow::Result<_>>()?
    };
    if yes {
        for decision in decisions.iter_mut().filter(|decision| decision.goes) {
            if let Err(error) = prune::remove(Path::new(&decision.path)) {
                (decision.goes, decision.why) = (false, describe(error.as_ref()));
            }
        }
    }
    let bytes: u64 = decisions.iter().filter(|decision| decision.goes).map(|decision| decision.bytes).sum();
    let going = decisions.iter().filter(|decision| decision.goes).count();
    let stays = !names.is_empty() && going < decisions.len();
    if json {
        print_json(&PruneReport { removed: yes, bytes, runs: decisions })?;
    } else {
        let columns = [Column::left("run", 0), Column::right("size", 1), Column::left("", 0), Column::left("why", 0)];
        let does = |goes: bool| {
            if !goes {
                "stays"
            } else if yes {
                "removed"
            } else {
                "would go"
            }
        };
        let rows: Vec<Vec<String>> = (decisions.iter())
            .map(|one| {
                vec![one.name.clone(), DecimalBytes(one.bytes).to_string(), does(one.goes).to_owned(), one.why.clone()]
            })
            .collect();
        if !rows.is_empty() {
            print_text(&fitted(&columns, &rows, Stream::Out.room().table).0)?;
        }
        let runs = if going == 1 { "run" } else { "runs" };
        match (yes, going) {
            (_, 0) => outln!("nothing to remove")?,
            (true, _) => outln!("{going} {runs} removed, {} freed", DecimalBytes(bytes))?,
            (false, _) => outln!("{going} {runs} would go, {} would be freed; --yes removes", DecimalBytes(bytes))?,
        }
    }
    Ok(if stays { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

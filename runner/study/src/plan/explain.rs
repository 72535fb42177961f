//! One cell of a plan, explained: every effective value with what set it, and what would be started. Pure: what has
//! to be read is given ([`Site`]).

use std::collections::BTreeMap;
use std::path::Path;

use microbench_formats::axis::Level;
use microbench_formats::cell::Cell;
use microbench_formats::code::Code;
use microbench_formats::instrument::Instrument;
use microbench_formats::plan::Plan;
use serde::Serialize;

use crate::engine::addresses::Addresses;
use crate::engine::context::{Assigned, Context, FIRST_USER, SettingFile};
use crate::engine::description::Engine;
use crate::engine::guest_settings::GuestSettings;
use crate::engine::launch;
use crate::manifest::nearest::{list, nearest, quote};
use crate::manifest::protocol::preset;
use crate::manifest::{Origin, Profile, Study};

/// A cell, or a combination that is not run.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Explanation {
    /// The plan runs it.
    Runs(Box<Explained>),
    /// It does not.
    NotRun(NotRun),
}

/// Why a combination is not run.
#[derive(Debug, Serialize)]
pub struct NotRun {
    /// Its name.
    pub cell: String,
    /// What takes it out, in words.
    pub reason: String,
    /// The line that says so.
    pub source: Source,
}

/// A cell with all that holds for it.
#[derive(Debug, Serialize)]
pub struct Explained {
    /// Its name.
    pub cell: String,
    /// Name of its variant in figures.
    pub label: String,
    /// Its engine.
    pub engine: String,
    /// Its level on each axis, in the axes' order.
    pub levels: Vec<Value>,
    /// Every setting, by name.
    pub settings: Vec<Value>,
    /// How often it runs.
    pub trials: Value,
    /// Trials of its own under an instrument.
    pub instrumented: u32,
    /// The guest kernel's command line; what each VM has of its own is in angle brackets. Empty for a guest that shares the host's.
    pub kernel_command_line: String,
    /// Settings that mean nothing to a guest of the engine's kind, and are not applied.
    pub not_applied: Vec<String>,
    /// The VMM's argument vector, likewise.
    pub argv: Vec<String>,
    /// Files that are written for it: name and content.
    pub files: BTreeMap<String, String>,
    /// Calls to its API, in order.
    pub calls: Vec<String>,
    /// Calls to the VM of which a snapshot is taken first, in order; empty for a VM that boots.
    pub snapshot_calls: Vec<String>,
}

/// A value and what set it.
#[derive(Debug, Serialize)]
pub struct Value {
    /// Of what.
    pub name: String,
    /// The value.
    pub value: Level,
    /// What set it.
    pub source: Source,
}

/// What set a value.
#[derive(Debug, Serialize)]
pub struct Source {
    /// `manifest`, `engine`, `protocol`, `command-line` or `built-in`.
    pub by: &'static str,
    /// The file; empty where none did.
    pub file: String,
    /// The line of the file, from 1; 0 where none is known.
    pub line: u32,
    /// Where in it, or why.
    pub what: String,
}

/// What an explanation takes from files.
#[derive(Debug, Default)]
pub struct Site {
    /// The manifest's path, as it was given.
    pub manifest: String,
    /// Path of init in the cell's root file system.
    pub init: String,
    /// Path of the agent in it.
    pub agent: String,
    /// The files that settings name, by setting.
    pub files: BTreeMap<String, Option<SettingFile>>,
}

/// What was asked for in place of what the manifest says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// Trials of every cell.
    pub trials: bool,
    /// The profile.
    pub profile: Option<&'a str>,
}

/// The plan's cell of this name, or where it was left out.
///
/// # Errors
/// [`Code::UnknownCell`] with the nearest name.
pub fn find<'a>(plan: &'a Plan, study: &Study, name: &str, manifest: &str) -> anyhow::Result<Result<&'a Cell, NotRun>> {
    if let Some(cell) = plan.cells.iter().find(|cell| cell.id == name) {
        return Ok(Ok(cell));
    }
    let text = |line: u32| {
        let line = study.source.lines().nth(line.saturating_sub(1) as usize).unwrap_or_default();
        line.trim().replace(char::is_control, " ")
    };
    let not_run = |reason: String, line: u32| {
        let source = Source { by: "manifest", file: manifest.into(), line, what: text(line) };
        Ok(Err(NotRun { cell: name.into(), reason, source }))
    };
    if let Some(excluded) = study.excluded.iter().find(|excluded| excluded.cell == name) {
        return not_run("a line of `exclude` takes it out".into(), excluded.line);
    }
    let profile = study.profiles.iter().find(|profile| profile.name == plan.profile);
    if let (Some(profile), true) = (profile, study.cells.iter().any(|cell| cell.id == name)) {
        return not_run(format!("the profile `{}` leaves it out", profile.name), profile.line);
    }
    let names = || plan.cells.iter().map(|cell| cell.id.as_str());
    let help = match nearest(name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => list("cells", names()),
    };
    Err(Code::UnknownCell.says(format!("the study has no cell {}; {help}", quote(name))).into())
}

/// The cell with what set each value, and what would be started.
///
/// # Errors
/// When the engine's templates cannot be rendered.
pub fn explain(
    plan: &Plan,
    study: &Study,
    engine: &Engine,
    cell: &Cell,
    site: &Site,
    asked: Asked<'_>,
) -> anyhow::Result<Explained> {
    let guest = GuestSettings::of(cell)?;
    let context = Context::of(engine, cell, &guest, assigned(engine, &guest, site))?;
    let launch = launch::render(engine, &context)?;
    let call = |call: &launch::LaunchCall| format!("{} {} {}", call.method, call.path, call.body);
    let boots = launch.api.iter().flat_map(|api| &api.calls);
    let (calls, snapshot_calls) = match &launch.snapshot {
        Some(snapshot) => {
            let first = boots.chain(&snapshot.take).map(call).collect();
            (snapshot.load.iter().map(call).collect(), first)
        }
        None => (boots.map(call).collect(), Vec::new()),
    };
    let instrumented = |instrument: Instrument| {
        let own = plan.trials.iter().filter(|trial| trial.cell == cell.id && trial.instrument == Some(instrument));
        u32::try_from(own.count()).unwrap_or(u32::MAX)
    };
    Ok(Explained {
        cell: cell.id.to_string(),
        label: cell.label.to_string(),
        engine: cell.engine.to_string(),
        levels: levels(study, cell, site),
        settings: settings(study, engine, cell, site),
        trials: Value {
            name: "trials".into(),
            value: Level::Int(i64::from(cell.trials)),
            source: trials(plan, study, cell, site, asked),
        },
        instrumented: instrumented(Instrument::Strace),
        kernel_command_line: context.boot_args.unwrap_or_default(),
        not_applied: (cell.settings.keys())
            .filter(|name| !engine.settings.contains_key(*name) && !engine.guest.heeds(name))
            .cloned()
            .collect(),
        argv: launch.argv,
        files: launch.files.into_iter().collect(),
        calls,
        snapshot_calls,
    })
}

fn in_manifest(site: &Site, line: u32, what: impl Into<String>) -> Source {
    Source { by: "manifest", file: site.manifest.clone(), line, what: what.into() }
}

fn built_in(what: &str) -> Source {
    Source { by: "built-in", file: String::new(), line: 0, what: what.into() }
}

/// The line of the cell's level on the axis, if somebody wrote it.
fn level_line(study: &Study, cell: &Cell, axis: &str) -> Option<u32> {
    let levels = &study.axes.iter().find(|known| known.name == axis)?.levels;
    let at = levels.iter().position(|level| Some(level) == cell.levels.get(axis))?;
    study.places.levels.get(axis)?.get(at).copied().filter(|line| *line > 0)
}

fn levels(study: &Study, cell: &Cell, site: &Site) -> Vec<Value> {
    let value = |name: &String| {
        let source = match (level_line(study, cell, name), study.places.included.get(cell.id.as_str())) {
            (Some(line), None) => in_manifest(site, line, format!("level of the axis `{name}`")),
            (Some(line), Some(_)) => in_manifest(site, line, "a line of `include` adds the cell"),
            (None, _) => built_in("where [matrix] does not say"),
        };
        Some(Value { name: name.clone(), value: cell.levels.get(name)?.clone(), source })
    };
    study.axes.iter().filter_map(|axis| value(&axis.name)).collect()
}

fn settings(study: &Study, engine: &Engine, cell: &Cell, site: &Site) -> Vec<Value> {
    let origins = study.variants.iter().find(|variant| variant.key == cell.variant).map(|variant| &variant.origins);
    let source = |name: &String| {
        if cell.levels.contains_key(name) {
            let line = level_line(study, cell, name).unwrap_or(0);
            return in_manifest(site, line, format!("[matrix], level of the axis `{name}`"));
        }
        match origins.and_then(|origins| origins.get(name)) {
            Some(Origin::Manifest { line, table }) => in_manifest(site, *line, table.as_str()),
            Some(Origin::Engine) => {
                let line = engine.settings.get(name).map_or(0, |setting| setting.line);
                Source {
                    by: "engine",
                    file: engine.file.clone().unwrap_or_default(),
                    line,
                    what: "the engine's default".into(),
                }
            }
            Some(Origin::Protocol(why)) => {
                let what = format!("protocol {}: {why}", preset(study.protocol).name());
                Source { by: "protocol", file: String::new(), line: 0, what }
            }
            Some(Origin::BuiltIn) | None => built_in(""),
        }
    };
    let value =
        |(name, value): (&String, &Level)| Value { name: name.clone(), value: value.clone(), source: source(name) };
    cell.settings.iter().map(value).collect()
}

fn trials(plan: &Plan, study: &Study, cell: &Cell, site: &Site, asked: Asked<'_>) -> Source {
    if asked.trials {
        return Source { by: "command-line", file: String::new(), line: 0, what: "--trials".into() };
    }
    let profile = study.profiles.iter().find(|profile| Some(profile.name.as_str()) == asked.profile);
    let line_of = |profile: &Profile| profile.lines.get(&cell.concurrency).copied();
    if let Some((profile, line)) = profile.and_then(|profile| Some((profile, line_of(profile)?))) {
        return in_manifest(site, line, format!("[profiles.{}]", profile.name));
    }
    let included = study.places.included.get(cell.id.as_str());
    let what = match (&plan.precision, included) {
        (Some(_), _) => "`precision` of [matrix]: this many at most",
        (None, Some(_)) => "the line of `include`, or [matrix]",
        (None, None) => "`trials` of [matrix]",
    };
    let own = included.and_then(|included| included.trials);
    let line = own.or_else(|| study.places.trials.get(&cell.concurrency).copied());
    in_manifest(site, line.unwrap_or(0), what)
}

/// What a run decides about the first VM of a trial, in angle brackets.
fn assigned(engine: &Engine, guest: &GuestSettings, site: &Site) -> Assigned {
    let name = Path::new(&engine.program).file_name().unwrap_or_default();
    Assigned {
        program: format!("<program {}>", engine.program),
        program_name: name.to_string_lossy().into_owned(),
        jail_program: engine.jail.as_ref().map(|jail| format!("<program {}>", jail.program)),
        user: FIRST_USER,
        id: "<vm>".into(),
        folder: "<folder of the VM>".into(),
        kernel: Some(format!("<kernel {}>", guest.kernel)),
        image: format!("<rootfs {}>", guest.rootfs),
        init: site.init.clone(),
        agent: site.agent.clone(),
        nonce: "<nonce>".into(),
        tap: Some("<tap>".into()),
        addresses: Addresses::of(0),
        files: site.files.clone(),
    }
}

impl Explanation {
    /// The explanation as text.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::NotRun(not_run) => {
                let NotRun { cell, reason, source } = not_run;
                format!("cell {cell} is not run: {reason}\n  {}  {}\n", source.place(), source.what)
            }
            Self::Runs(cell) => cell.text(),
        }
    }
}

impl Source {
    fn place(&self) -> String {
        match (self.file.as_str(), self.line) {
            ("", _) => self.by.to_owned(),
            (file, 0) => file.to_owned(),
            (file, line) => format!("{}:{line}", file.trim_end_matches(" (built in)")),
        }
    }
}

impl Explained {
    fn text(&self) -> String {
        let mut text = format!("cell {}: {}, engine {}\n", self.cell, self.label, self.engine);
        let all = || self.levels.iter().chain(&self.settings).chain([&self.trials]);
        let name = all().map(|value| value.name.chars().count()).max().unwrap_or(0);
        let shown = all().map(|value| written(&value.value).chars().count()).max().unwrap_or(0).min(24);
        let place = all().map(|value| value.source.place().chars().count()).max().unwrap_or(0);
        let mut section = |head: &str, values: &[&Value]| {
            text.push_str(&format!("\n{head}\n"));
            for value in values {
                let (written, source) = (written(&value.value), &value.source);
                let line =
                    format!("  {:name$}  {written:shown$}  {:place$}  {}", value.name, source.place(), source.what);
                text.push_str(line.trim_end());
                text.push('\n');
            }
        };
        section("levels", &self.levels.iter().collect::<Vec<_>>());
        section("settings", &self.settings.iter().collect::<Vec<_>>());
        section("runs", &[&self.trials]);
        if self.instrumented > 0 {
            text.push_str(&format!("  and {} under strace, never timed\n", self.instrumented));
        }
        if self.not_applied.is_empty() {
            text.push_str("\nthe guest kernel's command line; in angle brackets what the run decides\n  ");
            text.push_str(&self.kernel_command_line);
        } else {
            text.push_str("\nit has no kernel of its own, so that these settings are not applied\n  ");
            text.push_str(&self.not_applied.join(" "));
        }
        let who = if self.not_applied.is_empty() {
            "the VMM's arguments"
        } else {
            "its arguments, beginning with the program"
        };
        text.push_str(&format!("\n\n{who}\n"));
        for line in options(&self.argv) {
            text.push_str(&format!("  {line}\n"));
        }
        for (name, content) in &self.files {
            text.push_str(&format!("\nthe file {name}\n  {}\n", content.replace('\n', "\n  ")));
        }
        for (head, calls) in [
            ("calls to the VM of which its snapshot is taken, once and untimed", &self.snapshot_calls),
            ("calls to its API", &self.calls),
        ] {
            if !calls.is_empty() {
                text.push_str(&format!("\n{head}\n"));
                calls.iter().for_each(|call| text.push_str(&format!("  {call}\n")));
            }
        }
        text
    }
}

/// The arguments, an option and its value in one line.
fn options(argv: &[String]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut open = false;
    for argument in argv {
        let quoted = if argument.contains([' ', '"']) { format!("'{argument}'") } else { argument.clone() };
        let option = argument.starts_with('-');
        match lines.last_mut() {
            Some(line) if open && !option => {
                line.push(' ');
                line.push_str(&quoted);
            }
            _ => lines.push(quoted),
        }
        open = option;
    }
    lines
}

/// A value as a manifest writes it.
fn written(level: &Level) -> String {
    match level {
        Level::Text(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::options;

    #[test]
    fn an_option_and_its_value_are_one_line() {
        let argv = ["qemu", "-smp", "1", "-nodefaults", "-append", "a b"].map(String::from);
        assert_eq!(options(&argv), ["qemu", "-smp 1", "-nodefaults", "-append 'a b'"]);
    }
}

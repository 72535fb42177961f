//! Explains one cell of a plan (`plan --explain`): every effective value with its origin, and the command that would be
//! started.

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
use crate::manifest::nearest::{list_valid, nearest, quote};
use crate::manifest::protocol::preset;
use crate::manifest::{Origin, Profile, Study};
use crate::plan::view::Page;

/// The explanation of a cell, or of a combination that is not run.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Explanation {
    /// The plan runs the cell.
    Runs(Box<Explained>),
    /// The plan does not run it.
    NotRun(NotRun),
}

/// Why a combination is not run.
#[derive(Debug, Serialize)]
pub struct NotRun {
    /// Name of the cell.
    pub cell: String,
    /// A clause.
    pub reason: String,
    /// The line that excludes it.
    pub source: Source,
}

/// All values of a cell.
#[derive(Debug, Serialize)]
pub struct Explained {
    /// Name of the cell.
    pub cell: String,
    /// Label of its variant.
    pub label: String,
    pub engine: String,
    /// Its level on each axis, in the order of the axes.
    pub levels: Vec<Value>,
    /// All settings in the order of their names.
    pub settings: Vec<Value>,
    /// Number of trials.
    pub trials: Value,
    /// Number of additional trials under strace.
    pub instrumented: u32,
    /// Number of additional trials in which perf events count.
    pub counted: u32,
    /// The guest kernel's command line, with placeholders in angle brackets. Empty for a guest that shares the host's
    /// kernel.
    pub kernel_command_line: String,
    /// Settings that do not apply to the engine's kind of guest.
    pub not_applied: Vec<String>,
    /// The argument vector, with placeholders.
    pub argv: Vec<String>,
    /// Contents of the files that are written before the start, by name.
    pub files: BTreeMap<String, String>,
    /// API calls in order.
    pub calls: Vec<String>,
    /// API calls to the VM of which the snapshot is taken, in order; empty for a VM that boots.
    pub snapshot_calls: Vec<String>,
}

/// A value and its origin.
#[derive(Debug, Serialize)]
pub struct Value {
    pub name: String,
    pub value: Level,
    pub source: Source,
}

/// The origin of a value.
#[derive(Debug, Serialize)]
pub struct Source {
    /// `manifest`, `engine`, `protocol`, `command-line` or `built-in`.
    pub by: &'static str,
    /// The file; empty for an origin other than a file.
    pub file: String,
    /// Line of the file, from 1; 0 if unknown.
    pub line: u32,
    /// The place in the file, or the reason.
    pub what: String,
}

/// Values of an explanation that are read from files.
#[derive(Debug, Default)]
pub struct ExplainInputs {
    /// Path of the manifest as given on the command line.
    pub manifest: String,
    /// Path of init in the cell's root file system.
    pub init: String,
    /// Path of the agent in the cell's root file system.
    pub agent: String,
    /// The files that settings name, by setting.
    pub files: BTreeMap<String, Option<SettingFile>>,
}

/// The options of the command line that override the manifest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overridden<'a> {
    /// `--trials` is set.
    pub trials: bool,
    /// Value of `--profile`.
    pub profile: Option<&'a str>,
}

/// The cell of this name, or the reason why the plan does not run it.
///
/// # Errors
/// [`Code::UnknownCell`] for an unknown name.
pub fn find_cell<'a>(
    plan: &'a Plan,
    study: &Study,
    name: &str,
    manifest: &str,
) -> anyhow::Result<Result<&'a Cell, NotRun>> {
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
        return not_run("a line of `exclude` excludes it".into(), excluded.line);
    }
    let profile = study.profiles.iter().find(|profile| profile.name == plan.profile);
    if let (Some(profile), true) = (profile, study.cells.iter().any(|cell| cell.id == name)) {
        return not_run(format!("the profile `{}` does not include it", profile.name), profile.line);
    }
    let names = || plan.cells.iter().map(|cell| cell.id.as_str());
    let help = match nearest(name, names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => list_valid("cells", names()),
    };
    Err(Code::UnknownCell.with_message(format!("the study has no cell {}; {help}", quote(name))).into())
}

/// Explains a cell of the plan.
///
/// # Errors
/// A template of the engine cannot be rendered.
pub fn explain(
    plan: &Plan,
    study: &Study,
    engine: &Engine,
    cell: &Cell,
    inputs: &ExplainInputs,
    overridden: Overridden<'_>,
) -> anyhow::Result<Explained> {
    let guest = GuestSettings::from_cell(cell)?;
    let context = Context::new(engine, cell, &guest, assigned(engine, &guest, inputs))?;
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
        levels: levels(study, cell, inputs),
        settings: settings(study, engine, cell, inputs),
        trials: Value {
            name: "trials".into(),
            value: Level::Int(i64::from(cell.trials)),
            source: trials(plan, study, cell, inputs, overridden),
        },
        instrumented: instrumented(Instrument::Strace),
        counted: instrumented(Instrument::Perf),
        kernel_command_line: context.boot_args.unwrap_or_default(),
        not_applied: (cell.settings.keys())
            .filter(|name| !engine.settings.contains_key(*name) && !engine.guest.applies(name))
            .cloned()
            .collect(),
        argv: launch.argv,
        files: launch.files.into_iter().collect(),
        calls,
        snapshot_calls,
    })
}

fn in_manifest(inputs: &ExplainInputs, line: u32, what: impl Into<String>) -> Source {
    Source { by: "manifest", file: inputs.manifest.clone(), line, what: what.into() }
}

fn built_in(what: &str) -> Source {
    Source { by: "built-in", file: String::new(), line: 0, what: what.into() }
}

/// The line of the cell's level on the axis; `None` for a default level.
fn level_line(study: &Study, cell: &Cell, axis: &str) -> Option<u32> {
    let levels = &study.axes.iter().find(|known| known.name == axis)?.levels;
    let at = levels.iter().position(|level| Some(level) == cell.levels.get(axis))?;
    study.places.levels.get(axis)?.get(at).copied().filter(|line| *line > 0)
}

fn levels(study: &Study, cell: &Cell, inputs: &ExplainInputs) -> Vec<Value> {
    let value = |name: &String| {
        let source = match (level_line(study, cell, name), study.places.included.get(cell.id.as_str())) {
            (Some(line), None) => in_manifest(inputs, line, format!("axis `{name}`")),
            (Some(line), Some(_)) => in_manifest(inputs, line, "a line of `include` adds the cell"),
            (None, _) => built_in("default"),
        };
        Some(Value { name: name.clone(), value: cell.levels.get(name)?.clone(), source })
    };
    study.axes.iter().filter_map(|axis| value(&axis.name)).collect()
}

fn settings(study: &Study, engine: &Engine, cell: &Cell, inputs: &ExplainInputs) -> Vec<Value> {
    let origins = study.variants.iter().find(|variant| variant.key == cell.variant).map(|variant| &variant.origins);
    let source = |name: &String| {
        if cell.levels.contains_key(name) {
            let line = level_line(study, cell, name).unwrap_or(0);
            return in_manifest(inputs, line, format!("axis `{name}`"));
        }
        match origins.and_then(|origins| origins.get(name)) {
            Some(Origin::Manifest { line, table }) => in_manifest(inputs, *line, table.as_str()),
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

fn trials(plan: &Plan, study: &Study, cell: &Cell, inputs: &ExplainInputs, overridden: Overridden<'_>) -> Source {
    if overridden.trials {
        return Source { by: "command-line", file: String::new(), line: 0, what: "--trials".into() };
    }
    let profile = study.profiles.iter().find(|profile| Some(profile.name.as_str()) == overridden.profile);
    let line_of = |profile: &Profile| profile.lines.get(&cell.concurrency).copied();
    if let Some((profile, line)) = profile.and_then(|profile| Some((profile, line_of(profile)?))) {
        return in_manifest(inputs, line, format!("[profiles.{}]", profile.name));
    }
    let included = study.places.included.get(cell.id.as_str());
    let what = match (&plan.precision, included) {
        (Some(_), _) => "maximum of `precision` of [matrix]",
        (None, Some(_)) => "`include` or `trials` of [matrix]",
        (None, None) => "`trials` of [matrix]",
    };
    let own = included.and_then(|included| included.trials);
    let line = own.or_else(|| study.places.trials.get(&cell.concurrency).copied());
    in_manifest(inputs, line.unwrap_or(0), what)
}

/// Placeholders for the values that a run assigns to the first VM of a trial.
fn assigned(engine: &Engine, guest: &GuestSettings, inputs: &ExplainInputs) -> Assigned {
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
        init: inputs.init.clone(),
        agent: inputs.agent.clone(),
        nonce: "<nonce>".into(),
        tap: Some("<tap>".into()),
        addresses: Addresses::for_vm(0),
        files: inputs.files.clone(),
    }
}

/// Suffix of the file of a built-in engine in [`Source`].
const BUILT_IN_FILE: &str = " (built in)";

/// Placeholder for the guest kernel's command line where the text would repeat it.
const KERNEL_COMMAND_LINE: &str = "<kernel command line>";

impl Explanation {
    /// Renders the explanation as text of at most `width` columns; only a longer word or file makes a longer line.
    #[must_use]
    pub fn render(&self, width: usize) -> String {
        match self {
            Self::NotRun(not_run) => {
                let NotRun { cell, reason, source } = not_run;
                let mut page = Page::new(width);
                page.paragraph(&format!("cell {cell} is not run: {reason}"));
                page.note(&format!("  {}  ", source.location()), &source.note());
                page.text
            }
            Self::Runs(cell) => cell.render(width),
        }
    }
}

impl Source {
    /// The name of a built-in engine whose description has the value. Its file is not on the user's disk.
    fn built_in_engine(&self) -> Option<String> {
        let file = Path::new(self.file.strip_suffix(BUILT_IN_FILE)?);
        Some(file.file_stem()?.to_string_lossy().into_owned())
    }

    fn location(&self) -> String {
        match (self.file.as_str(), self.line) {
            _ if self.built_in_engine().is_some() => "built-in engine".to_owned(),
            ("", _) => self.by.to_owned(),
            (file, 0) => file.to_owned(),
            (file, line) => format!("{file}:{line}"),
        }
    }

    fn note(&self) -> String {
        self.built_in_engine().map_or_else(|| self.what.clone(), |engine| format!("default of {engine}"))
    }
}

impl Explained {
    fn render(&self, width: usize) -> String {
        let mut page = Page::new(width);
        page.paragraph(&format!("cell {}: {}, engine {}", self.cell, self.label, self.engine));
        let all = || self.levels.iter().chain(&self.settings).chain([&self.trials]);
        let name = all().map(|value| value.name.chars().count()).max().unwrap_or(0);
        let shown = all().map(|value| toml_value(&value.value).chars().count()).max().unwrap_or(0).min(24);
        let place = all().map(|value| value.source.location().chars().count()).max().unwrap_or(0);
        let mut section = |head: &str, values: &[&Value]| {
            page.line("");
            page.line(head);
            for value in values {
                let (written, source) = (toml_value(&value.value), &value.source);
                let head = format!("  {:name$}  {written:shown$}  {:place$}  ", value.name, source.location());
                page.note(&head, &source.note());
            }
        };
        section("levels", &self.levels.iter().collect::<Vec<_>>());
        section("settings", &self.settings.iter().collect::<Vec<_>>());
        section("runs", &[&self.trials]);
        for (trials, instrument) in [(self.instrumented, Instrument::Strace), (self.counted, Instrument::Perf)] {
            if trials > 0 {
                page.line(&format!("  and {trials} under {}, not timed", instrument.name()));
            }
        }
        page.line("");
        if self.not_applied.is_empty() {
            page.paragraph("the guest kernel's command line; the run replaces placeholders in angle brackets");
            page.command(&unquoted_parts(&self.kernel_command_line), CONTINUED);
        } else {
            page.paragraph("the guest has no kernel of its own, so these settings are not applied");
            page.fill("  ", self.not_applied.iter().map(String::as_str), " ");
        }
        page.line("");
        page.line(if self.not_applied.is_empty() {
            "the VMM's arguments"
        } else {
            "the arguments, beginning with the program"
        });
        let argv: Vec<String> = self.argv.iter().map(|argument| self.without_kernel_command_line(argument)).collect();
        group_options(&argv).iter().for_each(|arguments| page.command(arguments, CONTINUED));
        for (name, content) in &self.files {
            page.line("");
            page.line(&format!("file {name}"));
            let content = self.without_kernel_command_line(content);
            content.split('\n').for_each(|line| page.line(&format!("  {line}")));
        }
        for (head, calls) in [
            ("API calls to the VM of the snapshot, once and not timed", &self.snapshot_calls),
            ("API calls", &self.calls),
        ] {
            if !calls.is_empty() {
                page.line("");
                page.line(head);
                // Line breaks between the tokens of a JSON body have no meaning.
                for call in calls.iter().map(|call| self.without_kernel_command_line(call)) {
                    call.split('\n').for_each(|line| page.command(&unquoted_parts(line), ""));
                }
            }
        }
        page.text
    }

    /// `text` with [`KERNEL_COMMAND_LINE`] instead of the command line, which is shown once and is long.
    fn without_kernel_command_line(&self, text: &str) -> String {
        if self.kernel_command_line.contains(' ') {
            text.replace(&self.kernel_command_line, KERNEL_COMMAND_LINE)
        } else {
            text.to_owned()
        }
    }
}

/// End of a line of a command that the next line continues.
const CONTINUED: &str = " \\";

/// `line` split at spaces that are not between double quotes.
fn unquoted_parts(line: &str) -> Vec<String> {
    let mut is_quoted = false;
    let parts = line.split(|c| {
        is_quoted ^= c == '"';
        c == ' ' && !is_quoted
    });
    parts.map(str::to_owned).collect()
}

/// The lines of an argument vector: an option and its values share a line.
fn group_options(argv: &[String]) -> Vec<Vec<String>> {
    let mut lines: Vec<Vec<String>> = Vec::new();
    let mut open = false;
    for argument in argv {
        let quoted = if argument.contains([' ', '"']) { format!("'{argument}'") } else { argument.clone() };
        let option = argument.starts_with('-');
        match lines.last_mut() {
            Some(line) if open && !option => line.push(quoted),
            _ => lines.push(vec![quoted]),
        }
        open = option;
    }
    lines
}

/// A value in TOML syntax.
fn toml_value(level: &Level) -> String {
    match level {
        Level::Text(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use microbench_formats::axis::Level;

    use super::{Explained, Source, Value, group_options, unquoted_parts};

    fn value(name: &str, by: &'static str, file: &str, line: u32, what: &str) -> Value {
        let source = Source { by, file: file.into(), line, what: what.into() };
        Value { name: name.into(), value: Level::Bool(true), source }
    }

    fn explained() -> Explained {
        let command_line = "console=ttyS0 reboot=t panic=-1 root=/dev/vda ro init=/sbin/init microbench.nonce=<nonce>";
        Explained {
            cell: "qemu/1".into(),
            label: "QEMU".into(),
            engine: "qemu-microvm".into(),
            levels: Vec::new(),
            settings: vec![
                value("rtc", "engine", "runner/study/engines/qemu-microvm.toml (built in)", 35, "the engine's default"),
                value("own", "engine", "engines/own.toml", 7, "the engine's default"),
                value("probe", "protocol", "", 0, "protocol as-coded: The tool polled without a pause, at any time."),
            ],
            trials: value("trials", "manifest", "study.toml", 20, "`trials` of [matrix]"),
            instrumented: 0,
            counted: 0,
            kernel_command_line: command_line.into(),
            not_applied: Vec::new(),
            argv: ["qemu", "-drive", &"x".repeat(50), "-append", command_line].map(str::to_owned).to_vec(),
            files: [("vm.json".to_owned(), format!("{{\"boot_args\": \"{command_line}\"}}"))].into(),
            calls: vec![format!("PUT /boot {{\"a\": \"{}\", \"b\": \"{command_line}\"}}", "z".repeat(40))],
            snapshot_calls: Vec::new(),
        }
    }

    #[test]
    fn explanation_fits_the_terminal() {
        for width in [60, 80, 120] {
            let text = explained().render(width);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
        }
        let text = explained().render(80);
        let continued =
            "  console=ttyS0 reboot=t panic=-1 root=/dev/vda ro init=/sbin/init \\\n    microbench.nonce=<nonce>\n";
        assert!(text.contains(continued), "{text}");
        assert!(text.contains("  -append '<kernel command line>'\n"), "{text}");
        assert_eq!(text.matches("microbench.nonce").count(), 1, "{text}");
    }

    #[test]
    fn string_of_a_request_stays_on_one_line() {
        let parts = unquoted_parts("PUT /boot {\"path\": \"<folder of the VM>/a\", \"b\": 1}");
        assert_eq!(parts, ["PUT", "/boot", "{\"path\":", "\"<folder of the VM>/a\",", "\"b\":", "1}"]);
    }

    #[test]
    fn value_of_a_built_in_engine_names_the_engine_instead_of_its_file() {
        let text = explained().render(80);
        assert!(text.contains("built-in engine     default of qemu-microvm\n"), "{text}");
        assert!(
            text.contains("engines/own.toml:7  the engine's default\n") && !text.contains("runner/study"),
            "{text}"
        );
    }

    #[test]
    fn an_option_and_its_value_share_a_line() {
        let argv = ["qemu", "-smp", "1", "-nodefaults", "-append", "a b"].map(String::from);
        let lines: Vec<String> = group_options(&argv).iter().map(|line| line.join(" ")).collect();
        assert_eq!(lines, ["qemu", "-smp 1", "-nodefaults", "-append 'a b'"]);
    }
}

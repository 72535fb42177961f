//! The way in: a study to begin with, what a code means, one cell explained, completions and manual pages.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory as _;
use microbench::catalog;
use microbench::error::explain as codes;
use microbench_formats::code::Code;
use microbench_measure::artifacts::project::{Project, read_text};
use microbench_measure::artifacts::{built_in, image};
use microbench_measure::terminal::output;
use microbench_measure::{out, outln};
use microbench_study::engine::context::{SettingFile, setting_files};
use microbench_study::engine::description::Engine;
use microbench_study::engine::guest_settings::GuestSettings;
use microbench_study::engine::machine;
use microbench_study::manifest::nearest::suggest;
use microbench_study::manifest::template::{ManifestTemplate, copy_with_name};
use microbench_study::manifest::{self, BUILT_IN, BuiltIn, schema};
use microbench_study::plan::explain::{self, ExplainInputs, Explanation, Overridden};
use serde::Deserialize;

use super::arguments::{Cli, NewArguments, StudyArguments};
use super::runs::{Loaded, load};

/// File name of the schema, in experiments/ or beside a manifest.
const SCHEMA: &str = "microbench.schema.json";

/// Metrics where none are named.
const METRICS: &[&str] = &["kernel_boot_time", "webservice_startup_time", "hashing_time", "shutdown_time"];

/// Writes a manifest to begin with, which is right by the reader before it is written, and says what to do next.
pub(super) fn new(arguments: &NewArguments) -> anyhow::Result<ExitCode> {
    let Some(name) = arguments.name.as_deref().filter(|_| !arguments.list) else { return shipped() };
    let here = std::env::current_dir().context("no working directory")?;
    let out = match (&arguments.out, Project::containing(&here)) {
        (Some(out), _) => out.clone(),
        (None, Some(project)) => project.root().join("experiments").join(format!("{name}.toml")),
        (None, None) => PathBuf::from(format!("{name}.toml")),
    };
    let shown = out.strip_prefix(&here).unwrap_or(&out).display().to_string();
    if out.exists() {
        return Err(exists(&shown).into());
    }
    let project = Project::find(arguments.project.as_deref(), &out)?;
    let whole = std::path::absolute(&out).context("no working directory")?;
    let folder = whole.parent().unwrap_or(Path::new("/")).to_path_buf();
    let kept = project.root().join("experiments").join(SCHEMA);
    let beside = !kept.is_file();
    let schema = match (beside, std::path::absolute(&kept)) {
        (false, Ok(kept)) if folder.starts_with(project.root()) => relative(&folder, &kept).display().to_string(),
        (false, Ok(kept)) => format!("file://{}", kept.display()),
        _ => SCHEMA.to_owned(),
    };
    let engines = catalog::engines(&out)?;
    let known = catalog::catalog(&engines, &project);
    let text = match &arguments.from {
        Some(from) => {
            let original = original(from, &project)?;
            files_of(&original, &folder)?;
            copy_with_name(&original.text, name, &schema)
        }
        None => {
            let all: Vec<&Engine> = engines.values().collect();
            let kernel = known.kernels.iter().find(|name| name.starts_with("microvm")).or(known.kernels.first());
            let rootfs = known.rootfs.iter().find(|name| *name == "minimal").or(known.rootfs.first());
            ManifestTemplate {
                name,
                engines: chosen_engines(&arguments.engines, &all)?,
                metrics: chosen_metrics(&arguments.metrics)?,
                kernel: kernel.map_or("", String::as_str),
                rootfs: rootfs.map_or("", String::as_str),
                schema: &schema,
                file: &shown,
            }
            .render()
        }
    };
    manifest::parse(&out.display().to_string(), &text, &known)?;
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let made = fs::File::options().write(true).create_new(true).open(&out);
    match made.and_then(|mut file| file.write_all(text.as_bytes())) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(exists(&shown).into()),
        written => written.with_context(|| format!("cannot write {shown}"))?,
    }
    let mut said = format!("{shown}\n");
    let schema = folder.join(SCHEMA);
    if beside && !schema.exists() {
        fs::write(&schema, schema::to_text(&catalog::built_in()?))
            .with_context(|| format!("cannot write {}", schema.display()))?;
        let schema = schema.strip_prefix(&here).unwrap_or(&schema).display();
        said.push_str(&format!("{schema}   (the JSON Schema, for editors)\n"));
    }
    outln!(
        "{said}\nnext:\n  microbench plan {shown}      what would run; starts nothing\n  microbench run {shown}       measure"
    )?;
    Ok(ExitCode::SUCCESS)
}

fn exists(shown: &str) -> microbench_formats::code::Coded {
    Code::FileExists
        .says(format!("{shown} is there already, and nothing is written over it: give another name or --out"))
}

/// A study to begin with.
struct Original {
    text: String,
    /// True when it is a shipped one, whose files lie in no folder.
    shipped: bool,
}

/// The study that `--from` names: one of the project's experiments/, a path, or a shipped one.
fn original(from: &str, project: &Project) -> anyhow::Result<Original> {
    let own = project.root().join("experiments").join(format!("{from}.toml"));
    for path in [own.as_path(), Path::new(from)] {
        if path.is_file() {
            return Ok(Original { text: read_text(path)?, shipped: false });
        }
    }
    let text = built_in::find_text(&format!("experiments/{from}.toml")).with_context(|| {
        let help = suggest(from, "shipped studies", built_in::study_names());
        Code::UnknownName.says(format!("there is no study `{}`, and no such file; {help}", from.escape_debug()))
    })?;
    Ok(Original { text: text.to_owned(), shipped: true })
}

/// Writes the files that a shipped study names, such as published values, below `folder`. A file that is there already is kept.
fn files_of(original: &Original, folder: &Path) -> anyhow::Result<()> {
    let named = |(path, _): &(&str, &str)| original.shipped && original.text.contains(&format!("\"{path}\""));
    for (path, text) in built_in::study_files().filter(named) {
        let path = folder.join(path);
        if !path.exists() {
            let context = || format!("cannot write {}", path.display());
            fs::create_dir_all(path.parent().unwrap_or(folder)).with_context(context)?;
            fs::write(&path, text).with_context(context)?;
        }
    }
    Ok(())
}

/// Prints the shipped studies with their titles.
fn shipped() -> anyhow::Result<ExitCode> {
    /// The part of a manifest that names it.
    #[derive(Deserialize)]
    struct Titled {
        study: Title,
    }
    #[derive(Deserialize)]
    struct Title {
        title: String,
    }
    let names = built_in::study_names();
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
    for name in names {
        let text = built_in::find_text(&format!("experiments/{name}.toml")).unwrap_or_default();
        let titled: Titled = toml::from_str(text).with_context(|| format!("the shipped study {name} is wrong"))?;
        outln!("{name:width$}  {}", titled.study.title)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The engines by name, by short name, or by the beginning of a name that only one has; where none are named, the VMMs whose guests any
/// kernel serves.
fn chosen_engines<'a>(names: &[String], all: &[&'a Engine]) -> anyhow::Result<Vec<&'a Engine>> {
    if names.is_empty() {
        let mut chosen = Vec::new();
        for engine in all.iter().filter(|engine| !engine.guest.shares_kernel()) {
            let defaults = engine.settings.iter().map(|(name, setting)| (name.clone(), setting.default.clone()));
            if machine::needed_option(engine, &defaults.collect())?.is_none() {
                chosen.push(*engine);
            }
        }
        return Ok(chosen);
    }
    let choose = |name: &String| {
        let exact = all.iter().find(|engine| engine.name == *name || engine.short.as_ref() == Some(name));
        let begun: Vec<_> = all.iter().filter(|engine| engine.name.starts_with(name.as_str())).collect();
        let found = exact.or(if begun.len() == 1 { begun.first().copied() } else { None });
        found.copied().with_context(|| {
            let help = suggest(name, "engines", all.iter().map(|engine| engine.name.as_str()));
            Code::UnknownName.says(format!("there is no engine `{}`; {help}", name.escape_debug()))
        })
    };
    names.iter().map(choose).collect()
}

fn chosen_metrics(names: &[String]) -> anyhow::Result<Vec<&'static BuiltIn>> {
    let names: Vec<&str> = if names.is_empty() { METRICS.to_vec() } else { names.iter().map(String::as_str).collect() };
    let choose = |name: &&str| {
        BUILT_IN.iter().find(|metric| metric.name == *name).with_context(|| {
            let help = suggest(name, "built-in metrics", BUILT_IN.iter().map(|metric| metric.name));
            Code::UnknownName.says(format!("there is no built-in metric `{}`; {help}", name.escape_debug()))
        })
    };
    names.iter().map(choose).collect()
}

/// The path of `to` from the folder `from`; both are absolute.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let (from, to): (Vec<_>, Vec<_>) = (from.components().collect(), to.components().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n(Component::ParentDir, from.len() - common);
    up.chain(to[common..].iter().copied()).collect()
}

/// Prints one cell of a study with what set each value.
pub(super) fn explain_cell(study: &StudyArguments, cell: &str, json: bool) -> anyhow::Result<ExitCode> {
    let manifest = study.manifest.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
    let Loaded { study: read, plan, engines, project, folder } = load(study)?;
    let explanation = match explain::find_cell(&plan, &read, cell, &manifest)? {
        Err(not_run) => Explanation::NotRun(not_run),
        Ok(cell) => {
            let engine = engines.iter().find(|engine| engine.name == cell.engine);
            let engine = engine.with_context(|| format!("the study has no engine `{}`", cell.engine))?;
            let rootfs = GuestSettings::from_cell(cell)?.rootfs;
            let image::Rootfs { init, agent, .. } = image::describe(&project.rootfs(), &rootfs)?;
            let files = setting_files(engine, &cell.settings, |_, value| {
                let path = folder.join(value);
                Ok(SettingFile { path: path.display().to_string(), text: read_text(&path)? })
            })?;
            let inputs = ExplainInputs { manifest, init, agent, files };
            let overridden = Overridden { trials: study.trials.is_some(), profile: study.profile.as_deref() };
            Explanation::Runs(Box::new(explain::explain(&plan, &read, engine, cell, &inputs, overridden)?))
        }
    };
    if json {
        outln!("{}", serde_json::to_string_pretty(&explanation)?)?;
    } else {
        out!("{}", explanation.render())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what the codes mean; all of them without one, the program's exit codes for `exit-codes`.
pub(super) fn explain_codes(names: &[String], json: bool) -> anyhow::Result<ExitCode> {
    let entries = codes::all()?;
    if names.iter().any(|name| name == "exit-codes") {
        if json {
            outln!("{}", serde_json::to_string_pretty(microbench_formats::exit::CODES)?)?;
        } else {
            out!("{}", codes::exit_codes())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = names.iter().map(|name| codes::find(&entries, name)).collect::<anyhow::Result<Vec<_>>>()?;
    match (json, names.is_empty()) {
        (true, true) => outln!("{}", serde_json::to_string_pretty(&entries)?)?,
        (true, false) => outln!("{}", serde_json::to_string_pretty(&chosen)?)?,
        (false, true) => out!("{}", codes::list(&entries))?,
        (false, false) => out!("{}", chosen.iter().map(|entry| entry.text()).collect::<Vec<_>>().join("\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the completions of a shell: of what a user may call, not of what the program calls itself.
pub(super) fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let whole = Cli::command();
    let shown = whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    let about = whole.get_about().cloned().unwrap_or_default();
    let mut command =
        clap::Command::new("microbench").version(env!("CARGO_PKG_VERSION")).about(about).subcommands(shown);
    // It panics where it cannot write, so it writes to memory.
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, "microbench", &mut text);
    output::write_with(|out| out.write_all(&text))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes a manual page for the program and each subcommand into the folder, or prints the program's own.
pub(super) fn manual(out: Option<&Path>) -> anyhow::Result<ExitCode> {
    let command = Cli::command();
    let Some(folder) = out else {
        output::write_with(|mut out| clap_mangen::Man::new(command).render(&mut out))?;
        return Ok(ExitCode::SUCCESS);
    };
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    clap_mangen::generate_to(command, folder).with_context(|| format!("cannot write into {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_goes_up_and_down() {
        for (from, to, path) in [
            ("/p/experiments", "/p/experiments/s.json", "s.json"),
            ("/p/experiments/mine", "/p/experiments/s.json", "../s.json"),
            ("/p", "/p/experiments/s.json", "experiments/s.json"),
            ("/a/b", "/c/s.json", "../../c/s.json"),
        ] {
            assert_eq!(relative(Path::new(from), Path::new(to)), Path::new(path));
        }
    }
}

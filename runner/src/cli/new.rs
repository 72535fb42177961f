//! `new`: creates the manifest of a new study.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use microbench::catalog;
use microbench_formats::code::Code;
use microbench_measure::artifacts::built_in;
use microbench_measure::artifacts::project::{Project, read_text};
use microbench_measure::outln;
use microbench_measure::terminal::screen::Stream;
use microbench_study::engine::description::Engine;
use microbench_study::engine::machine;
use microbench_study::manifest::nearest::suggest;
use microbench_study::manifest::template::{ManifestTemplate, copy_with_name};
use microbench_study::manifest::{self, BUILT_IN, BuiltIn, schema};
use serde::Deserialize;

use super::arguments::NewArguments;

/// File name of the JSON Schema, in experiments/ or next to a manifest.
const SCHEMA: &str = "microbench.schema.json";

/// Default of `--metrics`.
const METRICS: &[&str] = &["kernel_boot_time", "webservice_startup_time", "hashing_time", "shutdown_time"];

/// Creates a manifest and prints the next commands. The manifest is validated before it is written.
pub(super) fn new(arguments: &NewArguments) -> anyhow::Result<ExitCode> {
    let Some(name) = arguments.name.as_deref().filter(|_| !arguments.list) else { return list_built_in() };
    let here = std::env::current_dir().context("no working directory")?;
    let out = match (&arguments.out, Project::containing(&here)) {
        (Some(out), _) => out.clone(),
        (None, Some(project)) => project.root().join("experiments").join(format!("{name}.toml")),
        (None, None) => PathBuf::from(format!("{name}.toml")),
    };
    let shown = out.strip_prefix(&here).unwrap_or(&out).display().to_string();
    if out.exists() {
        return Err(file_exists(&shown).into());
    }
    let project = Project::find(arguments.project.as_deref(), &out)?;
    let path = std::path::absolute(&out).context("no working directory")?;
    let folder = path.parent().unwrap_or(Path::new("/")).to_path_buf();
    let existing = project.root().join("experiments").join(SCHEMA);
    let create_schema = !existing.is_file();
    let schema = match (create_schema, std::path::absolute(&existing)) {
        (false, Ok(path)) if folder.starts_with(project.root()) => relative(&folder, &path).display().to_string(),
        (false, Ok(path)) => format!("file://{}", path.display()),
        _ => SCHEMA.to_owned(),
    };
    let engines = catalog::engines(&out)?;
    let known = catalog::catalog(&engines, &project);
    let text = match &arguments.from {
        Some(from) => {
            let original = find_original(from, &project)?;
            write_study_files(&original, &folder)?;
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
    if let Err(errors) = manifest::parse(&out.display().to_string(), &text, &known) {
        // The file does not exist, so a place in it would be useless.
        if let Some(error) = errors.errors().iter().find(|error| error.code == Code::BadName) {
            let parts: Vec<&str> = std::iter::once(&error.message).chain(&error.help).map(String::as_str).collect();
            bail!(Code::BadName.with_message(parts.join("; ")));
        }
        return Err(errors.into());
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let made = fs::File::options().write(true).create_new(true).open(&out);
    match made.and_then(|mut file| file.write_all(text.as_bytes())) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(file_exists(&shown).into()),
        written => written.with_context(|| format!("cannot write {shown}"))?,
    }
    let mut created = format!("{shown}\n");
    let schema = folder.join(SCHEMA);
    if create_schema && !schema.exists() {
        fs::write(&schema, schema::to_text(&catalog::built_in()?))
            .with_context(|| format!("cannot write {}", schema.display()))?;
        let schema = schema.strip_prefix(&here).unwrap_or(&schema).display();
        created.push_str(&format!("{schema}   (JSON Schema for editors)\n"));
    }
    outln!(
        "{created}\nnext:\n  microbench plan {shown}      show what would run\n  microbench run {shown}       run the study"
    )?;
    Ok(ExitCode::SUCCESS)
}

fn file_exists(shown: &str) -> microbench_formats::code::CodedError {
    Code::FileExists.with_message(format!("{shown} exists and is not overwritten: pass another name or --out"))
}

/// The study that a new one is copied from.
struct Original {
    text: String,
    /// Whether it is a built-in study, whose files are part of the program.
    built_in: bool,
}

/// The study that `--from` names: a study of the project, a path, or a built-in study.
fn find_original(from: &str, project: &Project) -> anyhow::Result<Original> {
    let own = project.root().join("experiments").join(format!("{from}.toml"));
    for path in [own.as_path(), Path::new(from)] {
        if path.is_file() {
            return Ok(Original { text: read_text(path)?, built_in: false });
        }
    }
    let text = built_in::find_text(&format!("experiments/{from}.toml")).with_context(|| {
        let help = suggest(from, "built-in studies", built_in::study_names());
        Code::UnknownName
            .with_message(format!("study `{}` not found, and no such file exists; {help}", from.escape_debug()))
    })?;
    Ok(Original { text: text.to_owned(), built_in: true })
}

/// Writes the files that a built-in study refers to, such as published values, below `folder`. Existing files are kept.
fn write_study_files(original: &Original, folder: &Path) -> anyhow::Result<()> {
    let named = |(path, _): &(&str, &str)| original.built_in && original.text.contains(&format!("\"{path}\""));
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

/// Prints the built-in studies with their titles.
fn list_built_in() -> anyhow::Result<ExitCode> {
    /// The part of a manifest with the title.
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
        let titled: Titled = toml::from_str(text).with_context(|| format!("the built-in study {name} is wrong"))?;
        outln!("{}", Stream::Out.wrap(&format!("{name:width$}  {}", titled.study.title), width + 2))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The engines with these names: full names, short names, or unambiguous starts of names. Without names, all VMMs that
/// any kernel supports.
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
        let matching: Vec<_> = all.iter().filter(|engine| engine.name.starts_with(name.as_str())).collect();
        let found = exact.or(if matching.len() == 1 { matching.first().copied() } else { None });
        found.copied().with_context(|| {
            let help = suggest(name, "engines", all.iter().map(|engine| engine.name.as_str()));
            Code::UnknownName.with_message(format!("unknown engine `{}`; {help}", name.escape_debug()))
        })
    };
    names.iter().map(choose).collect()
}

fn chosen_metrics(names: &[String]) -> anyhow::Result<Vec<&'static BuiltIn>> {
    let names: Vec<&str> = if names.is_empty() { METRICS.to_vec() } else { names.iter().map(String::as_str).collect() };
    let choose = |name: &&str| {
        BUILT_IN.iter().find(|metric| metric.name == *name).with_context(|| {
            let help = suggest(name, "built-in metrics", BUILT_IN.iter().map(|metric| metric.name));
            Code::UnknownName.with_message(format!("unknown built-in metric `{}`; {help}", name.escape_debug()))
        })
    };
    names.iter().map(choose).collect()
}

/// The relative path from the folder `from` to `to`; both are absolute.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let (from, to): (Vec<_>, Vec<_>) = (from.components().collect(), to.components().collect());
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n(Component::ParentDir, from.len() - common);
    up.chain(to[common..].iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_leaves_and_enters_folders() {
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

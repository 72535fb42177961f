//! Programs: VMMs, container runtimes, the emulator, strace; described in runner/measure/programs/.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microbench_formats::code::Code;
use microbench_study::optional_text;
use serde::{Deserialize, Serialize};

use super::cache::{self, Cache, Inputs, Note};
use super::source::{self, Source, SourceKind};
use super::{Artifact, Kind};
use crate::artifacts::tool::Tool;
use crate::requirement::{MissingRequirement, MissingRequirements};
use crate::sys::program::find_program;
use crate::terminal::progress::Step;
use crate::trust;

const DESCRIPTIONS: [&str; 8] = [
    include_str!("../../programs/cloud-hypervisor.toml"),
    include_str!("../../programs/crosvm.toml"),
    include_str!("../../programs/crun.toml"),
    include_str!("../../programs/firecracker.toml"),
    include_str!("../../programs/kvmtool.toml"),
    include_str!("../../programs/qemu.toml"),
    include_str!("../../programs/runc.toml"),
    include_str!("../../programs/strace.toml"),
];

/// Name of the program that emulates a host.
pub const EMULATOR: &str = "qemu";

/// Description of a program: runner/measure/programs/NAME.toml.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// The value of an engine's `program`.
    pub name: String,
    /// Version that the sources provide; empty for a program of the distribution.
    #[serde(default)]
    pub version: String,
    /// The argument that makes the program print its version; `None` for `--version`.
    #[serde(default, deserialize_with = "optional_text::deserialize", skip_serializing_if = "Option::is_none")]
    pub version_argument: Option<String>,
    /// Its files; the first one is the program.
    pub files: Vec<ProgramFile>,
    /// Sources in order of preference.
    pub sources: Vec<Source>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramFile {
    pub name: String,
    /// The expected SHA-256 in hex; `None` if the version is not pinned.
    #[serde(default, deserialize_with = "optional_text::deserialize", skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// The built-in descriptions of programs by name.
///
/// # Errors
/// If a built-in description is invalid.
pub fn descriptions() -> anyhow::Result<BTreeMap<String, Program>> {
    DESCRIPTIONS
        .iter()
        .map(|text| {
            let program: Program = toml::from_str(text).context("a built-in description of a program is invalid")?;
            Ok((program.name.clone(), program))
        })
        .collect()
}

/// Provides the program `name` of an engine. A program with a description is fetched if necessary; any other `name` is
/// looked up on `PATH`, or is a path.
///
/// # Errors
/// [`MissingRequirements`], with its fix, if the program is not installed; [`Code::NoEngineProgram`] if it cannot be
/// fetched.
pub fn provide(name: &str, cache: &Cache) -> anyhow::Result<Artifact> {
    MissingRequirements::check(missing_requirement(name)?.into_iter().collect())?;
    match descriptions()?.get(name) {
        Some(program) => fetch(program, cache),
        None => {
            let path = find_trusted(name)?;
            Artifact::from_file(Kind::Program, name, "", &path.display().to_string(), &path)
        }
    }
}

/// Whether the program is installed or in `cache`, so that [`provide`] fetches nothing.
///
/// # Errors
/// If a built-in description is invalid.
pub fn is_available(name: &str, cache: &Cache) -> anyhow::Result<bool> {
    let programs = descriptions()?;
    let fetched = |program: &&Program| program.sources.iter().all(|source| source.kind != SourceKind::System);
    match programs.get(name).filter(fetched) {
        Some(program) => Ok(cache.has(&title(program)?)),
        None => Ok(missing_requirement(name)?.is_none()),
    }
}

/// The path of an installed program, which is executed: it must not be foreign.
fn find_trusted(name: &str) -> anyhow::Result<PathBuf> {
    let path = find_program(name)?;
    trust::check("the program", &path)?;
    Ok(path)
}

fn entry_name(program: &Program) -> String {
    format!("programs/{}-{}", program.name, program.version)
}

/// The title of the program's entry in the cache.
///
/// # Errors
/// If the description cannot be written as TOML.
pub fn title(program: &Program) -> anyhow::Result<String> {
    Ok(inputs(program)?.title(&entry_name(program)))
}

/// Everything that the files of a fetched program depend on.
fn inputs(program: &Program) -> anyhow::Result<Inputs> {
    Ok(Inputs::default().add_text("files", &toml::to_string(program)?))
}

fn fetch(program: &Program, cache: &Cache) -> anyhow::Result<Artifact> {
    let main = program
        .files
        .first()
        .with_context(|| format!("the description of the program {} lists no file", program.name))?;
    if program.sources.iter().any(|source| source.kind == SourceKind::System) {
        let path = find_trusted(&main.name)?;
        let argument = program.version_argument.as_deref().unwrap_or("--version");
        let version = read_version(&path, argument)?;
        return Artifact::from_file(Kind::Program, &program.name, &version, &origin_of(&path), &path);
    }
    let (entry, note) = cache.entry(&entry_name(program), &inputs(program)?, |work| {
        let step = Step::begin(format!("program {} {}", program.name, program.version));
        let mut reasons = Vec::new();
        for source in &program.sources {
            match from_source(program, source, work, &step) {
                Ok(origin) => {
                    step.done(&format!("fetched from {origin}, SHA-256 verified"));
                    return Ok(Note::new(&program.version, origin));
                }
                Err(error) => reasons.push(format!("{error:#}")),
            }
        }
        bail!(Code::NoEngineProgram.with_message(format!(
            "cannot fetch {} {}: all of its sources failed:\n{}",
            program.name,
            program.version,
            reasons.join("\n")
        )))
    })?;
    // The others are programs that it starts, such as a jailer.
    note.check_all_but(&main.name, &entry)?;
    Artifact::from_entry(Kind::Program, &program.name, &note, &entry, &main.name)
}

fn from_source(program: &Program, source: &Source, work: &Path, step: &Step) -> anyhow::Result<String> {
    let origin = source::fetch_members(source, work, step)?;
    for file in &program.files {
        let path = work.join(&file.name);
        if let Some(sha256) = &file.sha256 {
            cache::verify(&path, sha256).with_context(|| format!("{origin} has unexpected content"))?;
        }
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    Ok(origin)
}

/// The version that a program prints: the first word that starts with a digit in the first line of its output.
fn read_version(path: &Path, argument: &str) -> anyhow::Result<String> {
    let output = Tool::new(path).arg(argument).clean_environment().run(None)?;
    Ok(output
        .lines()
        .next()
        .and_then(|line| line.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit())))
        .unwrap_or_default()
        .to_owned())
}

/// The origin of an installed file: the Debian package that contains it, or its path.
fn origin_of(path: &Path) -> String {
    let package = Tool::new("dpkg-query").arg("-S").arg(path).run(None).ok().and_then(|output| {
        let name = output.split(':').next()?.to_owned();
        let version = Tool::new("dpkg-query").args(["-W", "-f", "${Version}", &name]).run(None).ok()?;
        Some(format!("Debian {name} {version}"))
    });
    package.unwrap_or_else(|| path.display().to_string())
}

/// The missing requirement if the program `name` is not installed; `None` if it is installed or can be fetched.
///
/// # Errors
/// If a built-in description is invalid.
pub fn missing_requirement(name: &str) -> anyhow::Result<Option<MissingRequirement>> {
    let programs = descriptions()?;
    let (file, what, fix) = match programs.get(name) {
        Some(program) => {
            let source = program.sources.iter().find(|source| source.kind == SourceKind::System);
            let (Some(file), Some(source)) = (program.files.first(), source) else { return Ok(None) };
            (file.name.as_str(), format!("{}: not installed", file.name), source.remedy.clone())
        }
        None => {
            let what = format!("the engine's program `{name}`: not installed");
            (name, what, format!("install it and make sure that `{name}` is on PATH"))
        }
    };
    Ok(find_program(file).is_err().then_some(MissingRequirement { code: Code::NoProgram, what, fix }))
}

/// The files that a program needs to start, without the program itself. These are shared libraries and the dynamic
/// loader (from `ldd`), and the existing data files of its description.
///
/// # Errors
/// If `ldd` fails or a library is missing.
pub fn runtime_files(program: &Artifact) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = libraries(&program.path)?;
    if let Some(description) = descriptions()?.get(&program.name) {
        let data = description.sources.iter().flat_map(|source| &source.data);
        files.extend(data.filter(|path| path.is_file()).cloned());
    }
    Ok(files)
}

/// The shared libraries of a program and the dynamic loader; empty for a static program.
///
/// # Errors
/// If `ldd` fails or a library is missing.
pub fn libraries(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    // `ldd` executes the program's own loader: no secrets in its environment.
    match Tool::new("ldd").arg(path).clean_environment().run(None) {
        Ok(output) => parse_ldd(&output).with_context(|| format!("a shared library of {} is missing", path.display())),
        // `ldd` fails with this message for a static program.
        Err(error) if error.to_string().contains("not a dynamic executable") => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn parse_ldd(output: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for line in output.lines().map(str::trim) {
        if line.contains("not found") {
            bail!("ldd: {line}");
        }
        let path = line.split(" => ").last().and_then(|rest| rest.split(" (").next()).unwrap_or_default();
        if path.starts_with('/') {
            files.push(PathBuf::from(path));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_output_is_parsed_into_libraries_and_the_loader() {
        let output = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let files = parse_ldd(output).unwrap();
        assert_eq!(files, ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from));
        assert!(parse_ldd("\tlibx.so => not found\n").is_err());
        assert!(parse_ldd("\tstatically linked\n").unwrap().is_empty());
    }

    #[test]
    fn every_file_of_a_program_that_is_fetched_from_a_url_has_a_digest() {
        for program in descriptions().unwrap().values() {
            let from_url = program.sources.iter().any(|source| source.kind == SourceKind::Url);
            assert!(!from_url || program.files.iter().all(|file| file.sha256.is_some()), "{}", program.name);
        }
    }

    #[test]
    fn built_in_descriptions_are_valid() {
        let names = ["cloud-hypervisor", "crosvm", "crun", "firecracker", "kvmtool", "qemu", "runc", "strace"];
        assert_eq!(descriptions().unwrap().keys().collect::<Vec<_>>(), names);
    }
}

//! Programs: the VMMs and the emulator, described in runner/measure/programs/.

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
use crate::requirement::{Lack, Lacking};
use crate::sys::program::find_program;
use crate::terminal::progress::Step;

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

/// The program that emulates a host.
pub const EMULATOR: &str = "qemu";

/// runner/measure/programs/<name>.toml.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// What an engine's `program` names.
    pub name: String,
    /// Version that the sources give; empty for the distribution's.
    #[serde(default)]
    pub version: String,
    /// The argument at which it prints its version; `None` for `--version`.
    #[serde(default, deserialize_with = "optional_text::deserialize", skip_serializing_if = "Option::is_none")]
    pub version_argument: Option<String>,
    /// Its files, the program first.
    pub files: Vec<ProgramFile>,
    /// Sources in order of preference.
    pub sources: Vec<Source>,
}

/// One file of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramFile {
    /// Its name.
    pub name: String,
    /// Its SHA-256, where it can be pinned.
    #[serde(default, deserialize_with = "optional_text::deserialize", skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Names of the programs that are described.
///
/// # Errors
/// When a description is wrong.
pub fn described() -> anyhow::Result<BTreeMap<String, Program>> {
    DESCRIPTIONS
        .iter()
        .map(|text| {
            let program: Program = toml::from_str(text).context("a built-in program description is wrong")?;
            Ok((program.name.clone(), program))
        })
        .collect()
}

/// The program that an engine names: a described one (fetched when need be), or a path beside the engine's file.
///
/// # Errors
/// When it cannot be had; the message says what installs it.
pub fn provide(name: &str, cache: &Cache) -> anyhow::Result<Artifact> {
    Lacking::unless_none(missing(name)?.into_iter().collect())?;
    match described()?.get(name) {
        Some(program) => fetch(program, cache),
        None => {
            let path = find_program(name)?;
            Artifact::of(Kind::Program, name, "", &path.display().to_string(), &path)
        }
    }
}

/// Whether the program is there, so that [`provide`] fetches nothing.
///
/// # Errors
/// When a built-in description is wrong.
pub fn is_had(name: &str, cache: &Cache) -> anyhow::Result<bool> {
    let programs = described()?;
    let fetched = |program: &&Program| program.sources.iter().all(|source| source.kind != SourceKind::System);
    match programs.get(name).filter(fetched) {
        Some(program) => Ok(cache.has(&entry_name(program), &inputs(program)?)),
        None => Ok(missing(name)?.is_none()),
    }
}

fn entry_name(program: &Program) -> String {
    format!("programs/{}-{}", program.name, program.version)
}

/// Everything that decides a fetched program's files.
fn inputs(program: &Program) -> anyhow::Result<Inputs> {
    Ok(Inputs::default().text("files", &toml::to_string(program)?))
}

fn fetch(program: &Program, cache: &Cache) -> anyhow::Result<Artifact> {
    let main = program.files.first().with_context(|| format!("the program {} lists no file", program.name))?;
    if program.sources.iter().any(|source| source.kind == SourceKind::System) {
        let path = find_program(&main.name)?;
        let argument = program.version_argument.as_deref().unwrap_or("--version");
        let version = first_line_version(&path, argument)?;
        return Artifact::of(Kind::Program, &program.name, &version, &owner(&path), &path);
    }
    let (entry, note) = cache.entry(&entry_name(program), &inputs(program)?, |work| {
        let step = Step::begin(format!("program {} {}", program.name, program.version));
        let mut reasons = Vec::new();
        for source in &program.sources {
            match from_source(program, source, work, &step) {
                Ok(origin) => {
                    step.done(&format!("fetched from {origin}, SHA-256 verified"));
                    return Ok(Note { version: program.version.clone(), origin });
                }
                Err(error) => reasons.push(format!("{error:#}")),
            }
        }
        bail!(Code::NoEngineProgram.says(format!(
            "{} {} cannot be had from any of its sources:\n{}",
            program.name,
            program.version,
            reasons.join("\n")
        )))
    })?;
    Artifact::of(Kind::Program, &program.name, &note.version, &note.origin, &entry.join(&main.name))
}

fn from_source(program: &Program, source: &Source, work: &Path, step: &Step) -> anyhow::Result<String> {
    let origin = source::members(source, work, step)?;
    for file in &program.files {
        let path = work.join(&file.name);
        if let Some(sha256) = &file.sha256 {
            cache::verify(&path, sha256).with_context(|| format!("{origin} is not what it should be"))?;
        }
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    Ok(origin)
}

/// Version that a program prints: the first word of its first line that begins with a digit.
fn first_line_version(path: &Path, argument: &str) -> anyhow::Result<String> {
    let output = Tool::new(path).arg(argument).foreign().run(None)?;
    Ok(output
        .lines()
        .next()
        .and_then(|line| line.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit())))
        .unwrap_or_default()
        .to_owned())
}

/// The package that installed a file, or its path.
fn owner(path: &Path) -> String {
    let package = Tool::new("dpkg-query").arg("-S").arg(path).run(None).ok().and_then(|output| {
        let name = output.split(':').next()?.to_owned();
        let version = Tool::new("dpkg-query").args(["-W", "-f", "${Version}", &name]).run(None).ok()?;
        Some(format!("Debian {name} {version}"))
    });
    package.unwrap_or_else(|| path.display().to_string())
}

/// What is said of an engine's program that this machine lacks, and what brings it; `None` when it has it, or would fetch it.
///
/// # Errors
/// When a built-in description is wrong.
pub fn missing(name: &str) -> anyhow::Result<Option<Lack>> {
    let programs = described()?;
    let (file, what, mend) = match programs.get(name) {
        Some(program) => {
            let source = program.sources.iter().find(|source| source.kind == SourceKind::System);
            let (Some(file), Some(source)) = (program.files.first(), source) else { return Ok(None) };
            (file.name.as_str(), format!("{}: not installed", file.name), source.remedy.clone())
        }
        None => {
            let what = format!("the engine's program `{name}`: not installed");
            (name, what, format!("install it, so that `{name}` is on PATH"))
        }
    };
    Ok(find_program(file).is_err().then_some(Lack { code: Code::NoProgram, what, mend }))
}

/// Everything that a program needs to start: its shared libraries and loader (by `ldd`), and the data files that its
/// description lists and that are there. The program itself is not among them.
///
/// # Errors
/// When `ldd` fails or a library is missing.
pub fn closure(program: &Artifact) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = libraries(&program.path)?;
    if let Some(described) = described()?.get(&program.name) {
        let data = described.sources.iter().flat_map(|source| &source.data);
        files.extend(data.filter(|path| path.is_file()).cloned());
    }
    Ok(files)
}

/// The shared libraries of a program, its loader included; none for a static one.
///
/// # Errors
/// When `ldd` fails or a library is missing.
pub fn libraries(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    // `ldd` executes the program's own loader.
    match Tool::new("ldd").arg(path).foreign().run(None) {
        Ok(output) => parse_ldd(&output).with_context(|| format!("{} lacks a library", path.display())),
        // What ldd says of a static program, with a failure.
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
    fn ldd_gives_libraries_and_the_loader() {
        let output = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                      \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let files = parse_ldd(output).unwrap();
        assert_eq!(files, ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from));
        assert!(parse_ldd("\tlibx.so => not found\n").is_err());
        assert!(parse_ldd("\tstatically linked\n").unwrap().is_empty());
    }

    #[test]
    fn the_descriptions_parse() {
        let names = ["cloud-hypervisor", "crosvm", "crun", "firecracker", "kvmtool", "qemu", "runc", "strace"];
        assert_eq!(described().unwrap().keys().collect::<Vec<_>>(), names);
    }
}

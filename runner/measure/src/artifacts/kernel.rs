//! Guest kernels: kernels/<name>/kernel.toml and a configuration fragment, built from a source package.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microbench_formats::code::Code;
use microbench_study::optional_text;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cache::{Cache, Inputs, Note};
use super::project::Descriptions;
use super::source::{self, Source, SourceKind};
use super::{Artifact, Kind};
use crate::artifacts::tool::Tool;
use crate::terminal::progress::Step;

/// Changes when the way of building does, so that old entries are not taken for new ones.
const RECIPE: &str = "1";
/// Name of the image in its entry.
const IMAGE: &str = "vmlinux";

/// `kernels/NAME/kernel.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// One sentence.
    pub description: String,
    /// Version series, as `6.1`.
    pub series: String,
    /// Fragment beside this file: what `allnoconfig` gets on top; none for an image that is not built.
    #[serde(default, deserialize_with = "optional_text::deserialize", skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Fragment that comes before `config`, which has the last word: another kernel's, to say the differences alone.
    #[serde(default, deserialize_with = "optional_text::deserialize", skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Patches beside this file, in order.
    #[serde(default)]
    pub patches: Vec<String>,
    /// Sources in order of preference.
    pub sources: Vec<Source>,
}

impl Kernel {
    /// Fragments of its configuration, in order.
    fn fragments(&self) -> impl Iterator<Item = &String> {
        self.base.iter().chain(&self.config)
    }
}

/// Files of a kernel, beside its description or in another kernel's folder.
#[derive(Clone, Copy, Debug)]
struct Files<'a> {
    kernels: &'a Descriptions,
    name: &'a str,
    cache: &'a Cache,
}

impl Files<'_> {
    fn text(&self, file: &str) -> anyhow::Result<String> {
        self.kernels.text(self.name, file)
    }

    fn path(&self, file: &str) -> anyhow::Result<PathBuf> {
        self.kernels.path(self.name, file, self.cache)
    }
}

/// The kernel `name` of `kernels`: from the cache, or built.
///
/// # Errors
/// When its description is wrong or the build fails.
pub fn provide(kernels: &Descriptions, name: &str, cache: &Cache) -> anyhow::Result<Artifact> {
    let kernel: Kernel = kernels.describe(name)?;
    let files = Files { kernels, name, cache };
    let inputs = inputs(&kernel, files)?;
    let (entry, note) = cache.entry(&entry_name(name), &inputs, |work| build(&kernel, files, work))?;
    Artifact::of(Kind::Kernel, name, &note.version, &note.origin, &entry.join(IMAGE))
}

/// Whether `cache` has the image that [`provide`] would build.
///
/// # Errors
/// When its description is wrong.
pub fn is_made(kernels: &Descriptions, name: &str, cache: &Cache) -> anyhow::Result<bool> {
    Ok(cache.has(&entry_name(name), &inputs(&kernels.describe(name)?, Files { kernels, name, cache })?))
}

fn entry_name(name: &str) -> String {
    format!("kernels/{name}")
}

/// Everything that decides an image's content.
fn inputs(kernel: &Kernel, files: Files<'_>) -> anyhow::Result<Inputs> {
    let mut inputs = Inputs::default().text("recipe", RECIPE).text("description", &toml::to_string(kernel)?);
    for file in kernel.patches.iter().chain(kernel.fragments()) {
        inputs = inputs.text(file, &files.text(file)?);
    }
    for source in kernel.sources.iter().filter(|source| source.kind == SourceKind::File) {
        let path = files.path(&source.file)?;
        let context = || format!("cannot read {}", path.display());
        inputs = inputs.text(&source.file, &super::cache::sha256_file(&path).with_context(context)?.0);
    }
    Ok(inputs)
}

/// True when the kernel `name` is built without `option`: its fragments do not say `option=y`. Of an image that is not built nobody
/// knows.
///
/// # Errors
/// When its description or a fragment cannot be read.
pub fn lacks(kernels: &Descriptions, name: &str, option: &str) -> anyhow::Result<bool> {
    let kernel: Kernel = kernels.describe(name)?;
    let mut fragments = kernel.fragments().peekable();
    if fragments.peek().is_none() {
        return Ok(false);
    }
    let wanted = format!("{option}=y");
    for file in fragments {
        if kernels.text(name, file)?.lines().any(|line| line.trim() == wanted) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn build(kernel: &Kernel, files: Files<'_>, work: &Path) -> anyhow::Result<Note> {
    let name = files.name;
    let step = Step::begin(format!("kernel {name}"));
    let mut reasons = Vec::new();
    for source in &kernel.sources {
        match build_from(kernel, source, files, work, &step) {
            Ok(note) => {
                step.done(&format!("from {}", note.origin));
                return Ok(note);
            }
            Err(error) => reasons.push(format!("{error:#}")),
        }
    }
    bail!(
        Code::NoKernel
            .says(format!("the kernel {name} cannot be built from any of its sources:\n{}", reasons.join("\n")))
    )
}

fn build_from(kernel: &Kernel, source: &Source, files: Files<'_>, work: &Path, step: &Step) -> anyhow::Result<Note> {
    if source.kind == SourceKind::File {
        let from = files.path(&source.file)?;
        fs::copy(&from, work.join(IMAGE)).with_context(|| format!("cannot copy {}", from.display()))?;
        return Ok(Note { version: source.version.clone(), origin: from.display().to_string() });
    }
    let scratch = tempfile::tempdir_in(work)?;
    let unpacked = scratch.path().join("source");
    fs::create_dir(&unpacked)?;
    let (version, origin) = match source.kind {
        SourceKind::Debian => {
            let (package, version) = source::debian(&source.package, source.suite.as_deref(), scratch.path(), step)?;
            let opened = scratch.path().join("package");
            Tool::new("dpkg-deb").arg("-x").arg(&package).arg(&opened).run(Some(step))?;
            step.detail("unpacking");
            let archive = opened.join(&source.file);
            Tool::new("tar").args(["--strip-components=1", "-xf"]).arg(&archive).arg("-C").arg(&unpacked).run(None)?;
            (version.clone(), format!("Debian {} {version}", source.package))
        }
        SourceKind::Url => {
            let archive = scratch.path().join("archive");
            source::download(&source.url, &archive, step)?;
            step.detail("unpacking");
            Tool::new("tar").args(["--strip-components=1", "-xf"]).arg(&archive).arg("-C").arg(&unpacked).run(None)?;
            (source.version.clone(), source.url.clone())
        }
        SourceKind::Pypi | SourceKind::System | SourceKind::File => {
            bail!("a kernel cannot come from a source of this kind")
        }
    };
    for patch in &kernel.patches {
        Tool::new("patch")
            .args(["-p1", "--forward", "--input"])
            .arg(files.path(patch)?)
            .folder(&unpacked)
            .run(Some(step))
            .with_context(|| format!("{patch} does not apply to {origin}"))?;
    }
    let objects = scratch.path().join("objects");
    fs::create_dir(&objects)?;
    let fragments = scratch.path().join("fragments");
    let mut text = String::new();
    for file in kernel.fragments() {
        text.push_str(&files.text(file)?);
    }
    fs::write(&fragments, text).context("cannot write the configuration's fragments")?;
    let make = || {
        // The same inputs give the same image: no time, user or host in it.
        Tool::new("make")
            .env("KBUILD_BUILD_TIMESTAMP", "1970-01-01 00:00:00 UTC")
            .env("KBUILD_BUILD_USER", "microbench")
            .env("KBUILD_BUILD_HOST", "microbench")
            .env("KBUILD_BUILD_VERSION", "1")
            .env("KCONFIG_ALLCONFIG", &fragments)
            .arg("-C")
            .arg(&unpacked)
            .arg(format!("O={}", objects.display()))
            .arg("ARCH=x86_64")
    };
    make().arg("allnoconfig").run(Some(step))?;
    let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    make().arg(format!("-j{jobs}")).arg("vmlinux").run(Some(step)).context("the kernel does not build")?;
    let image = work.join(IMAGE);
    Tool::new("strip").args(["--strip-debug", "-o"]).arg(&image).arg(objects.join("vmlinux")).run(Some(step))?;
    fs::copy(objects.join(".config"), work.join("config")).context("cannot keep the configuration")?;
    Ok(Note { version, origin })
}

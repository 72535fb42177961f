//! Guest kernels: builds kernels/NAME/kernel.toml and its configuration fragments from a source package.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microbench_formats::code::Code;
use microbench_formats::input;
use microbench_study::optional_text;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cache::{Cache, Inputs, Note};
use super::project::Descriptions;
use super::source::{self, Source, SourceKind};
use super::{Artifact, Kind};
use crate::artifacts::tool::Tool;
use crate::terminal::progress::Step;

/// Version of the build procedure, part of the cache key. Increment it when the procedure changes.
const RECIPE: &str = "1";
/// File name of the image in its cache entry.
const IMAGE: &str = "vmlinux";
/// File name of the complete configuration in the cache entry of a kernel that is built.
const CONFIG: &str = "config";

/// Description of a guest kernel: `kernels/NAME/kernel.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Description in one sentence.
    pub description: String,
    /// Version series, for example `6.1`.
    pub series: String,
    /// Configuration fragment in this folder, applied to `allnoconfig`. Missing for an image that is not built.
    #[serde(default, deserialize_with = "optional_text::deserialize", skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Configuration fragment that is applied before `config`: usually that of another kernel, so that `config`
    /// contains only the differences.
    #[serde(default, deserialize_with = "optional_text::deserialize", skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Patches in this folder, in the order in which they are applied.
    #[serde(default)]
    pub patches: Vec<String>,
    /// Sources in order of preference.
    pub sources: Vec<Source>,
}

impl Kernel {
    /// The configuration fragments, in order.
    fn fragments(&self) -> impl Iterator<Item = &String> {
        self.base.iter().chain(&self.config)
    }
}

/// Access to the files that a kernel's description names, in its folder or in another kernel's folder.
#[derive(Clone, Copy, Debug)]
struct Files<'a> {
    kernels: &'a Descriptions,
    name: &'a str,
    cache: &'a Cache,
}

impl Files<'_> {
    fn read_text(&self, file: &str) -> anyhow::Result<String> {
        self.kernels.read_text(self.name, file)
    }

    fn path(&self, file: &str) -> anyhow::Result<PathBuf> {
        self.kernels.path(self.name, file, self.cache)
    }
}

/// Provides the image of kernel `name` in `kernels`: from the cache, or built.
///
/// # Errors
/// If the description is invalid; [`Code::NoKernel`] if the build fails.
pub fn provide(kernels: &Descriptions, name: &str, cache: &Cache) -> anyhow::Result<Artifact> {
    let kernel: Kernel = kernels.describe(name)?;
    let files = Files { kernels, name, cache };
    let inputs = inputs(&kernel, files)?;
    let (entry, note) = cache.entry(&entry_name(name), &inputs, |work| build(&kernel, files, work))?;
    let artifact = Artifact::from_entry(Kind::Kernel, name, &note, &entry, IMAGE)?;
    // An image that is not built has no configuration.
    let config_hz = input::read_text(&entry.join(CONFIG)).ok().and_then(|config| config_hz(&config));
    Ok(Artifact { config_hz, ..artifact })
}

/// `CONFIG_HZ` of a kernel configuration.
fn config_hz(config: &str) -> Option<u32> {
    config.lines().find_map(|line| line.strip_prefix("CONFIG_HZ=")?.parse().ok())
}

/// Whether the image that [`provide`] would return is in `cache`.
///
/// # Errors
/// If the description is invalid.
pub fn is_cached(kernels: &Descriptions, name: &str, cache: &Cache) -> anyhow::Result<bool> {
    Ok(cache.has(&title(kernels, name, cache)?))
}

/// The title of the image's entry in the cache.
///
/// # Errors
/// If the description is invalid.
pub fn title(kernels: &Descriptions, name: &str, cache: &Cache) -> anyhow::Result<String> {
    let inputs = inputs(&kernels.describe(name)?, Files { kernels, name, cache })?;
    Ok(inputs.title(&entry_name(name)))
}

pub(super) fn entry_name(name: &str) -> String {
    format!("kernels/{name}")
}

/// Everything that the content of an image depends on.
fn inputs(kernel: &Kernel, files: Files<'_>) -> anyhow::Result<Inputs> {
    let mut inputs = Inputs::default().add_text("recipe", RECIPE).add_text("description", &toml::to_string(kernel)?);
    for file in kernel.patches.iter().chain(kernel.fragments()) {
        inputs = inputs.add_text(file, &files.read_text(file)?);
    }
    for source in kernel.sources.iter().filter(|source| source.kind == SourceKind::File) {
        let path = files.path(&source.file)?;
        let context = || format!("cannot read {}", path.display());
        inputs = inputs.add_text(&source.file, &super::cache::sha256_file(&path).with_context(context)?.0);
    }
    Ok(inputs)
}

/// Whether the kernel `name` is built without `option`: no fragment contains `option=y`. False for an image that is not
/// built, whose configuration is unknown.
///
/// # Errors
/// If the description or a fragment cannot be read.
pub fn is_built_without(kernels: &Descriptions, name: &str, option: &str) -> anyhow::Result<bool> {
    let kernel: Kernel = kernels.describe(name)?;
    let mut fragments = kernel.fragments().peekable();
    if fragments.peek().is_none() {
        return Ok(false);
    }
    let enabled = format!("{option}=y");
    for file in fragments {
        if kernels.read_text(name, file)?.lines().any(|line| line.trim() == enabled) {
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
        Code::NoKernel.with_message(format!(
            "cannot build the kernel {name}: all of its sources failed:\n{}",
            reasons.join("\n")
        ))
    )
}

fn build_from(kernel: &Kernel, source: &Source, files: Files<'_>, work: &Path, step: &Step) -> anyhow::Result<Note> {
    if source.kind == SourceKind::File {
        let from = files.path(&source.file)?;
        copy(&from, &work.join(IMAGE)).with_context(|| format!("cannot copy {}", from.display()))?;
        return Ok(Note::new(&source.version, from.display().to_string()));
    }
    let scratch = tempfile::tempdir_in(work)?;
    let unpacked = scratch.path().join("source");
    fs::create_dir(&unpacked)?;
    let (version, origin) = match source.kind {
        SourceKind::Debian => {
            let (package, version) =
                source::fetch_debian_package(&source.package, source.suite.as_deref(), scratch.path(), step)?;
            let opened = scratch.path().join("package");
            Tool::new("dpkg-deb").arg("-x").arg(&package).arg(&opened).run(Some(step))?;
            step.detail("unpacking");
            // A link in the package, or `..`, would lead out of it.
            let archive = opened.join(&source.file);
            let file = input::open_in(&opened, source.file.trim_start_matches("./"));
            drop(file.with_context(|| format!("cannot read `{}` of the package {}", source.file, source.package))?);
            Tool::new("tar").args(["--strip-components=1", "-xf"]).arg(&archive).arg("-C").arg(&unpacked).run(None)?;
            (version.clone(), format!("Debian {} {version}", source.package))
        }
        SourceKind::Url => {
            let archive = scratch.path().join("archive");
            source::download_verified(source, &archive, step)?;
            step.detail("unpacking");
            Tool::new("tar").args(["--strip-components=1", "-xf"]).arg(&archive).arg("-C").arg(&unpacked).run(None)?;
            (source.version.clone(), source.url.clone())
        }
        SourceKind::Pypi | SourceKind::System | SourceKind::File => {
            bail!("a source of this kind is not supported for kernels: use `debian`, `url` or `file`")
        }
    };
    for patch in &kernel.patches {
        Tool::new("patch")
            .args(["-p1", "--forward", "--input"])
            .arg(files.path(patch)?)
            .folder(&unpacked)
            .run(Some(step))
            .with_context(|| format!("the patch {patch} does not apply to {origin}"))?;
    }
    let objects = scratch.path().join("objects");
    fs::create_dir(&objects)?;
    let fragments = scratch.path().join("fragments");
    let mut text = String::new();
    for file in kernel.fragments() {
        text.push_str(&files.read_text(file)?);
    }
    fs::write(&fragments, text).context("cannot write the configuration fragments")?;
    let make = || {
        // For a reproducible build: the image must not contain time, user or host.
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
    make().arg(format!("-j{jobs}")).arg("vmlinux").run(Some(step)).context("cannot compile the kernel")?;
    let image = work.join(IMAGE);
    Tool::new("strip").args(["--strip-debug", "-o"]).arg(&image).arg(objects.join("vmlinux")).run(Some(step))?;
    copy(&objects.join(".config"), &work.join(CONFIG)).context("cannot copy the kernel configuration")?;
    Ok(Note::new(version, origin))
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut file = input::open(from)?;
    std::io::copy(&mut file, &mut fs::File::create(to)?).map(drop)
}

#[cfg(test)]
mod tests {
    use super::config_hz;

    #[test]
    fn tick_frequency_is_read_from_the_configuration() {
        assert_eq!(config_hz("# CONFIG_HZ_100 is not set\nCONFIG_HZ_250=y\nCONFIG_HZ=250\n"), Some(250));
        assert_eq!(config_hz("CONFIG_HZ_250=y\n"), None);
    }
}

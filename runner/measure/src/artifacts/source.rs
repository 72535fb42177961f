//! Sources of artefacts: distribution packages, the Python package index, URLs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use microbench_study::optional_text;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifacts::tool::Tool;
use crate::terminal::progress::Step;

/// A source of an artefact. The first source of a description that works is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Kind of the source, which decides which other fields it uses.
    pub kind: SourceKind,
    /// Package name (`debian`, `pypi`).
    #[serde(default)]
    pub package: String,
    /// Suite of the Debian archive, such as bookworm-backports (`debian`). If missing, the suites that apt is
    /// configured for.
    #[serde(default, deserialize_with = "optional_text::deserialize", skip_serializing_if = "Option::is_none")]
    pub suite: Option<String>,
    /// Package version (`pypi`).
    #[serde(default)]
    pub version: String,
    /// Python version that the package requires (`pypi`).
    #[serde(default)]
    pub python: String,
    /// URL of an archive (`url`).
    #[serde(default)]
    pub url: String,
    /// Folder in the archive or package.
    #[serde(default)]
    pub folder: String,
    /// File in the package (`debian`), or in the folder of the description (`file`).
    #[serde(default)]
    pub file: String,
    /// Files to extract: new name, and name in `folder`.
    #[serde(default)]
    pub members: BTreeMap<String, String>,
    /// How to install the program (`system`).
    #[serde(default)]
    pub remedy: String,
    /// Files that the program reads in addition to its libraries (`system`). Missing files are ignored.
    #[serde(default)]
    pub data: Vec<PathBuf>,
}

/// Kind of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// A Debian package, fetched by `apt-get download` (without root) and unpacked by `dpkg-deb`.
    Debian,
    /// A wheel of the Python package index, fetched by pip.
    Pypi,
    /// A tar archive at a URL.
    Url,
    /// A program that is installed on the host.
    System,
    /// A file in the folder of the description.
    File,
}

/// Fetches a Debian package into `folder`. `suite` is a suite of the archive; `None` for the suites that apt is
/// configured for.
///
/// # Returns
/// The path of the package and its version.
///
/// # Errors
/// If apt cannot find or fetch the package.
pub fn fetch_debian_package(
    package: &str,
    suite: Option<&str>,
    folder: &Path,
    step: &Step,
) -> anyhow::Result<(PathBuf, String)> {
    let lists = match suite {
        None => Vec::new(),
        Some(suite) => super::debian_suite::apt_options(suite, &folder.join("suite"), step)?,
    };
    let fresh = tempfile::tempdir_in(folder).context("cannot create a download folder")?;
    // apt downloads as an unprivileged user, who must be able to write to this folder.
    fs::set_permissions(fresh.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    step.detail(&format!("apt-get download {package}"));
    Tool::new("apt-get")
        .args(["-q", "-o", "APT::Sandbox::User=root"])
        .args(&lists)
        .args(["download", package])
        .folder(fresh.path())
        .run(Some(step))
        .with_context(|| {
            format!(
                "cannot fetch the Debian package {package}; if it is unknown, update the package lists with \
                 `apt-get update`"
            )
        })?;
    let file = fs::read_dir(fresh.path())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|end| end == "deb"))
        .with_context(|| format!("`apt-get download {package}` downloaded no file"))?;
    let version = Tool::new("dpkg-deb").args(["--field"]).arg(&file).arg("Version").run(None)?.trim().to_owned();
    let kept = folder.join(file.file_name().unwrap_or_default());
    fs::rename(&file, &kept).with_context(|| format!("cannot move {}", file.display()))?;
    Ok((kept, version))
}

/// Fetches the members of `source` into the folder `target`. Returns the origin: a package with its version, or a URL.
///
/// # Errors
/// If the source cannot be reached or a member is missing.
pub fn fetch_members(source: &Source, target: &Path, step: &Step) -> anyhow::Result<String> {
    let work = tempfile::tempdir_in(target).context("cannot create a download folder")?;
    let (unpacked, origin) = match source.kind {
        SourceKind::Pypi => fetch_wheel(source, work.path(), step)?,
        SourceKind::Url => {
            let archive = work.path().join("archive");
            download(&source.url, &archive, step)?;
            let unpacked = work.path().join("unpacked");
            fs::create_dir(&unpacked)?;
            Tool::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&unpacked).run(Some(step))?;
            (unpacked, source.url.clone())
        }
        SourceKind::Debian | SourceKind::System | SourceKind::File => {
            bail!("a source of this kind has no members: use `pypi` or `url`")
        }
    };
    for (name, member) in &source.members {
        let from = unpacked.join(&source.folder).join(member);
        fs::rename(&from, target.join(name)).with_context(|| format!("{origin} has no {}/{member}", source.folder))?;
    }
    Ok(origin)
}

/// Python in isolated mode: without modules of the working directory, of `PYTHONPATH` and of the user's folder.
fn python() -> Tool {
    Tool::new("python3").arg("-I")
}

fn fetch_wheel(source: &Source, work: &Path, step: &Step) -> anyhow::Result<(PathBuf, String)> {
    let wheel = format!("{}=={}", source.package, source.version);
    step.detail(&format!("pip download {wheel}"));
    python()
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"])
        .args(["--python-version", &source.python, "--dest"])
        .arg(work)
        .arg(&wheel)
        .run(Some(step))
        .with_context(|| format!("cannot fetch {wheel} from the Python package index"))?;
    let file = fs::read_dir(work)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|end| end == "whl"))
        .with_context(|| format!("pip downloaded no wheel of {wheel}"))?;
    let unpacked = work.join("unpacked");
    python().args(["-m", "zipfile", "-e"]).arg(&file).arg(&unpacked).run(Some(step))?;
    Ok((unpacked, format!("PyPI {wheel}")))
}

/// Downloads `url` into the file `target`.
///
/// # Errors
/// If the server cannot be reached or responds with an error, or `target` cannot be written.
pub fn download(url: &str, target: &Path, step: &Step) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime
        .block_on(async {
            let client = reqwest::Client::builder().connect_timeout(Duration::from_secs(10)).build()?;
            let mut response = client.get(url).send().await?.error_for_status()?;
            let mut file = File::create(target)?;
            let mut bytes = 0_u64;
            while let Some(chunk) = response.chunk().await? {
                file.write_all(&chunk)?;
                bytes += chunk.len() as u64;
                step.detail(&format!("{} MB of {url}", bytes / 1_000_000));
            }
            anyhow::Ok(())
        })
        .with_context(|| format!("cannot fetch {url}"))
}

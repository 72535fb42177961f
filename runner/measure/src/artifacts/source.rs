//! Sources of artefacts: distribution packages, the Python package index, URLs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use microbench_formats::code::Code;
use microbench_formats::describe::one_line;
use microbench_study::optional_text;
use reqwest::Url;
use reqwest::redirect::Policy;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cache;
use crate::artifacts::tool::Tool;
use crate::terminal::progress::Step;

/// Most redirects that a download follows.
const MOST_REDIRECTS: usize = 10;

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
    /// URL of an archive (`url`): https, or http on the loopback interface.
    #[serde(default)]
    pub url: String,
    /// SHA-256 of the archive at the URL, in hex digits (`url`). Required for a kernel; the files of a program have
    /// digests of their own.
    #[serde(default, deserialize_with = "optional_text::deserialize", skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
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
    check_debian_package(package)?;
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
        .args(["download", "--", package])
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
            // An archive without a digest is unpacked before its content is known to be the expected one: the caller
            // verifies the digest that the description of a program has for each member.
            match &source.sha256 {
                Some(_) => download_verified(source, &archive, step)?,
                None => download(&source.url, &archive, step)?,
            }
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
    for (key, text) in [("package", &source.package), ("version", &source.version), ("python", &source.python)] {
        let is_permitted = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '!');
        let is_plain = text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_permitted);
        let message = || format!("`{}` is not a valid `{key}` of a Python package", one_line(text, 80));
        ensure!(is_plain, Code::BadSource.with_message(message()));
    }
    let wheel = format!("{}=={}", source.package, source.version);
    step.detail(&format!("pip download {wheel}"));
    python()
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"])
        .args(["--python-version", &source.python, "--dest"])
        .arg(work)
        .args(["--", &wheel])
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

/// Checks that `package` is the name of a Debian package, and not an option of apt-get such as `-oName=Value`.
fn check_debian_package(package: &str) -> anyhow::Result<()> {
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_permitted = |c: char| is_letter(c) || matches!(c, '.' | '+' | '-');
    let is_name = package.starts_with(is_letter) && package.chars().all(is_permitted);
    let message = || format!("`{}` is not a valid name of a Debian package", one_line(package, 80));
    ensure!(is_name, Code::BadSource.with_message(message()));
    Ok(())
}

/// Checks that a URL is https, or http on the loopback interface, where no other machine can change what is sent.
fn check_url(url: &Url) -> anyhow::Result<()> {
    let is_loopback = match url.host_str() {
        Some("localhost" | "[::1]") => true,
        Some(host) => host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback()),
        None => false,
    };
    let message =
        || format!("the URL `{}` is neither https nor http on the loopback interface", one_line(url.as_str(), 200));
    ensure!(url.scheme() == "https" || url.scheme() == "http" && is_loopback, Code::BadSource.with_message(message()));
    Ok(())
}

/// Downloads the archive of `source` into the file `target` and verifies its digest.
///
/// # Errors
/// As [`download`]; [`Code::BadSource`] without a digest, and [`Code::WrongDigest`] for another content.
pub fn download_verified(source: &Source, target: &Path, step: &Step) -> anyhow::Result<()> {
    let shown = one_line(&source.url, 200);
    let is_digest = |text: &&String| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let sha256 = source.sha256.as_ref().filter(is_digest).with_context(|| {
        Code::BadSource.with_message(format!("the source {shown} has no digest: add `sha256`, 64 hex digits"))
    })?;
    download(&source.url, target, step)?;
    cache::verify(target, &sha256.to_ascii_lowercase()).with_context(|| format!("{shown} has unexpected content"))
}

/// Downloads `url` into the file `target`.
///
/// # Errors
/// [`Code::BadSource`] for a URL that is not permitted. If the server cannot be reached or responds with an error, or
/// `target` cannot be written.
pub fn download(url: &str, target: &Path, step: &Step) -> anyhow::Result<()> {
    let not_url = || Code::BadSource.with_message(format!("`{}` is not a URL", one_line(url, 200)));
    check_url(&Url::parse(url).with_context(not_url)?)?;
    // A server must not lead to a URL that a description could not have.
    let redirects = Policy::custom(|attempt| match check_url(attempt.url()) {
        Ok(()) if attempt.previous().len() < MOST_REDIRECTS => attempt.follow(),
        Ok(()) => attempt.error("too many redirects"),
        Err(error) => attempt.error(error.to_string()),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime
        .block_on(async {
            let client =
                reqwest::Client::builder().connect_timeout(Duration::from_secs(10)).redirect(redirects).build()?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_https_or_on_the_loopback_interface() {
        let is_permitted = |url: &str| check_url(&Url::parse(url).unwrap()).is_ok();
        for url in ["https://a.example/b", "http://127.0.0.1:80/b", "http://localhost/b", "http://[::1]/b"] {
            assert!(is_permitted(url), "{url}");
        }
        for url in ["http://a.example/b", "http://127.0.0.1.a.example/", "http://localhost.a/", "file:///etc/shadow"] {
            assert!(!is_permitted(url), "{url}");
        }
    }

    #[test]
    fn package_that_is_an_option_or_a_path_is_refused() {
        assert!(check_debian_package("linux-source-6.1").is_ok() && check_debian_package("g++").is_ok());
        for wrong in ["", "-oAPT::Update::Pre-Invoke::=id", "./a.deb", "a b", "a=1", "A"] {
            assert!(check_debian_package(wrong).is_err(), "{wrong}");
        }
    }
}

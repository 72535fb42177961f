//! Access to a suite of the Debian archive that apt is not configured for, such as bookworm-backports.
//!
//! Separate package lists are used, so that the host's apt configuration does not change and root is not needed.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use microbench_formats::code::Code;
use microbench_formats::describe::one_line;

use crate::artifacts::tool::Tool;
use crate::terminal::progress::Step;

/// Options that make apt-get and apt-cache use `suite` only. The package lists are fetched into `folder`, which apt
/// must be able to write.
///
/// # Errors
/// If the Debian archive that this host's apt uses has no such suite or cannot be reached.
pub fn apt_options(suite: &str, folder: &Path, step: &Step) -> anyhow::Result<Vec<String>> {
    check_suite(suite)?;
    for name in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(folder.join(name)).with_context(|| format!("cannot create {name}"))?;
    }
    let targets = Tool::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main", "Origin: Debian"])
        .run(None)?;
    let archive = targets
        .lines()
        .next()
        .context("apt has no list of a Debian archive; update the package lists with `apt-get update`")?;
    let list = folder.join("sources.list");
    fs::write(&list, sources_line(archive, suite)).with_context(|| format!("cannot write {}", list.display()))?;
    let option = |name: &str, path: &Path| ["-o".to_owned(), format!("{name}={}", path.display())];
    let options: Vec<String> = [
        option("Dir::Etc::SourceList", &list),
        option("Dir::Etc::SourceParts", Path::new("/dev/null")),
        option("Dir::State::Lists", &folder.join("lists")),
        option("Dir::Cache", &folder.join("cache")),
    ]
    .concat();
    step.detail(&format!("apt-get update of {suite}"));
    Tool::new("apt-get")
        .args(["-q", "-o", "APT::Sandbox::User=root", "-o", "APT::Update::Error-Mode=any"])
        .args(&options)
        .arg("update")
        .run(Some(step))
        .with_context(|| format!("the Debian archive has no suite {suite}, or cannot be reached"))?;
    Ok(options)
}

/// Checks that `suite` is the name of a suite. A line break would begin a further line of sources.list(5), which can
/// trust any archive.
fn check_suite(suite: &str) -> anyhow::Result<()> {
    let is_permitted = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
    let is_suite = suite.starts_with(|c: char| c.is_ascii_alphanumeric()) && suite.chars().all(is_permitted);
    let message = || format!("`{}` is not the name of a suite of the Debian archive", one_line(suite, 80));
    ensure!(is_suite, Code::BadSource.with_message(message()));
    Ok(())
}

/// A line of sources.list(5).
fn sources_line(archive: &str, suite: &str) -> String {
    format!("deb {} {suite} main\n", archive.trim())
}

#[cfg(test)]
mod tests {
    #[test]
    fn suite_is_one_line_of_sources_list() {
        assert!(super::check_suite("bookworm-backports").is_ok() && super::check_suite("stable/updates").is_ok());
        for wrong in ["", "-o", "a b", "a\ndeb [trusted=yes] http://b/ c", "[trusted=yes]"] {
            assert!(super::check_suite(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(super::sources_line("http://a/debian/\n", "s-backports"), "deb http://a/debian/ s-backports main\n");
    }
}

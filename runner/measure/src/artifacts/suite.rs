//! A suite of the Debian archive that this machine's apt does not know, such as bookworm-backports: by lists of its own, so that nothing of
//! the machine's own apt changes and no root is needed.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::artifacts::tool::Tool;
use crate::terminal::progress::Step;

/// Options with which apt-get and apt-cache know `suite` and nothing else; its lists are fetched into `folder`, which apt must be able
/// to write.
///
/// # Errors
/// When the archive of this machine's own packages has no such suite or cannot be reached.
pub fn options(suite: &str, folder: &Path, step: &Step) -> anyhow::Result<Vec<String>> {
    for name in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(folder.join(name)).with_context(|| format!("cannot create {name}"))?;
    }
    let targets = Tool::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main", "Origin: Debian"])
        .run(None)?;
    let archive = targets.lines().next().context("apt knows no Debian archive (`apt-get update` renews the lists)")?;
    let list = folder.join("sources.list");
    fs::write(&list, entry(archive, suite)).with_context(|| format!("cannot write {}", list.display()))?;
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

/// One line of sources.list(5).
fn entry(archive: &str, suite: &str) -> String {
    format!("deb {} {suite} main\n", archive.trim())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_suite_is_one_line() {
        assert_eq!(super::entry("http://a/debian/\n", "s-backports"), "deb http://a/debian/ s-backports main\n");
    }
}

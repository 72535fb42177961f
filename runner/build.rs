//! States what the program is built from: the commit, whether tracked files differ from it, and the compiler.
//!
//! In this crate, because no other crate depends on it: a new commit rebuilds this crate only.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// Environment variable of packagers: the commit, with the suffix `-dirty` if the sources were changed. An empty value
/// means that the commit is unknown.
const OVERRIDE: &str = "MICROBENCH_COMMIT";

/// What the two programs are compiled from, relative to this package's folder. A change makes the sources dirty; it
/// compiles this crate anyway. A packaged crate has its own sources only.
const SOURCES: [&str; 16] = [
    "Cargo.toml",
    "build.rs",
    "errors.toml",
    "src",
    "measure/programs",
    "measure/src",
    "study/engines",
    "study/src",
    "../agent/src",
    "../experiments",
    "../formats/src",
    "../kernels",
    "../plots/src",
    "../rootfs",
    "../Cargo.lock",
    "../Cargo.toml",
];

/// Files in git's folder that change when HEAD or the index does. `logs/HEAD` changes with every move of HEAD.
const GIT_FILES: [&str; 5] = ["HEAD", "index", "logs/HEAD", "packed-refs", "reftable"];

/// The state of the sources.
#[derive(Default)]
struct Sources {
    commit: String,
    /// `true`, `false`, or empty if unknown.
    dirty: String,
    /// `YYYY-MM-DD`.
    date: String,
}

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-env-changed={OVERRIDE}");
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    SOURCES.iter().map(|source| package.join(source)).for_each(|path| watch(&path));
    let sources = match env::var(OVERRIDE) {
        Ok(stated) => stated_sources(&stated)?,
        Err(_) => git_sources(&package).or_else(|| packaged_sources(&package)).unwrap_or_default(),
    };
    let profile = env::var("PROFILE").unwrap_or_default();
    for (name, value) in [
        ("COMMIT", sources.commit.as_str()),
        ("DIRTY", &sources.dirty),
        ("DATE", &sources.date),
        ("PROFILE", if profile == "debug" { "dev" } else { &profile }),
        ("RUSTC", &rustc_version().unwrap_or_default()),
        ("TARGET", &env::var("TARGET").unwrap_or_default()),
    ] {
        println!("cargo::rustc-env=MICROBENCH_BUILD_{name}={value}");
    }
    Ok(())
}

/// Rebuilds when `path` changes. Cargo runs the script at every build if a watched path does not exist.
fn watch(path: &Path) {
    if path.exists() {
        println!("cargo::rerun-if-changed={}", path.display());
    }
}

/// The sources as the packager states them.
fn stated_sources(stated: &str) -> io::Result<Sources> {
    if stated.is_empty() {
        return Ok(Sources::default());
    }
    let (commit, dirty) = stated.strip_suffix("-dirty").map_or((stated, false), |commit| (commit, true));
    if !is_commit(commit) {
        let problem =
            format!("{OVERRIDE}={stated:?} is not a commit: use 7 to 64 hexadecimal digits, or these and -dirty");
        return Err(io::Error::other(problem));
    }
    Ok(Sources { commit: commit.to_owned(), dirty: dirty.to_string(), date: String::new() })
}

/// The state of the git work tree; `None` without git, outside of a work tree, and in that of another project.
fn git_sources(package: &Path) -> Option<Sources> {
    let root = package.parent()?;
    let top = git(package, &["rev-parse", "--show-toplevel"])?;
    // In a packaged crate or a vendored copy, the work tree belongs to another project, or has this crate elsewhere.
    if fs::canonicalize(top).ok()? != fs::canonicalize(root).ok()? {
        return None;
    }
    git(package, &["ls-files", "--error-unmatch", "build.rs", "../agent/Cargo.toml"])?;
    let mut watched: Vec<String> = GIT_FILES.map(str::to_owned).to_vec();
    // A detached HEAD has no branch.
    watched.extend(git(package, &["symbolic-ref", "--quiet", "HEAD"]));
    for file in watched {
        let Some(path) = git(package, &["rev-parse", "--git-path", &file]) else { continue };
        let path = package.join(path);
        // The next commit creates the file of a branch that is in `packed-refs`.
        let parent = path.parent().filter(|_| file.starts_with("refs/") && !path.exists());
        watch(parent.unwrap_or(&path));
    }
    let head = git(package, &["-c", "log.showSignature=false", "log", "-1", "--format=%H %cs"])?;
    let (commit, date) = head.split_once(' ')?;
    let changes = git(package, &["-c", "core.fsmonitor=false", "status", "--porcelain", "--untracked-files=no"])?;
    Some(Sources {
        commit: Some(commit).filter(|commit| is_commit(commit))?.to_owned(),
        dirty: (!changes.is_empty()).to_string(),
        date: date.to_owned(),
    })
}

/// The state of the sources when `cargo package` packed them; `None` if the file of cargo is missing.
fn packaged_sources(package: &Path) -> Option<Sources> {
    let path = package.join(".cargo_vcs_info.json");
    watch(&path);
    let text = fs::read_to_string(path).ok()?;
    let after = |key: &str| Some(text.split_once(&format!("\"{key}\":"))?.1.trim_start());
    let commit = after("sha1")?.strip_prefix('"')?.split_once('"')?.0;
    let dirty = after("dirty").is_some_and(|value| value.starts_with("true"));
    is_commit(commit).then(|| Sources { commit: commit.to_owned(), dirty: dirty.to_string(), date: String::new() })
}

fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Output of git without the last line feed; `None` if it fails or is not installed.
fn git(folder: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.current_dir(folder).arg("--no-optional-locks").args(arguments);
    // A hook of git that builds sets variables such as GIT_DIR, which override the folder.
    for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"GIT_")) {
        command.env_remove(name);
    }
    output(&mut command)
}

/// Version of the compiler, without its name.
fn rustc_version() -> Option<String> {
    let rustc = env::var_os("RUSTC");
    let text = output(Command::new(rustc.as_deref().unwrap_or(OsStr::new("rustc"))).arg("--version"))?;
    Some(text.strip_prefix("rustc ").unwrap_or(&text).to_owned())
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim_end_matches('\n').to_owned())
}

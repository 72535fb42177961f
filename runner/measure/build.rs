//! Generates the table of built-in files, builds the guest agent of a release build, and hashes the sources.
//!
//! The hash identifies the build: the runner and the init of the emulated host refuse to work with another build.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// Sources that the runner and the emulated host's init share, relative to this package's folder. They identify the
/// build. A packaged crate has `src` only; cargo pins the other crates by version.
const SOURCES: [&str; 5] = ["src", "../study/src", "../../formats/src", "../../agent/src", "../../Cargo.lock"];

/// Folder of the built-in files. In the source tree its entries are links to top-level folders; `cargo package` follows
/// the links.
const BUILT_IN: &str = "built_in";

/// Manifest of the guest agent's package, which exists in the source tree only.
const AGENT: &str = "../../agent/Cargo.toml";
/// Target of the agent: guests are x86-64.
const AGENT_TARGET: &str = "x86_64-unknown-linux-gnu";
/// The same flags as in the Makefile.
const AGENT_FLAGS: &str = "-C target-feature=+crt-static -C relocation-model=static";

fn main() -> io::Result<()> {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let mut hash = DefaultHasher::new();
    hash.write(env::var("CARGO_PKG_VERSION").unwrap_or_default().as_bytes());
    for source in SOURCES {
        let path = package.join(source);
        if !path.exists() {
            continue;
        }
        println!("cargo::rerun-if-changed={}", path.display());
        for file in list_files(&path)? {
            hash.write(file.strip_prefix(&package).unwrap_or(&file).as_os_str().as_encoded_bytes());
            hash.write(&fs::read(&file)?);
        }
    }
    println!("cargo::rustc-env=MICROBENCH_BUILD={:016x}", hash.finish());
    println!("cargo::rustc-env=MICROBENCH_OPT_LEVEL={}", env::var("OPT_LEVEL").unwrap_or_default());
    let agent = build_agent(&package, &out);
    fs::write(out.join("built_in.rs"), render_built_in(&package.join(BUILT_IN), agent.as_deref())?)
}

/// Renders the table of built-in files, and the agent's bytes, as Rust code.
fn render_built_in(folder: &Path, agent: Option<&Path>) -> io::Result<String> {
    let mut text = String::from("static FILES: &[File] = &[\n");
    // Cargo watches a folder recursively, so that a new file triggers a build too.
    for entry in ["experiments", "kernels", "rootfs"] {
        let top = folder.join(entry);
        println!("cargo::rerun-if-changed={}", fs::canonicalize(&top)?.display());
        for file in list_files(&top)? {
            let path = file.strip_prefix(folder).unwrap_or(&file).display().to_string();
            // `microbench schema` generates the schemas.
            if path.ends_with(".md") || path.ends_with(".schema.json") {
                continue;
            }
            let executable = fs::metadata(&file)?.permissions().mode() & 0o111 != 0;
            let source = file.display().to_string();
            let _ = writeln!(
                text,
                "File {{ path: {path:?}, executable: {executable}, bytes: include_bytes!({source:?}) }},"
            );
        }
    }
    let agent =
        agent.map_or_else(|| "&[]".to_owned(), |path| format!("include_bytes!({:?})", path.display().to_string()));
    let _ = write!(text, "];\nstatic AGENT: &[u8] = {agent};\n");
    Ok(text)
}

/// Builds the static guest agent for a release build; `None` for other builds, or if it cannot be built.
///
/// `cargo install` cannot build a second program with other flags, so this script does. Development builds use the
/// agent of `make build`.
fn build_agent(package: &Path, out: &Path) -> Option<PathBuf> {
    let manifest = package.join(AGENT);
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let same_target = env::var("TARGET").is_ok_and(|target| target == AGENT_TARGET);
    // Next to a vendored copy of this package, the path may belong to another package.
    let is_agent = fs::read_to_string(&manifest).is_ok_and(|text| text.contains("name = \"microbench-agent\""));
    if !release || !same_target || !is_agent {
        return None;
    }
    println!("cargo::rerun-if-changed={}", manifest.display());
    let target = out.join("agent");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--locked", "--bin", "microbench-agent", "--profile", "agent"]);
    command.args(["--target", AGENT_TARGET, "--manifest-path"]).arg(&manifest).arg("--target-dir").arg(&target);
    // The flags of the outer build would override the agent's own.
    for variable in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER"] {
        command.env_remove(variable);
    }
    command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", AGENT_FLAGS);
    match command.status() {
        Ok(status) if status.success() => Some(target.join(AGENT_TARGET).join("agent/microbench-agent")),
        Ok(status) => warn_no_agent(&status.to_string()),
        Err(error) => warn_no_agent(&error.to_string()),
    }
}

/// Warns that the program will have no built-in agent. The build goes through: analysis needs no agent, and `run`
/// reports the missing agent.
fn warn_no_agent(why: &str) -> Option<PathBuf> {
    println!("cargo::warning=the static guest agent cannot be built ({why}): microbench will have no built-in agent");
    None
}

/// `path` if it is a file, else all files below it, sorted.
fn list_files(path: &Path) -> io::Result<BTreeSet<PathBuf>> {
    if !path.is_dir() {
        return Ok(BTreeSet::from([path.to_path_buf()]));
    }
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(path)? {
        found.extend(list_files(&entry?.path())?);
    }
    Ok(found)
}

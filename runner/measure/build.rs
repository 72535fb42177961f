//! Prepares what the program carries: the built-in files, the guest agent of a release build, and the identity of the build, so that
//! two programs of different builds do not work together.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

/// What the programs have in common, from this package's folder. Of a package without the workspace around it only the first is
/// there: cargo pins the others by their version.
const SOURCES: [&str; 5] = ["src", "../study/src", "../../formats/src", "../../agent/src", "../../Cargo.lock"];

/// The folder of the files that the program carries. In the source tree its entries are links to the top-level folders; `cargo package`
/// follows them.
const BUILT_IN: &str = "built_in";

/// The guest agent's package, beside this one in the source tree only.
const AGENT: &str = "../../agent/Cargo.toml";
/// What the agent is built for: guests are x86-64.
const AGENT_TARGET: &str = "x86_64-unknown-linux-gnu";
/// As the Makefile builds it.
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
        for file in files(&path)? {
            hash.write(file.strip_prefix(&package).unwrap_or(&file).as_os_str().as_encoded_bytes());
            hash.write(&fs::read(&file)?);
        }
    }
    println!("cargo::rustc-env=MICROBENCH_BUILD={:016x}", hash.finish());
    println!("cargo::rustc-env=MICROBENCH_OPT_LEVEL={}", env::var("OPT_LEVEL").unwrap_or_default());
    let agent = agent(&package, &out);
    fs::write(out.join("built_in.rs"), built_in(&package.join(BUILT_IN), agent.as_deref())?)
}

/// The table of the built-in files as Rust code.
fn built_in(folder: &Path, agent: Option<&Path>) -> io::Result<String> {
    let mut text = String::from("static FILES: &[File] = &[\n");
    // The build runs again when a file is added, too: each of these folders is watched with all that is below.
    for entry in ["experiments", "kernels", "rootfs"] {
        let top = folder.join(entry);
        println!("cargo::rerun-if-changed={}", fs::canonicalize(&top)?.display());
        for file in files(&top)? {
            let path = file.strip_prefix(folder).unwrap_or(&file).display().to_string();
            // The program prints the schema itself.
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

/// The static guest agent, for a program that is installed by cargo alone: `cargo install` builds no second program with flags of its own,
/// so this script does. Development builds find the agent that `make build` makes.
fn agent(package: &Path, out: &Path) -> Option<PathBuf> {
    let manifest = package.join(AGENT);
    let release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let here = env::var("TARGET").is_ok_and(|target| target == AGENT_TARGET);
    // A vendored copy of this package may have another package there.
    let ours = fs::read_to_string(&manifest).is_ok_and(|text| text.contains("name = \"microbench-agent\""));
    if !release || !here || !ours {
        return None;
    }
    println!("cargo::rerun-if-changed={}", manifest.display());
    let target = out.join("agent");
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["build", "--quiet", "--locked", "--bin", "microbench-agent", "--profile", "agent"]);
    command.args(["--target", AGENT_TARGET, "--manifest-path"]).arg(&manifest).arg("--target-dir").arg(&target);
    // Those of the outer build would take the place of the agent's own.
    for variable in ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER"] {
        command.env_remove(variable);
    }
    command.env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", AGENT_FLAGS);
    match command.status() {
        Ok(status) if status.success() => Some(target.join(AGENT_TARGET).join("agent/microbench-agent")),
        Ok(status) => lost(&status.to_string()),
        Err(error) => lost(&error.to_string()),
    }
}

/// The program is of use without an agent (analysis), and says itself what is missing.
fn lost(why: &str) -> Option<PathBuf> {
    println!("cargo::warning=the static guest agent cannot be built ({why}): the program will carry none");
    None
}

/// `path` itself, or the files below it, sorted.
fn files(path: &Path) -> io::Result<BTreeSet<PathBuf>> {
    if !path.is_dir() {
        return Ok(BTreeSet::from([path.to_path_buf()]));
    }
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(path)? {
        found.extend(files(&entry?.path())?);
    }
    Ok(found)
}

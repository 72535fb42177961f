//! Tells the programs of this package what they were built of, so that two of different builds do not work together.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// What the programs have in common, from this package's folder. Of a package without the workspace around it only the first is
/// there: cargo pins the others by their version.
const SOURCES: [&str; 5] = ["src", "../study/src", "../../formats/src", "../../agent/src", "../../Cargo.lock"];

fn main() -> io::Result<()> {
    let package = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
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
    Ok(())
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

//! The layers of the workspace: permitted dependencies between crates and between the modules of a crate.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::optimised::Packages;

/// Each crate with its folder, the crates of the workspace that it may depend on, and packages that it must not depend
/// on, directly or indirectly.
const CRATES: [(&str, &str, &[&str], &[&str]); 6] = [
    ("microbench-formats", "formats", &[], &["polars", "plotters", "tokio"]),
    ("microbench-agent", "agent", &["microbench-formats"], &["polars", "plotters", "tokio"]),
    ("microbench-study", "runner/study", &["microbench-formats", "microbench-agent"], &["polars", "plotters", "tokio"]),
    (
        "microbench-measure",
        "runner/measure",
        &["microbench-formats", "microbench-agent", "microbench-study"],
        &["polars", "plotters", "resvg"],
    ),
    ("microbench-plots", "plots", &["microbench-formats"], &["nix", "clap"]),
    (
        "microbench",
        "runner",
        &["microbench-formats", "microbench-measure", "microbench-plots", "microbench-study"],
        &[],
    ),
];

#[test]
fn crates_depend_only_on_lower_layers() {
    let packages = Packages::of_this_workspace();
    for (name, _, allowed, never) in CRATES {
        let direct = packages.direct(name);
        let own: BTreeSet<&str> = CRATES.iter().map(|(name, ..)| *name).filter(|one| direct.contains(*one)).collect();
        let wrong: Vec<_> = own.iter().filter(|one| !allowed.contains(one)).collect();
        assert!(wrong.is_empty(), "{name} depends on {wrong:?}");
        let needed = packages.needed_by(name);
        let wrong: Vec<_> = never.iter().filter(|one| needed.contains(**one)).collect();
        assert!(wrong.is_empty(), "{name} needs {wrong:?}");
    }
}

/// Source files of a crate: the first segment of the module path, and the code without comments and unit tests.
fn sources(root: &Path) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                found.push(path);
            }
        }
    }
    let mut paths = Vec::new();
    walk(root, &mut paths);
    let mut found = Vec::new();
    for path in paths {
        let inside = path.strip_prefix(root).unwrap();
        let first = inside.components().next().unwrap().as_os_str().to_string_lossy();
        let module = first.trim_end_matches(".rs").to_owned();
        // Programs may import from all modules of their library.
        if ["lib", "main", "bin"].contains(&module.as_str()) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let code: String =
            code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        found.push((module, code));
    }
    found
}

/// Top-level modules of the crate that `code` imports by `crate::`, in `use` trees and paths.
fn imported_modules(code: &str, modules: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // `$crate::` in a macro is this crate too.
        let rest = &code[at + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(tree) => tree.split('}').next().unwrap_or_default().split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let end = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
            let name = name.trim().split(end).next().unwrap_or_default();
            if modules.contains(name) {
                found.insert(name.to_owned());
            }
        }
    }
    found
}

#[test]
fn modules_of_a_crate_have_no_import_cycle() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (name, folder, ..) in CRATES {
        let sources = sources(&workspace.join(folder).join("src"));
        let modules: BTreeSet<String> = sources.iter().map(|(module, _)| module.clone()).collect();
        let mut imports: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (module, code) in &sources {
            let imported = imported_modules(code, &modules).into_iter().filter(|other| other != module);
            imports.entry(module).or_default().extend(imported);
        }
        // Remove modules that import from no remaining module, until none can be removed.
        let mut left: BTreeSet<&str> = imports.keys().copied().collect();
        while let Some(lowest) =
            left.iter().copied().find(|module| imports[module].iter().all(|other| !left.contains(other.as_str())))
        {
            left.remove(lowest);
        }
        assert!(left.is_empty(), "{name}: import cycle between {left:?}");
    }
}

/// Files of others, such as those of a run, can be links, FIFOs or devices: only `microbench_formats::input` opens them.
#[test]
fn files_of_others_are_opened_by_one_module() {
    const OPENS: [&str; 5] = ["File::open(", "fs::read(", "fs::read_to_string(", "OpenOptions", "fs::copy("];
    // Folders of runs that are being created, which are opened to lock them.
    const FOLDERS: [&str; 2] = ["fs::File::open(work.path())", "and_then(|path| fs::File::open(path).ok())"];
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for folder in ["plots/src", "runner/src", "runner/study/src", "runner/measure/src/artifacts"] {
        for (module, code) in sources(&workspace.join(folder)) {
            let is_own = |line: &str| line.contains("\"/proc") || FOLDERS.iter().any(|known| line.contains(known));
            let opens = |line: &&str| OPENS.iter().any(|call| line.contains(call)) && !is_own(line);
            let found: Vec<&str> = code.lines().filter(opens).collect();
            assert!(found.is_empty(), "{folder}/{module} opens files without `microbench_formats::input`: {found:#?}");
        }
    }
}

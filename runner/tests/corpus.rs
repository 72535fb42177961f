//! Runs the checks of the fuzz targets on the kept inputs in `fuzz/seeds/`.

#[path = "../../fuzz/checks.rs"]
mod checks;

use std::fs;
use std::path::{Path, PathBuf};

type Check = fn(&[u8]);

/// All checks, by the name of the fuzz target and of its folder of seeds.
const CHECKS: [(&str, Check); 4] = [
    ("response", checks::response),
    ("journal", checks::journal),
    ("kernel_log", checks::kernel_log),
    ("manifest", checks::manifest),
];

/// Limits of a folder of seeds, so that it can be reviewed by hand.
const MAX_FILES: usize = 60;
const MAX_BYTES: u64 = 4 << 10;

fn seeds(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn kept_inputs_pass_their_checks() {
    for (target, check) in CHECKS {
        let files = seeds(target);
        assert!(!files.is_empty(), "{target} has no seeds");
        for file in files {
            let bytes = fs::read(&file).unwrap();
            // The panic message does not name the input.
            if std::panic::catch_unwind(|| check(&bytes)).is_err() {
                panic!("{} does not pass", file.display());
            }
        }
    }
}

#[test]
fn fuzz_targets_have_a_check_and_few_seeds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    for entry in fs::read_dir(folder.join("fuzz_targets")).unwrap() {
        let target = entry.unwrap().path();
        let name = target.file_stem().unwrap().to_str().unwrap();
        assert!(CHECKS.iter().any(|(check, _)| *check == name), "{name} has no check");
    }
    for (target, _) in CHECKS {
        let files = seeds(target);
        assert!(files.len() <= MAX_FILES, "{target} has {} seeds", files.len());
        for file in files {
            let bytes = fs::metadata(&file).unwrap().len();
            assert!(bytes <= MAX_BYTES, "{} has {bytes} bytes", file.display());
        }
    }
}

//! `plots/check/check_statistics.py` compares every estimate, interval, p-value and claim of a run with SciPy.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use microbench_testing::{Missing, Requirement, require};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::documents::root;
use crate::support::{Bench, text};

/// The virtual environment with SciPy. `make test` creates it and sets `MICROBENCH_TEST_SCIPY`.
fn scipy() -> Result<PathBuf, Missing> {
    let folder = std::env::var_os("MICROBENCH_TEST_SCIPY").map(PathBuf::from);
    let reason = "SciPy is not installed: `make test` installs it from PyPI, if PyPI can be reached";
    folder.filter(|folder| folder.join("complete").exists()).ok_or_else(|| Missing::machine(reason))
}

fn has_scipy() -> Requirement {
    scipy().map(drop)
}

/// The table of both variants: normal, stalling, tied, censored and failed values, in one VM and in four. `scale` is a
/// factor of all values.
fn table(seed: u64, scale: f64) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    // The sum of four uniform numbers is nearly normal, with a standard deviation of 1 / sqrt(3).
    let mut spread = |share: f64| {
        1.0 + share * ((0..4).map(|_| f64::from(random.next_u32()) / f64::from(u32::MAX)).sum::<f64>() - 2.0)
    };
    let mut rows = "metric,variant,concurrency,trial,value,censored,reason\n".to_owned();
    let mut row = |metric: &str, variant: &str, concurrency: u32, trial: u32, value: f64, status: &str| {
        let value = if status == "failed" { String::new() } else { format!("{:.3}", value * scale) };
        let reason = if status == "failed" { "the VMM exited with code 9" } else { "" };
        let censored = if status == "censored" { "true" } else { "" };
        writeln!(rows, "{metric},{variant},{concurrency},{trial},{value},{censored},{reason}").unwrap();
    };
    for (variant, slower) in [("fc", 1.0), ("qemu", 1.04)] {
        let other = variant == "qemu";
        for trial in 0..10 {
            row("kernel_boot_time", variant, 1, trial, 100.0 * slower * spread(0.02), "");
            row("vms_completed", variant, 1, trial, 1.0 / scale, "");
            row("vms_completed", variant, 4, trial, if other && trial % 3 == 0 { 0.0 } else { 1.0 / scale }, "");
            let is_censored = other && trial % 4 == 3;
            let value = if is_censored { 500.0 } else { 30.0 * spread(0.01) };
            row("shutdown_time", variant, 1, trial, value, if is_censored { "censored" } else { "" });
        }
        for trial in 0..30 {
            row("kernel_boot_time", variant, 4, trial, 100.0 * slower * spread(0.04), "");
        }
        for trial in 0..120 {
            let stall = if trial % 19 == 7 { 3.0 } else { 1.0 };
            row("webservice_startup_time", variant, 1, trial, 110.0 * slower * stall * spread(0.08), "");
        }
        for trial in 0..160 {
            row("webservice_startup_time", variant, 4, trial / 4, 150.0 * slower * spread(0.05), "");
        }
        for trial in 0..8 {
            let failed = if other && trial == 2 { "failed" } else { "" };
            row("shutdown_time", variant, 4, trial, 40.0 * spread(0.05) / if other { 1.3 } else { 1.0 }, failed);
        }
        for trial in 0..9 {
            let tied = [1000.0, 1000.0, 1010.0, 1020.0][trial as usize % 4];
            row("bandwidth", variant, 1, trial, tied * slower, "");
        }
        for trial in 0..60 {
            let failed = if trial == 7 { "failed" } else { "" };
            row("bandwidth", variant, 4, trial, 1000.0 * spread(0.05), failed);
        }
    }
    rows
}

/// A project with the analysed runs `a` and `b`.
fn runs() -> Bench {
    let bench = Bench::new();
    bench.file("study.toml", &std::fs::read_to_string(root().join("plots/check/example.toml")).unwrap());
    for (name, seed, scale) in [("a", 1, 1.0), ("b", 2, 1.03)] {
        bench.file(&format!("{name}.csv"), &table(seed, scale));
        let imported = bench.run(&["import", "study.toml", &format!("{name}.csv"), "--out", name]);
        assert!(imported.status.success(), "{}", text(&imported.stderr));
        assert!(bench.run(&["analyze", name]).status.success());
    }
    bench
}

fn check(bench: &Bench, program: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(scipy().expect("SciPy").join("bin/python"));
    command.arg("-I").arg(root().join("plots/check/check_statistics.py")).arg("--microbench").arg(program);
    command.args(arguments).current_dir(bench.path("")).output().expect("the check starts")
}

#[test]
fn statistics_of_an_imported_run_agree_with_scipy() {
    require!(has_scipy());
    let bench = runs();
    for arguments in
        [&["a"][..], &["a", "--baseline", "qemu", "--margin", "0.02"], &["a", "b"], &["b", "a", "--margin", "0.05"]]
    {
        let done = check(&bench, Path::new(env!("CARGO_BIN_EXE_microbench")), arguments);
        let (out, err) = (text(&done.stdout), text(&done.stderr));
        assert!(done.status.success(), "{arguments:?}: {out}{err}");
        println!("{arguments:?}:\n{out}");
        for kind in ["summary", "claims", "comparisons"] {
            assert!(out.contains(&format!("{kind}: ")), "{arguments:?}: {out}");
        }
    }
}

/// The program prints wrong numbers: the check names each of them.
#[test]
fn check_with_scipy_finds_a_wrong_number() {
    require!(has_scipy());
    let bench = runs();
    let program = bench.path("wrong");
    let real = env!("CARGO_BIN_EXE_microbench");
    // The first digit of each median, of each p-value, and one verdict.
    let filter = "s/\"median\":[0-9]/\"median\":7/; s/\"p\": *0.0/\"p\": 0.9/; s/\"holds\"/\"contradicted\"/";
    let script = format!("#!/bin/sh\nset -e\n'{real}' \"$@\" > out\nsed '{filter}' out\n");
    bench.file("wrong", &script);
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let done = check(&bench, &program, &["a", "b"]);
    let out = text(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "{out}{}", text(&done.stderr));
    for kind in ["summary", "claims", "comparisons"] {
        assert!(out.contains(&format!("differs: {kind}: ")), "{out}");
    }
}

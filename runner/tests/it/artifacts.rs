//! The cache of artefacts: `artifacts --gc` removes what no project needs.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Output;

use microbench_measure::artifacts::cache::walk;
use microbench_testing::{program, require};
use nix::fcntl::{Flock, FlockArg};

use crate::support::{Bench, text};

/// A project whose artefacts are in its cache.
fn prepared() -> Bench {
    let bench = Bench::new();
    bench.study(&["ok"], "trials = 1", "");
    provide(&bench);
    bench
}

fn provide(bench: &Bench) {
    let output = bench.run(&["artifacts", "study.toml"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// The standard output of `artifacts --gc` with these further arguments.
fn collect(bench: &Bench, more: &[&str]) -> String {
    let output: Output = bench.run(&[&["artifacts", "--gc"], more].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// The folders of `kind` in the cache, sorted.
fn entries(bench: &Bench, kind: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(bench.path(&format!("cache/{kind}"))).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = all.filter(|path| path.is_dir()).collect();
    found.sort();
    found
}

/// Every file below `folder`, with what changes whenever it is written or replaced.
fn state(folder: &Path) -> Vec<(PathBuf, u64, i64, i64)> {
    let data = |path: PathBuf| {
        let data = path.symlink_metadata().unwrap();
        (path, data.ino(), data.ctime(), data.ctime_nsec())
    };
    walk(folder).unwrap().into_iter().map(data).collect()
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn gc_removes_what_the_descriptions_of_the_project_no_longer_give() {
    require!(program("mke2fs", "e2fsprogs"));
    let bench = prepared();
    assert_eq!(collect(&bench, &["--yes"]), "nothing to remove\n");
    let [old] = entries(&bench, "kernels").try_into().unwrap();
    bench.file("kernels/tiny/image", "another fake kernel");
    provide(&bench);
    let before = state(&bench.path("cache"));
    let listed = collect(&bench, &[]);
    assert!(listed.contains(name(&old)) && listed.contains("1 artefact would be removed"), "{listed}");
    assert_eq!(state(&bench.path("cache")), before, "`--gc` alone changed the cache");
    let removed = collect(&bench, &["--yes"]);
    assert!(removed.contains("1 artefact removed"), "{removed}");
    let [new] = entries(&bench, "kernels").try_into().unwrap();
    assert_ne!(new, old);
    provide(&bench);
    assert_eq!(collect(&bench, &[]), "nothing to remove\n");
}

#[test]
fn gc_keeps_what_another_project_needs_until_this_project_is_gone() {
    require!(program("mke2fs", "e2fsprogs"));
    let (bench, other) = (prepared(), Bench::new());
    other.study(&["ok"], "trials = 1", "");
    other.file("kernels/tiny/image", "the kernel of another project");
    let output = other.command(&["artifacts", "study.toml"]).env("MICROBENCH_CACHE", bench.path("cache")).output();
    assert!(output.unwrap().status.success());
    assert_eq!(entries(&bench, "kernels").len(), 2);
    assert_eq!(collect(&bench, &[]), "nothing to remove\n");
    drop(other);
    assert!(collect(&bench, &["--yes"]).contains("1 artefact removed"));
    assert_eq!(entries(&bench, "kernels").len(), 1);
    assert_eq!(fs::read_dir(bench.path("cache/projects")).unwrap().count(), 1);
}

#[test]
fn gc_keeps_every_artefact_of_a_description_that_cannot_be_read() {
    require!(program("mke2fs", "e2fsprogs"));
    let bench = prepared();
    bench.file("kernels/tiny/kernel.toml", "damaged");
    assert_eq!(collect(&bench, &["--yes"]), "nothing to remove\n");
    assert_eq!(entries(&bench, "kernels").len(), 1);
}

#[test]
fn gc_keeps_a_locked_artefact_and_removes_what_a_killed_build_left() {
    require!(program("mke2fs", "e2fsprogs"));
    let bench = prepared();
    let [old] = entries(&bench, "kernels").try_into().unwrap();
    bench.file("kernels/tiny/image", "another fake kernel");
    let unfinished = bench.file("cache/rootfs/tiny-0123456789abcdef.building/stage/file", "half");
    let being_built = bench.file("cache/rootfs/tiny-1123456789abcdef.building/stage/file", "half");
    let lock = |path: String| Flock::lock(File::create(path).unwrap(), FlockArg::LockExclusive).unwrap();
    let used = lock(format!("{}.lock", old.display()));
    let built = lock(bench.path("cache/rootfs/tiny-1123456789abcdef.lock").display().to_string());
    for more in [&[][..], &["--yes"]] {
        let said = collect(&bench, more);
        assert_eq!(said.matches("kept: another process builds or uses it").count(), 2, "{said}");
    }
    assert!(old.is_dir() && being_built.is_file() && !unfinished.exists());
    drop((used, built));
    assert!(collect(&bench, &["--yes"]).contains("2 artefacts removed"));
    assert!(!old.exists() && !being_built.exists());
}

#[test]
fn another_link_target_in_an_overlay_gives_another_image() {
    require!(program("mke2fs", "e2fsprogs"));
    let bench = prepared();
    let link = bench.path("rootfs/tiny/overlay/link");
    fs::create_dir(link.parent().unwrap()).unwrap();
    for (target, images) in [("/sbin/one", 2), ("/sbin/two", 3), ("/sbin/one", 3)] {
        drop(fs::remove_file(&link));
        symlink(target, &link).unwrap();
        provide(&bench);
        assert_eq!(entries(&bench, "rootfs").len(), images, "{target}");
    }
}

#[test]
fn gc_follows_no_link_and_leaves_other_files_of_the_cache() {
    require!(program("mke2fs", "e2fsprogs"));
    let bench = prepared();
    let outside = bench.file("outside/old-0123456789abcdef/note.toml", "version = \"1\"\norigin = \"x\"\n");
    let cache = bench.path("cache");
    symlink(bench.path("outside"), cache.join("packages")).unwrap();
    symlink(outside.parent().unwrap(), cache.join("kernels/old-0123456789abcdef")).unwrap();
    let others = ["cache/kernels/tools/file", "cache/venv-1.0/note.toml", "cache/kernels/old-1123456789abcdef/file"];
    for other in others {
        bench.file(other, "not an artefact");
    }
    assert_eq!(collect(&bench, &["--yes"]), "nothing to remove\n");
    bench.file("cache/kernels/old-1123456789abcdef/note.toml", "");
    symlink(outside.parent().unwrap(), cache.join("kernels/old-1123456789abcdef/link")).unwrap();
    assert!(collect(&bench, &["--yes"]).contains("1 artefact removed"));
    assert!(outside.is_file() && others[..2].iter().all(|other| bench.path(other).is_file()));
    assert!(!bench.path(others[2]).exists());
}

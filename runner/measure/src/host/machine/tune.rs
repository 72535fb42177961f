//! Tunes a machine for benchmarking, and restores the previous settings.
//!
//! All previous values are on disk before the first setting is changed, so that they can be restored after a crash.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microbench_formats::code::Code;
use serde::{Deserialize, Serialize};

use super::parse;
use super::tree::{MOUNTS, Tree};

/// A setting of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// A file of /proc or /sys.
    File(String),
    /// The options of a mount.
    Mount(String),
}

/// A setting with its value before tuning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreviousValue {
    pub setting: Setting,
    pub value: String,
}

/// A setting to change, with its new value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    previous: PreviousValue,
    value: String,
}

/// Result of changing a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Path of the file, or a description of the mount.
    pub place: String,
    /// The new value, or why it could not be set.
    pub result: Result<String, String>,
}

/// File of the previous values: `tuned.json` in [`state_folder`].
///
/// # Errors
/// If neither `XDG_STATE_HOME` nor `HOME` is set.
pub fn state_file() -> anyhow::Result<PathBuf> {
    Ok(state_folder()?.join("tuned.json"))
}

/// The folder `microbench` in the user's state folder, for facts about the machine that are kept between runs.
///
/// # Errors
/// If neither `XDG_STATE_HOME` nor `HOME` is set.
pub fn state_folder() -> anyhow::Result<PathBuf> {
    let folder = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/state"));
    let folder = folder.or_else(home).context("neither XDG_STATE_HOME nor HOME is set")?;
    Ok(folder.join("microbench"))
}

/// The settings of the machine of `tree` that tuning would change.
fn needed_changes(tree: &Tree) -> Vec<Change> {
    const CPUS: &str = "/sys/devices/system/cpu";
    let mut files: Vec<(String, &str)> = Vec::new();
    for cpu in tree.list_numbered(CPUS, "cpu") {
        files.push((format!("{CPUS}/{cpu}/cpufreq/scaling_governor"), "performance"));
    }
    files.push((format!("{CPUS}/intel_pstate/no_turbo"), "1"));
    files.push((format!("{CPUS}/cpufreq/boost"), "0"));
    files.push((format!("{CPUS}/smt/control"), "off"));
    files.push(("/sys/kernel/mm/ksm/run".into(), "0"));
    for (threshold, value) in [("gc_thresh1", "1024"), ("gc_thresh2", "4096"), ("gc_thresh3", "8192")] {
        files.push((format!("/proc/sys/net/ipv4/neigh/default/{threshold}"), value));
    }
    let mut changes: Vec<Change> = files
        .into_iter()
        .filter_map(|(path, value)| {
            let now = tree.read_trimmed(&path)?;
            // A larger neighbour table is kept. SMT that the machine does not support cannot be turned off.
            let larger = now.parse::<u64>().ok().zip(value.parse::<u64>().ok());
            let enough = path.contains("gc_thresh") && larger.is_some_and(|(now, value)| now >= value);
            let fixed = now.starts_with("not") || now == "forceoff";
            (now != value && !enough && !fixed).then(|| Change {
                previous: PreviousValue { setting: Setting::File(path), value: now },
                value: value.to_owned(),
            })
        })
        .collect();
    let mounts = tree.read(MOUNTS).map(|text| parse::mounts(&text)).unwrap_or_default();
    for mount in mounts.iter().filter(|mount| mount.kind == "cgroup2" && !mount.has("favordynmods")) {
        changes.push(Change {
            previous: PreviousValue { setting: Setting::Mount(mount.target.clone()), value: mount.options.clone() },
            value: format!("{},favordynmods", mount.options),
        });
    }
    changes
}

/// Tunes the machine of `tree`, after writing the previous values to the file `state`. Returns no outcome, and writes
/// no file, if nothing needs to change.
///
/// # Errors
/// [`Code::TunedAlready`] if `state` exists. `state` cannot be written.
pub fn tune(tree: &Tree, state: &Path) -> anyhow::Result<Vec<Outcome>> {
    if state.exists() {
        bail!(Code::TunedAlready.with_message(format!(
            "the machine is already tuned: {} exists; run `microbench doctor --restore` to restore the previous values",
            state.display()
        )));
    }
    let changes = needed_changes(tree);
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let previous: Vec<&PreviousValue> = changes.iter().map(|change| &change.previous).collect();
    save(state, &previous)?;
    Ok(changes.iter().map(|change| apply_setting(tree, &change.previous.setting, &change.value)).collect())
}

/// Restores the values in the file `state`, and removes the file if all values were restored.
///
/// # Errors
/// [`Code::NotTuned`] if `state` cannot be read. `state` is damaged or cannot be removed.
pub fn restore(tree: &Tree, state: &Path) -> anyhow::Result<Vec<Outcome>> {
    let text = fs::read(state).with_context(|| {
        Code::NotTuned.with_message(format!(
            "cannot read {}: this machine was not tuned by `microbench doctor --tune`",
            state.display()
        ))
    })?;
    let previous: Vec<PreviousValue> =
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", state.display()))?;
    // In reverse order, because one setting may limit the value of a later one.
    let outcomes: Vec<Outcome> =
        previous.iter().rev().map(|change| apply_setting(tree, &change.setting, &change.value)).collect();
    if outcomes.iter().all(|outcome| outcome.result.is_ok()) {
        fs::remove_file(state).with_context(|| format!("cannot remove {}", state.display()))?;
    }
    Ok(outcomes)
}

fn apply_setting(tree: &Tree, setting: &Setting, value: &str) -> Outcome {
    let (place, done) = match setting {
        Setting::File(path) => (path.clone(), tree.write(path, &format!("{value}\n"))),
        Setting::Mount(target) => (format!("mount options of {target}"), tree.remount(target, value)),
    };
    Outcome { place, result: done.map(|()| value.to_owned()).map_err(|error| error.to_string()) }
}

/// Writes the file `state` atomically. Its content and name are on disk on return; an existing file is an error.
fn save(state: &Path, previous: &[&PreviousValue]) -> anyhow::Result<()> {
    let context = || format!("cannot write {}", state.display());
    let folder = state.parent().context("the state file has no folder")?;
    fs::create_dir_all(folder).with_context(context)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(context)?;
    file.write_all(&serde_json::to_vec_pretty(previous)?)
        .and_then(|()| file.as_file().sync_all())
        .with_context(context)?;
    file.persist_noclobber(state).with_context(context)?;
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(context)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const FILES: [(&str, &str); 8] = [
        ("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n"),
        ("/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "schedutil\n"),
        ("/sys/devices/system/cpu/intel_pstate/no_turbo", "0\n"),
        ("/sys/devices/system/cpu/smt/control", "on\n"),
        ("/sys/kernel/mm/ksm/run", "1\n"),
        ("/proc/sys/net/ipv4/neigh/default/gc_thresh1", "128\n"),
        ("/proc/sys/net/ipv4/neigh/default/gc_thresh3", "100000\n"),
        (MOUNTS, "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nsdelegate 0 0\n"),
    ];

    struct Machine {
        folder: tempfile::TempDir,
        tree: Tree,
        state: PathBuf,
    }

    impl Machine {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            for (path, text) in FILES {
                let path = folder.path().join(path.trim_start_matches('/'));
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            let (tree, state) = (Tree::new(folder.path()), folder.path().join("state/tuned.json"));
            Self { folder, tree, state }
        }

        fn all(&self) -> BTreeMap<&'static str, String> {
            FILES.iter().map(|(path, _)| (*path, self.tree.read(path).unwrap())).collect()
        }
    }

    #[test]
    fn restore_writes_back_the_exact_previous_values() {
        let machine = Machine::new();
        let before = machine.all();
        let outcomes = tune(&machine.tree, &machine.state).unwrap();
        assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{outcomes:?}");
        let tuned = machine.all();
        assert_eq!(tuned[FILES[0].0], "performance\n");
        assert_eq!((tuned[FILES[2].0].as_str(), tuned[FILES[4].0].as_str()), ("1\n", "0\n"));
        assert!(tuned[MOUNTS].contains("nsdelegate,favordynmods"));
        // Larger than required: not changed.
        assert_eq!(tuned[FILES[6].0], "100000\n");
        restore(&machine.tree, &machine.state).unwrap();
        assert_eq!(machine.all(), before);
        assert!(!machine.state.exists() && restore(&machine.tree, &machine.state).is_err());
    }

    #[test]
    fn second_tuning_is_refused_and_keeps_the_first_values() {
        let machine = Machine::new();
        let before = machine.all();
        tune(&machine.tree, &machine.state).unwrap();
        let refused = tune(&machine.tree, &machine.state).unwrap_err().to_string();
        assert!(refused.contains("doctor --restore"), "{refused}");
        restore(&machine.tree, &machine.state).unwrap();
        assert_eq!(machine.all(), before);
    }

    #[test]
    fn restore_works_after_a_crash_at_any_change() {
        let count = needed_changes(&Machine::new().tree).len();
        for done in 0..=count {
            let machine = Machine::new();
            let before = machine.all();
            let changes = needed_changes(&machine.tree);
            save(&machine.state, &changes.iter().map(|change| &change.previous).collect::<Vec<_>>()).unwrap();
            for change in &changes[..done] {
                assert!(apply_setting(&machine.tree, &change.previous.setting, &change.value).result.is_ok());
            }
            restore(&machine.tree, &machine.state).unwrap();
            assert_eq!(machine.all(), before, "after {done} changes");
        }
    }

    #[test]
    fn restore_reports_a_failure_and_keeps_the_state_file() {
        let machine = Machine::new();
        tune(&machine.tree, &machine.state).unwrap();
        fs::remove_file(machine.folder.path().join("sys/kernel/mm/ksm/run")).unwrap();
        let outcomes = restore(&machine.tree, &machine.state).unwrap();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.result.is_err()).count(), 1);
        assert!(machine.state.exists());
    }
}

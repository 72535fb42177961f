//! Sets a machine up for measuring, and puts back what was there before.
//!
//! The previous values are on disk before the first one is changed, so that a crash at any moment can be undone; what is put back
//! is what was there, not what somebody thinks it should be.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microbench_formats::code::Code;
use serde::{Deserialize, Serialize};

use super::parse;
use super::tree::{MOUNTS, Tree};

/// One thing that can be set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Setting {
    /// A file of /proc or /sys.
    File(String),
    /// The options of a mount.
    Mount(String),
}

/// What was there before a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// What was changed.
    pub setting: Setting,
    /// Its value then.
    pub value: String,
}

/// A change that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    before: Before,
    value: String,
}

/// What became of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Where it is.
    pub place: String,
    /// The value that it has now, or why it could not be set.
    pub result: Result<String, String>,
}

/// Where the previous values are kept: `tuned.json` in [`state_folder`].
///
/// # Errors
/// When the user has no such folder.
pub fn state_file() -> anyhow::Result<PathBuf> {
    Ok(state_folder()?.join("tuned.json"))
}

/// The folder `microbench` in the user's folder for state: what is known of a machine from one run to the next.
///
/// # Errors
/// When the user has no such folder.
pub fn state_folder() -> anyhow::Result<PathBuf> {
    let folder = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/state"));
    let folder = folder.or_else(home).context("neither XDG_STATE_HOME nor HOME is set")?;
    Ok(folder.join("microbench"))
}

/// What should be otherwise on the machine of `tree`, with what is there now.
fn wanted(tree: &Tree) -> Vec<Wanted> {
    const CPUS: &str = "/sys/devices/system/cpu";
    let mut files: Vec<(String, &str)> = Vec::new();
    for cpu in tree.numbered(CPUS, "cpu") {
        files.push((format!("{CPUS}/{cpu}/cpufreq/scaling_governor"), "performance"));
    }
    files.push((format!("{CPUS}/intel_pstate/no_turbo"), "1"));
    files.push((format!("{CPUS}/cpufreq/boost"), "0"));
    files.push((format!("{CPUS}/smt/control"), "off"));
    files.push(("/sys/kernel/mm/ksm/run".into(), "0"));
    for (threshold, value) in [("gc_thresh1", "1024"), ("gc_thresh2", "4096"), ("gc_thresh3", "8192")] {
        files.push((format!("/proc/sys/net/ipv4/neigh/default/{threshold}"), value));
    }
    let mut all: Vec<Wanted> = files
        .into_iter()
        .filter_map(|(path, value)| {
            let now = tree.word(&path)?;
            // A table that is larger already is left alone; SMT that cannot be had cannot be turned off.
            let larger = now.parse::<u64>().ok().zip(value.parse::<u64>().ok());
            let enough = path.contains("gc_thresh") && larger.is_some_and(|(now, value)| now >= value);
            let fixed = now.starts_with("not") || now == "forceoff";
            (now != value && !enough && !fixed).then(|| Wanted {
                before: Before { setting: Setting::File(path), value: now },
                value: value.to_owned(),
            })
        })
        .collect();
    let mounts = tree.read(MOUNTS).map(|text| parse::mounts(&text)).unwrap_or_default();
    for mount in mounts.iter().filter(|mount| mount.kind == "cgroup2" && !mount.has("favordynmods")) {
        all.push(Wanted {
            before: Before { setting: Setting::Mount(mount.target.clone()), value: mount.options.clone() },
            value: format!("{},favordynmods", mount.options),
        });
    }
    all
}

/// Sets the machine of `tree` up. The previous values are in `state` first, on disk.
///
/// # Errors
/// When `state` is there already (the machine is tuned, and what was there before is in it), or cannot be written.
pub fn tune(tree: &Tree, state: &Path) -> anyhow::Result<Vec<Outcome>> {
    if state.exists() {
        bail!(Code::TunedAlready.says(format!(
            "{} is there: the machine is tuned already; `microbench doctor --restore` puts the previous values back",
            state.display()
        )));
    }
    let wanted = wanted(tree);
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let before: Vec<&Before> = wanted.iter().map(|one| &one.before).collect();
    save(state, &before)?;
    Ok(wanted.iter().map(|one| set(tree, &one.before.setting, &one.value)).collect())
}

/// Puts back what `state` says was there, and removes it once all of it is.
///
/// # Errors
/// When there is no such file, or it cannot be read or removed.
pub fn restore(tree: &Tree, state: &Path) -> anyhow::Result<Vec<Outcome>> {
    let text = fs::read(state).with_context(|| {
        Code::NotTuned.says(format!("cannot read {}: this machine was not tuned by `doctor --tune`", state.display()))
    })?;
    let before: Vec<Before> =
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", state.display()))?;
    // In the opposite order, as a sysctl may have to be no larger than its neighbour.
    let outcomes: Vec<Outcome> = before.iter().rev().map(|one| set(tree, &one.setting, &one.value)).collect();
    if outcomes.iter().all(|outcome| outcome.result.is_ok()) {
        fs::remove_file(state).with_context(|| format!("cannot remove {}", state.display()))?;
    }
    Ok(outcomes)
}

fn set(tree: &Tree, setting: &Setting, value: &str) -> Outcome {
    let (place, done) = match setting {
        Setting::File(path) => (path.clone(), tree.write(path, &format!("{value}\n"))),
        Setting::Mount(target) => (format!("mount options of {target}"), tree.remount(target, value)),
    };
    Outcome { place, result: done.map(|()| value.to_owned()).map_err(|error| error.to_string()) }
}

/// Writes `state` whole or not at all, and waits until it is on disk with its name.
fn save(state: &Path, before: &[&Before]) -> anyhow::Result<()> {
    let context = || format!("cannot write {}", state.display());
    let folder = state.parent().context("the state file has no folder")?;
    fs::create_dir_all(folder).with_context(context)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(context)?;
    file.write_all(&serde_json::to_vec_pretty(before)?)
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
            let (tree, state) = (Tree::at(folder.path()), folder.path().join("state/tuned.json"));
            Self { folder, tree, state }
        }

        fn all(&self) -> BTreeMap<&'static str, String> {
            FILES.iter().map(|(path, _)| (*path, self.tree.read(path).unwrap())).collect()
        }
    }

    #[test]
    fn what_is_tuned_is_put_back_to_the_byte() {
        let machine = Machine::new();
        let before = machine.all();
        let outcomes = tune(&machine.tree, &machine.state).unwrap();
        assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{outcomes:?}");
        let tuned = machine.all();
        assert_eq!(tuned[FILES[0].0], "performance\n");
        assert_eq!((tuned[FILES[2].0].as_str(), tuned[FILES[4].0].as_str()), ("1\n", "0\n"));
        assert!(tuned[MOUNTS].contains("nsdelegate,favordynmods"));
        // Larger than it need be: left alone.
        assert_eq!(tuned[FILES[6].0], "100000\n");
        restore(&machine.tree, &machine.state).unwrap();
        assert_eq!(machine.all(), before);
        assert!(!machine.state.exists() && restore(&machine.tree, &machine.state).is_err());
    }

    #[test]
    fn a_second_tuning_does_not_lose_the_first_values() {
        let machine = Machine::new();
        let before = machine.all();
        tune(&machine.tree, &machine.state).unwrap();
        let refused = tune(&machine.tree, &machine.state).unwrap_err().to_string();
        assert!(refused.contains("doctor --restore"), "{refused}");
        restore(&machine.tree, &machine.state).unwrap();
        assert_eq!(machine.all(), before);
    }

    /// A crash after any number of changes: the file is there before the first of them.
    #[test]
    fn a_crash_on_the_way_can_be_undone() {
        let changes = wanted(&Machine::new().tree).len();
        for done in 0..=changes {
            let machine = Machine::new();
            let before = machine.all();
            let wanted = wanted(&machine.tree);
            save(&machine.state, &wanted.iter().map(|one| &one.before).collect::<Vec<_>>()).unwrap();
            for one in &wanted[..done] {
                assert!(set(&machine.tree, &one.before.setting, &one.value).result.is_ok());
            }
            restore(&machine.tree, &machine.state).unwrap();
            assert_eq!(machine.all(), before, "after {done} changes");
        }
    }

    #[test]
    fn what_cannot_be_set_is_said_and_stays_to_be_put_back() {
        let machine = Machine::new();
        tune(&machine.tree, &machine.state).unwrap();
        fs::remove_file(machine.folder.path().join("sys/kernel/mm/ksm/run")).unwrap();
        let outcomes = restore(&machine.tree, &machine.state).unwrap();
        assert_eq!(outcomes.iter().filter(|outcome| outcome.result.is_err()).count(), 1);
        assert!(machine.state.exists());
    }
}

//! Code that runs while a trial is timed is built with optimisation, also in the development profile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Lowest `opt-level` that counts as optimised.
const OPTIMISED: u64 = 2;

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// The packages of the workspace and their dependencies, as cargo resolves them.
pub(crate) struct Packages {
    names: BTreeMap<String, String>,
    dependencies: BTreeMap<String, Vec<String>>,
}

impl Packages {
    pub(crate) fn of_this_workspace() -> Self {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked", "--offline"])
            .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
            .current_dir(workspace())
            .output()
            .expect("cargo starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let names = list(&metadata["packages"]).iter().map(|one| (text(&one["id"]), text(&one["name"]))).collect();
        let mut dependencies: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let normal = |one: &Value| list(&one["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
            let of = list(&node["deps"]).into_iter().filter(normal).map(|one| text(&one["pkg"]));
            dependencies.insert(text(&node["id"]), of.collect());
        }
        Self { names, dependencies }
    }

    fn id(&self, name: &str) -> &String {
        self.names.iter().find(|(_, own)| *own == name).unwrap_or_else(|| panic!("no package {name}")).0
    }

    /// Direct dependencies of `name`.
    pub(crate) fn direct(&self, name: &str) -> BTreeSet<String> {
        self.dependencies[self.id(name)].iter().map(|id| self.names[id].clone()).collect()
    }

    /// Direct and indirect dependencies of `name`, and `name` itself.
    pub(crate) fn needed_by(&self, name: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut todo = vec![self.id(name)];
        while let Some(id) = todo.pop() {
            if found.insert(id) {
                todo.extend(&self.dependencies[id]);
            }
        }
        found.into_iter().map(|id| self.names[id].clone()).collect()
    }
}

/// `opt-level` of the development profile: of the profile, and of packages with their own.
fn levels() -> (u64, BTreeMap<String, u64>) {
    let text = std::fs::read_to_string(workspace().join("Cargo.toml")).unwrap();
    let manifest: Value = toml::from_str(&text).unwrap();
    let dev = &manifest["profile"]["dev"];
    let level = |profile: &Value| profile["opt-level"].as_u64();
    let packages = dev["package"].as_object().unwrap().iter();
    let of_packages = packages.filter_map(|(name, profile)| Some((name.clone(), level(profile)?)));
    (level(dev).unwrap_or(0), of_packages.collect())
}

#[test]
fn measuring_code_is_built_optimised() {
    let (own, of_packages) = levels();
    let of_others = of_packages.get("*").copied().unwrap_or(own);
    assert!(own >= OPTIMISED && of_others >= OPTIMISED, "the profile is not optimised");
    let measuring = Packages::of_this_workspace().needed_by("microbench-measure");
    let slow: Vec<&String> = of_packages
        .iter()
        .filter(|(name, level)| **level < OPTIMISED && measuring.contains(*name))
        .map(|x| x.0)
        .collect();
    assert!(slow.is_empty(), "built without optimisation, but not of the analysis alone: {slow:?}");
    assert!(measuring.contains("tokio") && measuring.contains("microbench-agent"));
}

/// An environment variable or a configuration file of cargo may override the profile.
#[test]
fn this_build_is_optimised() {
    let level = microbench_measure::OPT_LEVEL;
    assert!(level.parse().is_ok_and(|level: u64| level >= OPTIMISED), "opt-level = {level}");
}

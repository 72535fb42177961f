//! The checked-in JSON Schema, and the manifests that name it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Bench, text};

fn experiments() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments")
}

#[test]
fn the_checked_in_schema_is_that_of_the_code() {
    let made = text(&Bench::new().run(&["schema"]).stdout);
    let kept = fs::read_to_string(experiments().join("microbench.schema.json")).unwrap_or_default();
    assert!(
        made == kept,
        "experiments/microbench.schema.json is not what the code says; make it anew by\n\n    \
         make build && target/debug/microbench schema > experiments/microbench.schema.json\n"
    );
}

#[test]
fn every_shipped_manifest_names_the_schema_and_is_right_by_it() {
    let schema = fs::read_to_string(experiments().join("microbench.schema.json")).unwrap();
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("file:///schema.json", serde_json::from_str(&schema).unwrap()).unwrap();
    let schema = compiler.compile("file:///schema.json", &mut schemas).unwrap();
    let mut seen = 0;
    for entry in fs::read_dir(experiments()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let named = source.lines().next().and_then(|line| line.strip_prefix("#:schema "));
        let named = named.unwrap_or_else(|| panic!("{} names no schema on its first line", path.display()));
        assert!(experiments().join(named).is_file(), "{}: there is no {named}", path.display());
        let manifest: serde_json::Value = toml::from_str(&source).unwrap();
        schemas.validate(&manifest, schema).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        seen += 1;
    }
    assert!(seen >= 3, "{seen} manifests");
}

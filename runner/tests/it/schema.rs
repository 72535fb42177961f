//! The checked-in JSON Schema, and the manifests that refer to it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{Bench, text};

fn experiments() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments")
}

/// Validates the text of a manifest by the schema in the file `schema`. The error is a message.
pub(crate) fn check(schema: &Path, source: &str) -> Result<(), String> {
    let schema = fs::read_to_string(schema).map_err(|error| error.to_string())?;
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    let schema = serde_json::from_str(&schema).map_err(|error| error.to_string())?;
    compiler.add_resource("file:///schema.json", schema).map_err(|error| error.to_string())?;
    let schema = compiler.compile("file:///schema.json", &mut schemas).map_err(|error| error.to_string())?;
    let manifest: serde_json::Value = toml::from_str(source).map_err(|error| error.to_string())?;
    schemas.validate(&manifest, schema).map_err(|error| error.to_string())
}

#[test]
fn checked_in_schema_is_up_to_date() {
    let made = text(&Bench::new().run(&["schema"]).stdout);
    let kept = fs::read_to_string(experiments().join("microbench.schema.json")).unwrap_or_default();
    assert!(
        made == kept,
        "experiments/microbench.schema.json is out of date; generate it with\n\n    \
         make build && target/debug/microbench schema > experiments/microbench.schema.json\n"
    );
}

#[test]
fn every_shipped_manifest_names_the_schema_and_satisfies_it() {
    let mut seen = 0;
    for entry in fs::read_dir(experiments()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let named = source.lines().next().and_then(|line| line.strip_prefix("#:schema "));
        let named = named.unwrap_or_else(|| panic!("{} names no schema on its first line", path.display()));
        assert!(experiments().join(named).is_file(), "{}: {named} does not exist", path.display());
        check(&experiments().join(named), &source).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        seen += 1;
    }
    assert!(seen >= 3, "{seen} manifests");
}

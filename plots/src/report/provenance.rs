//! Provenance of a run: `host.json`, artefacts, digests of its files.

use std::io::{ErrorKind, Read};
use std::path::Path;

use microbench_formats::build::Build;
use microbench_formats::input;
use microbench_formats::plan::Protocol;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Fact, Input};
use crate::Error;
use crate::file::io_error_at;
use crate::journal::Session;

/// The files that all results derive from, and the samples.
const FILES: [&str; 7] =
    ["manifest.toml", "plan.json", "engines.json", "lock.toml", "host.json", "journal.ndjson", "samples.parquet"];

/// A file of the run with its digest.
#[derive(Serialize)]
pub(super) struct File {
    name: &'static str,
    bytes: u64,
    pub(super) sha256: String,
}

/// An artefact of the run.
#[derive(Serialize)]
pub(super) struct Artifact {
    kind: String,
    name: String,
    version: String,
    bytes: String,
    sha256: String,
    origin: String,
}

/// The digests of [`FILES`], without files that the run does not have.
pub(super) fn files(run: &Path) -> Result<Vec<File>, Error> {
    let mut files = Vec::new();
    for name in FILES {
        let path = run.join(name);
        let mut file = match input::open_no_link(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(io_error_at(&path)(error)),
        };
        let (mut digest, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
        loop {
            match file.read(&mut buffer).map_err(io_error_at(&path))? {
                0 => break,
                n => {
                    digest.update(&buffer[..n]);
                    bytes += n as u64;
                }
            }
        }
        files.push(File { name, bytes, sha256: hex::encode(digest.finalize()) });
    }
    Ok(files)
}

/// A field of an object as text; `None` if it is missing or null.
fn field_text(value: &Value, name: &str) -> Option<String> {
    match value.get(name)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The machine in one line: CPU, kernel, fingerprint. Empty if `host.json` has none of them.
pub(super) fn machine(host: &Value) -> String {
    let machine_field =
        |group: &str, name: &str| host.get("machine")?.get(group).and_then(|group| field_text(group, name));
    let parts = [
        machine_field("cpu", "model_name"),
        machine_field("cpu", "online").map(|n| format!("{n} CPUs")),
        machine_field("kernel", "release").map(|release| format!("Linux {release}")),
        field_text(host, "fingerprint").map(|fingerprint| format!("host fingerprint {fingerprint}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// All leaves of an object, named by their paths, such as `cpu.model_name`.
pub(super) fn facts(value: &Value) -> Vec<Fact> {
    fn walk(value: &Value, path: &str, out: &mut Vec<Fact>) {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        let mut fact = |value: String| out.push(Fact { name: path.to_owned(), value });
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| walk(value, &below(name), out)),
            Value::Array(items) if items.iter().any(Value::is_object) => {
                items.iter().enumerate().for_each(|(index, item)| walk(item, &below(&index.to_string()), out));
            }
            Value::Array(items) if items.is_empty() => fact("none".to_owned()),
            Value::Array(items) => {
                let texts = items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned));
                fact(texts.collect::<Vec<_>>().join(", "));
            }
            Value::Null => fact("unknown".to_owned()),
            Value::String(text) => fact(text.clone()),
            other => fact(other.to_string()),
        }
    }
    let mut out = Vec::new();
    if !value.is_null() {
        walk(value, "", &mut out);
    }
    out
}

/// Study, seed, protocol, program version, host.
pub(super) fn origin(input: &Input<'_>, host: &Value) -> Vec<Fact> {
    let unknown = || "not recorded".to_owned();
    let plan = input.plan;
    let protocol = match plan.protocol {
        Protocol::AsWritten => "as-written",
        Protocol::AsCoded => "as-coded",
        Protocol::Corrected => "corrected",
    };
    let versions: Vec<String> = input.journal.sessions.iter().map(|session| session.version.clone()).collect();
    let builds = Build::distinct(input.journal.sessions.iter().filter_map(|session| session.build.as_ref()));
    let joined = |of: fn(&Build) -> String| {
        let all: Vec<String> = builds.iter().map(|build| of(build)).collect();
        if all.is_empty() { unknown() } else { all.join("; ") }
    };
    let mut facts: Vec<Fact> = [
        ("Study", plan.study.clone()),
        ("Seed", plan.seed.to_string()),
        ("Protocol", protocol.to_owned()),
        ("Profile", if plan.profile.is_empty() { "none".to_owned() } else { plan.profile.clone() }),
        ("microbench", if versions.is_empty() { unknown() } else { versions.join(", ") }),
        ("Built from", joined(Build::source)),
        ("Build", joined(Build::compiler)),
        ("microbench SHA-256", field_text(host, "microbench_sha256").unwrap_or_else(unknown)),
        ("Fingerprint", field_text(host, "fingerprint").unwrap_or_else(unknown)),
        ("File system", field_text(host, "file_system").unwrap_or_else(unknown)),
        ("Disk cloning", field_text(host, "clone_method").unwrap_or_else(unknown)),
    ]
    .map(|(name, value)| Fact { name: name.to_owned(), value })
    .into();
    facts.extend(emulated_host_program(host, &builds));
    facts
}

/// A sentence for a run whose program cannot be built again from a commit; empty for other runs.
pub(super) fn unclean_build(sessions: &[Session]) -> String {
    let builds = || sessions.iter().filter_map(|session| session.build.as_ref());
    if builds().any(|build| build.commit.is_none()) {
        return "microbench was built from an unknown commit, so its sources cannot be identified.".to_owned();
    }
    match builds().find(|build| build.dirty != Some(false)) {
        Some(build) => format!("microbench was built from {}.", build.source()),
        None => String::new(),
    }
}

/// The program in the emulated host; empty for a run without an emulated host.
fn emulated_host_program(host: &Value, builds: &[&Build]) -> Vec<Fact> {
    let sha256 = field_text(host, "emulated_host_sha256");
    let build = host.get("emulated_host_build").and_then(|build| serde_json::from_value::<Build>(build.clone()).ok());
    let build = build.map(|build| {
        let same = if builds == [&build] { "as microbench: " } else { "" };
        format!("{same}{}, {}", build.source(), build.compiler())
    });
    let fact = |name: &str, value: String| Fact { name: format!("microbench-emulated-host {name}"), value };
    let facts = [sha256.map(|value| fact("SHA-256", value)), build.map(|value| fact("build", value))];
    facts.into_iter().flatten().collect()
}

/// The artefacts listed in `host.json`.
pub(super) fn artifacts(host: &Value) -> Vec<Artifact> {
    let all = host.get("artifacts").and_then(Value::as_array);
    let field_of =
        |artifact: &Value, name: &str| field_text(artifact, name).unwrap_or_else(|| "not recorded".to_owned());
    (all.into_iter().flatten())
        .map(|artifact| Artifact {
            kind: field_of(artifact, "kind"),
            name: field_of(artifact, "name"),
            version: field_of(artifact, "version"),
            bytes: field_of(artifact, "bytes"),
            sha256: field_of(artifact, "sha256"),
            origin: field_of(artifact, "origin"),
        })
        .collect()
}

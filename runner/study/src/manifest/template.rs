//! The template of a manifest that `microbench new` writes.
//!
//! A key that is commented out has no space after its `#`: removing the `#` enables it.

use std::fmt::Write;

use microbench_formats::axis::Level;

use crate::engine::description::Engine;
use crate::manifest::keys::{self, Key};
use crate::manifest::{BuiltIn, GUEST};

/// Columns of a comment.
const WIDTH: usize = 100;
/// Memory of one VM in MiB: enough for the project's guests, and small enough for many VMs.
const MEMORY_MIB: u32 = 128;
/// Prefix of the metrics of start-up phases.
const PHASE: &str = "phase_";

/// The parts of a new manifest.
#[derive(Clone, Debug)]
pub struct ManifestTemplate<'a> {
    /// Name of the study.
    pub name: &'a str,
    /// Each becomes a variant.
    pub engines: Vec<&'a Engine>,
    /// Each gets a figure; start-up phases share a figure of stacked bars.
    pub metrics: Vec<&'a BuiltIn>,
    /// Name of the guest kernel.
    pub kernel: &'a str,
    /// Name of the root file system.
    pub rootfs: &'a str,
    /// Path of the JSON Schema for the first line.
    pub schema: &'a str,
    /// Path of the manifest for the commands in its comment.
    pub file: &'a str,
}

impl ManifestTemplate<'_> {
    /// The text of the manifest.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = format!("#:schema {}\n", self.schema);
        self.head(&mut text);
        self.guest(&mut text);
        self.variants(&mut text);
        self.matrix(&mut text);
        self.metrics(&mut text);
        self.figures(&mut text);
        self.claims(&mut text);
        text
    }

    fn head(&self, text: &mut String) {
        let titles: Vec<&str> = self.engines.iter().map(|engine| engine.title.as_str()).collect();
        comment(
            text,
            "A study, created by `microbench new`. Edit it from top to bottom. A line that begins with `#key` is a \
             default or an \
             example: remove the # to use it.",
        );
        let _ = write!(
            text,
            "#\n#     microbench plan {file}      print the plan; start nothing\n#     microbench run {file}       \
             run the trials; print the run's folder\n\n[study]\n",
            file = self.file
        );
        key_comment(text, keys::STUDY, "name");
        let _ = writeln!(text, "name = {:?}", self.name);
        key_comment(text, keys::STUDY, "title");
        let _ = writeln!(text, "title = {:?}", titles.join(" and "));
        key_comment(text, keys::STUDY, "seed");
        text.push_str("seed = 1\n");
        for (name, example) in [
            ("authors", "[\"Lovelace, Ada <ada@example.org> (https://orcid.org/0000-0002-1825-0097)\"]"),
            ("license", "\"CC-BY-4.0\""),
            ("doi", "\"10.5281/zenodo.1234567\""),
        ] {
            key_comment(text, keys::STUDY, name);
            let _ = writeln!(text, "#{name} = {example}");
        }
        key_comment(text, keys::STUDY, "across_host_cpus");
        text.push_str("#across_host_cpus = false\n");
    }

    fn guest(&self, text: &mut String) {
        text.push('\n');
        key_comment(text, keys::MANIFEST, "guest");
        text.push_str("[guest]\n");
        for setting in GUEST {
            comment(text, setting.doc);
            let given = match setting.name {
                "kernel" => Some(format!("{:?}", self.kernel)),
                "rootfs" => Some(format!("{:?}", self.rootfs)),
                "memory_mib" => Some(MEMORY_MIB.to_string()),
                _ => None,
            };
            let _ = match (given, setting.default) {
                (Some(value), _) => writeln!(text, "{} = {value}", setting.name),
                (None, Some(default)) => writeln!(text, "#{} = {}", setting.name, toml_value(&default.into())),
                (None, None) => Ok(()),
            };
        }
    }

    fn variants(&self, text: &mut String) {
        text.push('\n');
        key_comment(text, keys::MANIFEST, "variants");
        for engine in &self.engines {
            let _ = writeln!(
                text,
                "[variants.{}]\nlabel = {:?}\nengine = {:?}",
                variant_key(engine),
                engine.title,
                engine.name
            );
            for (name, setting) in &engine.settings {
                comment(text, &setting.doc);
                let _ = writeln!(text, "#{name} = {}", toml_value(&setting.default));
            }
            text.push('\n');
        }
        if let Some(engine) = self.engines.last() {
            comment(
                text,
                "Add a table for each further configuration, with its different settings: any setting of [guest] or \
                 of the engine.",
            );
            let (short, title) = (variant_key(engine), &engine.title);
            let _ = writeln!(
                text,
                "#[variants.{short}-2cpu]\n#label = \"{title}, 2 vCPUs\"\n#engine = {:?}\n#vcpus = 2",
                engine.name
            );
        }
    }

    fn matrix(&self, text: &mut String) {
        text.push('\n');
        key_comment(text, keys::MANIFEST, "matrix");
        text.push_str("[matrix]\n");
        key_comment(text, keys::MATRIX, "concurrency");
        text.push_str("concurrency = [1]\n");
        comment(
            text,
            "Any setting can be an axis: list its levels. For a sweep of memory, enable this line and `groups = \
             \"memory_mib\"` in the \
             figures below.",
        );
        text.push_str("#memory_mib = [128, 256, 512]\n");
        key_comment(text, keys::MATRIX, "trials");
        text.push_str("trials = 10\n");
        key_comment(text, keys::MATRIX, "repetitions");
        text.push_str("#repetitions = 5\n");
        key_comment(text, keys::MATRIX, "warmup");
        text.push_str("#warmup = true\n");
        key_comment(text, keys::MATRIX, "max_consecutive_failures");
        text.push_str("#max_consecutive_failures = 5\n");
        key_comment(text, keys::MATRIX, "exclude");
        text.push_str("#exclude = []\n");
    }

    fn metrics(&self, text: &mut String) {
        text.push('\n');
        key_comment(text, keys::MANIFEST, "metrics");
        text.push_str("[metrics]\n");
        for metric in &self.metrics {
            comment(text, &format!("{}. {}", metric.label, metric.definition()));
            let _ = writeln!(text, "{} = {{}}", metric.name);
        }
        comment(
            text,
            "Define other metrics as a span between two events, a reading, or a workload of the guest. `better` is \
             the better direction \
             of the values (`lower`, `higher` or `neither`), if the source does not define it:",
        );
        text.push_str(
            "#agent_time = { from = \"spawn\", to = \"agent.ready\" }\n\
             #messages = { reading = \"kernel.messages\", better = \"lower\" }\n\
             #shutdown_time = { gate = { margin = 0.02, floor = 1.0 } }\n\
             #hash_16m = { workload = { kind = \"sha256\", bytes = \"16 MiB\", rounds = 10 } }\n",
        );
    }

    fn figures(&self, text: &mut String) {
        text.push('\n');
        comment(
            text,
            "Figures: `microbench plot RUN` draws them as SVG and PNG. Use each axis with several levels as x, \
             groups or panels, or \
             select one of its levels by `where`, so that no bar pools different levels.",
        );
        let phases: Vec<&str> =
            self.metrics.iter().map(|metric| metric.name).filter(|name| name.starts_with(PHASE)).collect();
        let stacked = phases.len() > 1;
        for metric in self.metrics.iter().filter(|metric| !stacked || !phases.contains(&metric.name)) {
            let _ = writeln!(
                text,
                "[figures.{name}]\nform = \"grouped-bars\"\ntitle = {:?}\nmetric = {name:?}\nx = \
                 \"variant\"\n#groups = \"memory_mib\"\n",
                metric.label,
                name = metric.name
            );
        }
        if stacked {
            let _ = writeln!(
                text,
                "[figures.phases]\nform = \"stacked-bars\"\ntitle = \"Phases\"\nmetrics = {phases:?}\nx = \
                 \"variant\"\n#panels = \"memory_mib\"\n"
            );
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }

    fn claims(&self, text: &mut String) {
        let Some(metric) = self.metrics.first() else { return };
        text.push('\n');
        key_comment(text, keys::MANIFEST, "claims");
        comment(text, "With `gate`, `analyze --gate` and `compare --gate` exit with 4 if the claim is contradicted.");
        let name = metric.name;
        let _ = write!(
            text,
            "#[[claims]]\n#name = \"limit\"\n#text = \"Nine of ten VMs are ready within half a second.\"\n#metric = {name:?}\n\
             #value = {{}}\n#statistic = \"p90\"\n#expect = \"< 500\"\n#gate = true\n"
        );
    }
}

/// The key of an engine's variant.
fn variant_key(engine: &Engine) -> &str {
    engine.short.as_deref().unwrap_or(&engine.name)
}

/// Adds the description of a key as a comment.
fn key_comment(text: &mut String, keys: &[Key], name: &str) {
    if let Some(key) = keys.iter().find(|key| key.name == name) {
        comment(text, key.doc);
    }
}

/// Adds a sentence as comment lines.
fn comment(text: &mut String, sentence: &str) {
    let mut line = String::from("#");
    for word in split_words(sentence) {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(&word);
    }
    text.push_str(&line);
    text.push('\n');
}

/// The words of a sentence. A text in back-ticks is one word.
fn split_words(sentence: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut quoted = false;
    for word in sentence.split_whitespace() {
        match words.last_mut() {
            Some(last) if quoted => {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.into()),
        }
        quoted ^= word.matches('`').count() % 2 == 1;
    }
    words
}

/// A value in TOML syntax.
fn toml_value(level: &Level) -> String {
    match level {
        Level::Text(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

/// A copy of the manifest `source` with another name and schema path.
///
/// Only the first `name` of `[study]` and the first line are changed.
#[must_use]
pub fn copy_with_name(source: &str, name: &str, schema: &str) -> String {
    let body = source.trim_start_matches('\u{feff}');
    let body = match body.split_once('\n') {
        Some((first, rest)) if first.starts_with("#:schema") => rest,
        _ => body,
    };
    let (mut in_study, mut done) = (false, false);
    let mut text = format!("#:schema {schema}\n");
    for line in body.split_inclusive('\n') {
        let trimmed = line.trim();
        if trimmed.starts_with('[') {
            in_study = trimmed.starts_with("[study]");
        }
        let key = trimmed.split_once('=').map(|(key, _)| key.trim());
        if in_study && !done && key == Some("name") {
            let _ = writeln!(text, "name = {name:?}");
            done = true;
        } else {
            text.push_str(line);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{copy_with_name, split_words};

    #[test]
    fn text_in_back_ticks_is_one_word() {
        assert_eq!(split_words("a `b = c` d"), ["a", "`b = c`", "d"]);
    }

    #[test]
    fn a_copy_changes_only_name_and_schema() {
        let source =
            "#:schema old.json\n# text\n[study]\nname = \"a\" # old\ntitle = \"A\"\n[[claims]]\nname = \"c\"\n";
        let copy = "#:schema new.json\n# text\n[study]\nname = \"b\"\ntitle = \"A\"\n[[claims]]\nname = \"c\"\n";
        assert_eq!(copy_with_name(source, "b", "new.json"), copy);
    }
}

//! A study to begin with: the commented manifest that `microbench new` writes. Pure: names in, text out.
//!
//! What is commented out has no space after its `#`, so that to take the `#` away is all there is to do.

use std::fmt::Write;

use microbench_formats::axis::Level;

use crate::engine::description::Engine;
use crate::manifest::keys::{self, Key};
use crate::manifest::{BuiltIn, DefaultLevel, GUEST};

/// Columns of a comment.
const WIDTH: usize = 100;
/// Memory of one VM, MiB: enough for the guests of this project, and so little that many fit.
const MEMORY_MIB: u32 = 128;
/// What the names of the phases of a start-up begin with.
const PHASE: &str = "phase_";

/// What a study is to have.
#[derive(Clone, Debug)]
pub struct Starter<'a> {
    /// Its name.
    pub name: &'a str,
    /// One variant each.
    pub engines: Vec<&'a Engine>,
    /// One figure each, but for the phases of a start-up, which are stacked.
    pub metrics: Vec<&'a BuiltIn>,
    /// The guests' kernel.
    pub kernel: &'a str,
    /// The guests' root file system.
    pub rootfs: &'a str,
    /// Path of the JSON Schema, as the manifest's first line names it.
    pub schema: &'a str,
    /// The manifest's own path, as commands name it.
    pub file: &'a str,
}

impl Starter<'_> {
    /// The manifest's text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("#:schema {}\n", self.schema);
        self.head(&mut text);
        self.guest(&mut text);
        self.variants(&mut text);
        self.matrix(&mut text);
        self.metrics(&mut text);
        self.figures(&mut text);
        text
    }

    fn head(&self, text: &mut String) {
        let titles: Vec<&str> = self.engines.iter().map(|engine| engine.title.as_str()).collect();
        say(
            text,
            "A study of microbench, made by `microbench new`. Read it from the top and change it. A line that begins with # and \
             a word without a space is a key with its default, or an example: take the # away to use it.",
        );
        let _ = write!(
            text,
            "#\n#     microbench plan {file}      what would run; starts nothing\n#     microbench run {file}       \
             measure; prints the run's folder\n\n[study]\n",
            file = self.file
        );
        doc(text, keys::STUDY, "name");
        let _ = writeln!(text, "name = {:?}", self.name);
        doc(text, keys::STUDY, "title");
        let _ = writeln!(text, "title = {:?}", titles.join(" and "));
        doc(text, keys::STUDY, "seed");
        text.push_str("seed = 1\n");
    }

    fn guest(&self, text: &mut String) {
        text.push('\n');
        doc(text, keys::MANIFEST, "guest");
        text.push_str("[guest]\n");
        for setting in GUEST {
            say(text, setting.doc);
            let given = match setting.name {
                "kernel" => Some(format!("{:?}", self.kernel)),
                "rootfs" => Some(format!("{:?}", self.rootfs)),
                "memory_mib" => Some(MEMORY_MIB.to_string()),
                _ => None,
            };
            let _ = match (given, setting.default) {
                (Some(value), _) => writeln!(text, "{} = {value}", setting.name),
                (None, Some(default)) => writeln!(text, "#{} = {}", setting.name, default_text(default)),
                (None, None) => Ok(()),
            };
        }
    }

    fn variants(&self, text: &mut String) {
        text.push('\n');
        doc(text, keys::MANIFEST, "variants");
        for engine in &self.engines {
            let _ =
                writeln!(text, "[variants.{}]\nlabel = {:?}\nengine = {:?}", short(engine), engine.title, engine.name);
            for (name, setting) in &engine.settings {
                say(text, &setting.doc);
                let _ = writeln!(text, "#{name} = {}", level_text(&setting.default));
            }
            text.push('\n');
        }
        if let Some(engine) = self.engines.last() {
            say(
                text,
                "One more configuration is one more table, with what is different in it: any setting of [guest] or of the \
                 variant's engine.",
            );
            let (short, title) = (short(engine), &engine.title);
            let _ = writeln!(
                text,
                "#[variants.{short}-2cpu]\n#label = \"{title}, 2 vCPUs\"\n#engine = {:?}\n#vcpus = 2",
                engine.name
            );
        }
    }

    fn matrix(&self, text: &mut String) {
        text.push('\n');
        doc(text, keys::MANIFEST, "matrix");
        text.push_str("[matrix]\n");
        doc(text, keys::MATRIX, "concurrency");
        text.push_str("concurrency = [1]\n");
        say(
            text,
            "Any setting can be an axis: list its levels. A sweep of memory is this line, and `groups = \"memory_mib\"` in the \
             figures below.",
        );
        text.push_str("#memory_mib = [128, 256, 512]\n");
        doc(text, keys::MATRIX, "trials");
        text.push_str("trials = 10\n");
        doc(text, keys::MATRIX, "warmup");
        text.push_str("#warmup = true\n");
        doc(text, keys::MATRIX, "max_consecutive_failures");
        text.push_str("#max_consecutive_failures = 5\n");
        doc(text, keys::MATRIX, "exclude");
        text.push_str("#exclude = []\n");
    }

    fn metrics(&self, text: &mut String) {
        text.push('\n');
        doc(text, keys::MANIFEST, "metrics");
        text.push_str("[metrics]\n");
        for metric in &self.metrics {
            say(text, &format!("{}. {}", metric.label, metric.definition()));
            let _ = writeln!(text, "{} = {{}}", metric.name);
        }
        say(
            text,
            "A metric of one's own is between two events, a reading, or a workload for the guest. `better` is the better \
            direction \
             of its values (`lower`, `higher` or `neither`), where its source does not say it:",
        );
        text.push_str(
            "#agent_time = { from = \"spawn\", to = \"agent.ready\" }\n\
             #messages = { reading = \"kernel.messages\", better = \"lower\" }\n\
             #hash_16m = { workload = { kind = \"sha256\", bytes = \"16 MiB\", rounds = 10 } }\n",
        );
    }

    fn figures(&self, text: &mut String) {
        text.push('\n');
        say(
            text,
            "What is drawn: SVG and PNG, by `microbench plot RUN`. Each axis of the matrix with several levels is x, groups or \
             panels, or is held at one level by `where`, so that no bar mixes what should be compared.",
        );
        let phases: Vec<&str> =
            self.metrics.iter().map(|metric| metric.name).filter(|name| name.starts_with(PHASE)).collect();
        let stacked = phases.len() > 1;
        for metric in self.metrics.iter().filter(|metric| !stacked || !phases.contains(&metric.name)) {
            let _ = writeln!(
                text,
                "[figures.{name}]\nform = \"grouped-bars\"\ntitle = {:?}\nmetric = {name:?}\nx = \"variant\"\n#groups = \"memory_mib\"\n",
                metric.label,
                name = metric.name
            );
        }
        if stacked {
            let _ = writeln!(
                text,
                "[figures.phases]\nform = \"stacked-bars\"\ntitle = \"Phases\"\nmetrics = {phases:?}\nx = \"variant\"\n#panels = \"memory_mib\"\n"
            );
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
}

/// The variant's key.
fn short(engine: &Engine) -> &str {
    engine.short.as_deref().unwrap_or(&engine.name)
}

/// The meaning of a key as a comment.
fn doc(text: &mut String, keys: &[Key], name: &str) {
    if let Some(key) = keys.iter().find(|key| key.name == name) {
        say(text, key.doc);
    }
}

/// A sentence as comment lines.
fn say(text: &mut String, sentence: &str) {
    let mut line = String::from("#");
    for word in words(sentence) {
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

/// The words of a sentence; what stands in back-ticks is one.
fn words(sentence: &str) -> Vec<String> {
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

fn default_text(default: DefaultLevel) -> String {
    level_text(&default.into())
}

/// A value as TOML writes it.
fn level_text(level: &Level) -> String {
    match level {
        Level::Text(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

/// A manifest that there is, under another name and with its schema where it is now.
///
/// The first `name` of `[study]` is the study's; all else stays as it was written.
#[must_use]
pub fn renamed(source: &str, name: &str, schema: &str) -> String {
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
    use super::{renamed, words};

    #[test]
    fn what_stands_in_back_ticks_is_not_broken() {
        assert_eq!(words("a `b = c` d"), ["a", "`b = c`", "d"]);
    }

    #[test]
    fn a_copy_has_its_own_name_and_schema_and_nothing_else_changes() {
        let source =
            "#:schema old.json\n# text\n[study]\nname = \"a\" # old\ntitle = \"A\"\n[[claims]]\nname = \"c\"\n";
        let copy = "#:schema new.json\n# text\n[study]\nname = \"b\"\ntitle = \"A\"\n[[claims]]\nname = \"c\"\n";
        assert_eq!(renamed(source, "b", "new.json"), copy);
    }
}

//! docs/reference/manifest.md: every key, from the tables of the manifest parser.

use std::fmt::Write as _;

use microbench_formats::axis::Level;
use microbench_study::engine::description::{self, Setting, SettingKind};
use microbench_study::engine::host_cpu::{HOST_CPUS, HostCpu};
use microbench_study::manifest::keys::{Key, MANIFEST, MAPPING, Need, REFERENCE, Rest, Shape};
use microbench_study::manifest::renamed::{self, Renamed};
use microbench_study::manifest::{DefaultLevel, GUEST, GuestSetting, Kind};

use super::page::{cell, code, table};

/// A section of the page: the keys of one table and of its inner tables.
struct Section<'a> {
    title: String,
    doc: &'a str,
    keys: &'a [Key],
    rest: Rest,
}

pub(super) fn page() -> anyhow::Result<String> {
    let mut text = String::from(
        "A study is one TOML file. Unknown keys are errors. `microbench plan STUDY` shows the trials of a study.\n\n\
         All errors are reported together, each with its line and the nearest valid name. Two kinds of errors hide others: a TOML\n\
         syntax error, and an error in the matrix or a variant, which hides errors of cells (such as `MB0305` and `MB0504`).\n",
    );
    for key in MANIFEST {
        sections(key, format!("`[{}]`", key.name), &mut text);
        if key.name == "guest" {
            text.push_str(&guest());
            text.push_str(&engines()?);
        }
    }
    let _ = write!(
        text,
        "\n## A file of published values\n\n`reference` in `[study]` names one, relative to the manifest.\n\n{}",
        keys(REFERENCE, Rest::Nothing)
    );
    for key in REFERENCE {
        nested(key, &mut text);
    }
    let _ = write!(
        text,
        "\n## A mapping for `import`\n\n`import --mapping FILE` maps the columns, rows and names of a table to those of the study. \
         Values are compared with the text\nof a field.\n\n{}",
        keys(MAPPING, Rest::Nothing)
    );
    for key in MAPPING {
        nested(key, &mut text);
    }
    Ok(text + SELECTING + &renamed_keys())
}

/// The section about selecting cells and rows.
const SELECTING: &str = r#"
## Selecting cells

`where` selects cells: for profiles, figures and their bars, claims and their sides, and published values. Each key is
an axis, `variant`, `concurrency` or `engine`; its value is one level or a list of levels. A cell is selected when it
has one of the levels on every axis that is named. Without `where`, every cell is selected.

```text
where = { variant = ["fc", "qemu"], concurrency = 1 }
```

The `where` of a claim applies to all its sides; each side adds its own:

```text
where = { concurrency = 1 }
ratio = [{ where = { variant = "qemu" } }, { where = { variant = "fc" } }]
```

An entry of `exclude` or `include` is itself a combination of levels, so its levels are given without `where`.

A mapping selects rows in the same form, by the values of columns. `where_not` leaves rows out. It is a second table
because `where` has no operators: `!mean` may be a value of a column.
"#;

/// The table of renamed keys.
fn renamed_keys() -> String {
    let row = |key: &Renamed| {
        let old = if key.old == "AXIS" { "a level".to_owned() } else { code(key.old) };
        [cell(key.place), old, code(key.new), cell(if key.form.is_empty() { "as before" } else { key.form })]
    };
    let names = microbench_formats::renamed::RENAMED.iter();
    let names =
        names.map(|(old, new)| ["events and readings".to_owned(), code(old), code(new), "as before".to_owned()]);
    let rows: Vec<[String; 4]> = renamed::all().map(row).chain(names).collect();
    format!(
        "\n## Renamed keys\n\nOld keys are errors. `microbench plan STUDY` reports all old keys of a manifest, each with its new name.\n\n{}",
        table(["in", "old", "new", "value"], &rows)
    )
}

/// Appends a section of the manifest and of its inner tables.
fn sections(key: &Key, title: String, text: &mut String) {
    let section = match key.shape {
        Shape::Table(keys, rest) => Section { title, doc: key.doc, keys, rest },
        Shape::Each(noun, Shape::Table(keys, rest)) => {
            Section { title: format!("`[{}.{}]`", key.name, noun.to_uppercase()), doc: key.doc, keys, rest: *rest }
        }
        Shape::List(Shape::Table(keys, rest), _) => {
            Section { title: format!("`[[{}]]`", key.name), doc: key.doc, keys, rest: *rest }
        }
        _ => return,
    };
    let _ = write!(text, "\n## {}\n\n{}{}\n\n", section.title, section.doc, default(key));
    text.push_str(&keys(section.keys, section.rest));
    section.keys.iter().for_each(|key| nested(key, text));
}

/// Appends the table of a key whose value is a table or a list of tables with keys.
fn nested(key: &Key, text: &mut String) {
    let (inner, rest) = match key.shape {
        Shape::Table(keys, rest) => (keys, rest),
        Shape::List(Shape::Table(keys, rest), _) => (*keys, *rest),
        _ => return,
    };
    if inner.is_empty() {
        return;
    }
    // Two keys may share a table.
    let title = format!("### In `{}`", key.name);
    if !text.contains(&format!("{title}\n")) {
        let _ = write!(text, "\n{title}\n\n{}", keys(inner, rest));
    }
}

fn default(key: &Key) -> String {
    match (key.need, key.default) {
        (Need::Always, _) | (_, "") => String::new(),
        (_, default) => format!(" Default: {default}."),
    }
}

/// A table of keys, and a sentence about additional keys.
fn keys(keys: &[Key], rest: Rest) -> String {
    let rows: Vec<[String; 5]> = keys
        .iter()
        .map(|key| {
            let need = match key.need {
                Need::Always => "yes".to_owned(),
                Need::Never => String::new(),
                Need::Either(names) => {
                    format!("one of {}", names.iter().map(|name| code(name)).collect::<Vec<_>>().join(", "))
                }
            };
            [code(key.name), cell(&shape(key.shape)), need, cell(key.default), cell(key.doc)]
        })
        .collect();
    let mut text = String::new();
    if !rows.is_empty() {
        text = table(["key", "type", "required", "default", "description"], &rows);
    }
    keys.iter().for_each(|key| text.push_str(&values(key)));
    let more = match rest {
        Rest::Nothing => return text,
        Rest::Guest => "[Settings of every guest](#settings-of-every-guest), each at most once.",
        Rest::Variant => {
            "Also every [setting of a guest](#settings-of-every-guest), and the \
             [settings of the engine](#settings-of-the-engines)."
        }
        Rest::Axes => {
            "Every other key is an axis: a setting of guests or engines with a list of levels, for example `memory_mib = [128, 512]`."
        }
        Rest::OneLevel => "Every key is an axis, with one level.",
        Rest::Columns => "Every key is a column of the table, with one value or a list of values.",
        Rest::Levels => {
            "Other keys are axes, including `variant`, `concurrency` and, in a `where`, `engine`. Each has one level or a list of levels."
        }
    };
    if !text.is_empty() {
        text.push('\n');
    }
    text + more + "\n"
}

/// The values of a key with their meanings; empty for a key whose values are not described.
fn values(key: &Key) -> String {
    let Shape::Choice(choices) = key.shape else { return String::new() };
    let choices = choices();
    if choices.iter().all(|choice| choice.doc.is_empty()) {
        return String::new();
    }
    let rows: Vec<[String; 2]> = choices.iter().map(|choice| [code(&choice.name), cell(&choice.doc)]).collect();
    format!("\nValues of `{}`:\n\n{}", key.name, table(["value", "is"], &rows))
}

fn shape(shape: Shape) -> String {
    match shape {
        Shape::Line => "text".into(),
        Shape::Text(most) => format!("text of at most {most} bytes"),
        Shape::Name(noun) => format!("name of a {noun}"),
        Shape::Int(least, i64::MAX) => format!("integer, at least {least}"),
        Shape::Int(least, most) => format!("integer, {least} to {most}"),
        Shape::Number => "number".into(),
        Shape::Share => "number greater than 0 and less than 1".into(),
        Shape::Boolean => "boolean".into(),
        Shape::Choice(choices) => choices().iter().map(|choice| code(&choice.name)).collect::<Vec<_>>().join(" or "),
        Shape::Event => "an [event](events.md)".into(),
        Shape::Reading => "a [reading](readings.md)".into(),
        Shape::Scalar => "text, number or boolean".into(),
        Shape::Size => "size in bytes".into(),
        Shape::Trials => "integer, or a table of integers by concurrency".into(),
        Shape::List(Shape::Table(..), _) => "list of tables".into(),
        Shape::List(of, _) => format!("list of: {}", self::shape(*of)),
        Shape::Table(..) => "table".into(),
        Shape::Each(noun, _) => format!("table of {noun}s"),
    }
}

/// The settings that every engine's guests have.
fn guest() -> String {
    let rows: Vec<[String; 4]> = GUEST.iter().map(setting).collect();
    format!(
        "\n### Settings of every guest\n\nIn `[guest]`, in a variant, or as an axis of the matrix. A variant overrides `[guest]`, and an axis overrides \
         both.\n\n{}",
        table(["setting", "value", "default", "description"], &rows)
    ) + &host_cpus()
}

fn host_cpus() -> String {
    let templates = |cpu: &HostCpu| match cpu.templates {
        [] => "none".to_owned(),
        permitted => permitted.iter().map(|name| code(name)).collect::<Vec<_>>().join(", "),
    };
    let rows: Vec<[String; 3]> = HOST_CPUS.iter().map(|cpu| [code(cpu.name), cell(cpu.doc), templates(cpu)]).collect();
    format!(
        "\nValues of `host_cpu`, the names of QEMU. The runs of a study boot one emulated host for each. Claims and \
         comparisons between cells of different CPUs require `across_host_cpus` in [`[study]`](#study).\n\n{}",
        table(["value", "CPU", "values of `cpu_template` that it permits, in addition to `none`"], &rows)
    )
}

/// The settings of the built-in engines.
fn engines() -> anyhow::Result<String> {
    let mut text = String::from(
        "\n### Settings of the engines\n\nIn a variant, or as an axis of the matrix. The engines are described in \
         [runner/study/engines](../../runner/study/engines);\nyour own engine has the settings of its file.\n",
    );
    for engine in description::load(&[])?.values().filter(|engine| !engine.settings.is_empty()) {
        let row = |(name, setting): (&String, &Setting)| {
            let values = match (setting.choices.as_slice(), &setting.default, setting.kind) {
                ([], _, SettingKind::File) => "path of a file".to_owned(),
                ([], Level::Bool(_), _) => "boolean".to_owned(),
                ([], Level::Int(_), _) => "integer".to_owned(),
                ([], Level::Float(_), _) => "number".to_owned(),
                ([], Level::Text(_), _) => "text".to_owned(),
                (choices, ..) => {
                    choices.iter().map(|choice| code(&choice.to_string())).collect::<Vec<_>>().join(" or ")
                }
            };
            let default = setting.default.to_string();
            let default = if default.is_empty() { "none".to_owned() } else { code(&default) };
            [code(name), cell(&values), default, cell(&setting.doc)]
        };
        let rows: Vec<[String; 4]> = engine.settings.iter().map(row).collect();
        let _ = write!(
            text,
            "\n`{}`, {}:\n\n{}",
            engine.name,
            engine.title,
            table(["setting", "value", "default", "description"], &rows)
        );
    }
    Ok(text)
}

fn setting(setting: &GuestSetting) -> [String; 4] {
    let kind = match setting.kind {
        Kind::Kernel => "a folder of kernels/".to_owned(),
        Kind::Rootfs => "a folder of rootfs/".to_owned(),
        Kind::Int(least, most) => format!("integer, {least} to {most}"),
        Kind::Choice(names) => names.iter().map(|name| code(name)).collect::<Vec<_>>().join(" or "),
        Kind::Line(most) => format!("text of at most {most} bytes"),
        Kind::Bool => "boolean".to_owned(),
    };
    let default = match setting.default.map(|default: DefaultLevel| Level::from(default)) {
        None => "required".to_owned(),
        Some(Level::Text(text)) if text.is_empty() => "none".to_owned(),
        Some(level) => code(&level.to_string()),
    };
    [code(setting.name), cell(&kind), default, cell(setting.doc)]
}

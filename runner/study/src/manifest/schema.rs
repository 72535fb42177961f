//! The JSON Schema of a manifest (draft 7), for editors: made of the [tables of keys](super::keys) and of the catalogue's settings.
//!
//! An editor shows what it says while one types; the reader alone decides. So it refuses nothing that the reader takes: an engine
//! described beside a manifest, which it does not know, may have any name and any settings.

use std::collections::BTreeMap;

use microbench_formats::axis::Level;
use serde_json::{Map, Value, json};

use super::keys::{self, Key, Need, Rest, Shape, Word};
use super::raw::{LONGEST_NAME, name_characters};
use super::settings::{Catalog, GUEST, GuestSetting, Kind, SettingSpec};

/// The schema of manifests over the engines of `catalog`.
#[must_use]
pub fn schema(catalog: &Catalog) -> Value {
    let maker = Maker { catalog };
    let mut root = maker.table(keys::MANIFEST, Rest::Nothing);
    let metric = maker.table(keys::METRIC, Rest::Nothing);
    // A built-in metric is offered by its name; any other is one of the study's own.
    let named = |word: Word| (word.name, json!({ "allOf": [{ "$ref": METRIC }], "description": word.doc }));
    root["properties"]["metrics"]["properties"] = Value::Object(keys::metrics().into_iter().map(named).collect());
    root["properties"]["metrics"]["additionalProperties"] = json!({ "$ref": METRIC });
    root["definitions"] = json!({ "metric": metric, "scalar": scalar() });
    root["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    root["title"] = json!("A study of microbench");
    root["description"] =
        json!("What to compare, what to measure and what to draw. Made by `microbench schema`; not to be edited.");
    root
}

/// The schema as the text of its file.
#[must_use]
pub fn text(catalog: &Catalog) -> String {
    let mut text = format!("{:#}", sorted(schema(catalog)));
    text.push('\n');
    text
}

const METRIC: &str = "#/definitions/metric";
const SCALAR: &str = "#/definitions/scalar";

fn scalar() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

/// The keys of every object in the order of the alphabet, whatever the map of this build keeps.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: BTreeMap<String, Value> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(map.into_iter().collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// The readings of work.
fn work_pattern() -> String {
    let values: Vec<String> = keys::work_values().into_iter().map(|value| value.name).collect();
    format!(r"^work\..+\.({})$", values.join("|"))
}

struct Maker<'a> {
    catalog: &'a Catalog,
}

impl Maker<'_> {
    fn key(&self, key: &Key) -> Value {
        let mut value = self.shape(&key.shape);
        let mut doc = key.doc.to_owned();
        if !key.default.is_empty() {
            doc.push_str(&format!(" Without it: {}.", key.default));
        }
        value["description"] = doc.into();
        value
    }

    fn shape(&self, shape: &Shape) -> Value {
        match shape {
            Shape::Line => json!({ "type": "string" }),
            Shape::Text(most) => json!({ "type": "string", "minLength": 1, "maxLength": most }),
            Shape::Name(noun) => json!({ "type": "string", "pattern": name_pattern(noun) }),
            Shape::Int(least, i64::MAX) => json!({ "type": "integer", "minimum": least }),
            Shape::Int(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
            Shape::Number => json!({ "type": "number" }),
            Shape::Share => json!({ "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1 }),
            Shape::Truth => json!({ "type": "boolean" }),
            Shape::Word(words) => of_words(words()),
            Shape::Reading => json!({ "anyOf": [of_words(keys::readings()), {
                "type": "string", "pattern": work_pattern()
            }] }),
            Shape::Scalar => json!({ "$ref": SCALAR }),
            Shape::Size => json!({ "type": ["integer", "string"] }),
            Shape::Trials => {
                let number = json!({ "type": "integer", "minimum": 1, "maximum": super::raw::MOST_TRIALS });
                json!({ "anyOf": [number, {
                    "type": "object", "minProperties": 1, "propertyNames": { "pattern": "^[0-9]+$" }, "additionalProperties": number
                }] })
            }
            Shape::List(of, (least, most)) => {
                let mut list = json!({ "type": "array", "items": self.shape(of), "minItems": least });
                if *most < usize::MAX {
                    list["maxItems"] = json!(most);
                }
                list
            }
            Shape::Table(keys, rest) => self.table(keys, *rest),
            Shape::Each(noun, of) => json!({
                "type": "object", "minProperties": 1, "propertyNames": { "pattern": name_pattern(noun) },
                "additionalProperties": self.shape(of)
            }),
        }
    }

    fn table(&self, keys: &[Key], rest: Rest) -> Value {
        let mut properties: Map<String, Value> = keys.iter().map(|key| (key.name.into(), self.key(key))).collect();
        let others = match rest {
            Rest::Nothing => json!(false),
            Rest::Guest => {
                properties.extend(GUEST.iter().map(|setting| (setting.name.into(), guest(setting))));
                json!(false)
            }
            Rest::Variant => {
                properties.extend(self.settings());
                json!({ "$ref": SCALAR })
            }
            Rest::Axes => {
                let list = |of: Value| json!({ "type": "array", "items": of, "minItems": 1 });
                let axis = |(name, setting): (String, Value)| {
                    let doc = setting["description"].clone();
                    let mut axis = list(setting);
                    axis["description"] = doc;
                    (name, axis)
                };
                properties.extend(self.settings().into_iter().map(axis));
                list(json!({ "$ref": SCALAR }))
            }
            Rest::OneLevel => json!({ "$ref": SCALAR }),
            Rest::Columns => json!({}),
            Rest::Levels => {
                let one_or_list = |of: Value| json!({ "anyOf": [of, { "type": "array", "items": of, "minItems": 1 }] });
                properties.insert("variant".into(), one_or_list(json!({ "type": "string" })));
                properties.insert("concurrency".into(), one_or_list(json!({ "type": "integer" })));
                one_or_list(json!({ "$ref": SCALAR }))
            }
        };
        let mut table = json!({ "type": "object", "additionalProperties": others, "properties": properties });
        let required: Vec<&str> = keys.iter().filter(|key| key.need == Need::Always).map(|key| key.name).collect();
        if !required.is_empty() {
            table["required"] = json!(required);
        }
        if let Some(names) =
            keys.iter().find_map(|key| if let Need::Either(names) = key.need { Some(names) } else { None })
        {
            table["anyOf"] = names.iter().map(|name| json!({ "required": [name] })).collect();
        }
        if rest == Rest::Variant {
            let engine = &mut table["properties"]["engine"];
            engine["anyOf"] = json!([{ "enum": self.catalog.engines.keys().collect::<Vec<_>>() }, {}]);
            table["allOf"] = self.by_engine(keys);
        }
        table
    }

    /// For each known engine, what its own settings are, and that a variant of it has no other keys.
    fn by_engine(&self, keys: &[Key]) -> Value {
        let guest = || GUEST.iter().map(|setting| setting.name);
        let rules = self.catalog.engines.iter().map(|(engine, spec)| {
            let own = spec.settings.keys().map(String::as_str);
            let names: Vec<&str> = keys.iter().map(|key| key.name).chain(guest()).chain(own).collect();
            let settings: Map<String, Value> =
                spec.settings.iter().map(|(name, setting)| (name.clone(), of_engine(setting))).collect();
            json!({
                "if": { "properties": { "engine": { "const": engine } }, "required": ["engine"] },
                "then": { "propertyNames": { "enum": names }, "properties": settings }
            })
        });
        rules.collect()
    }

    /// Every setting of guests, and those of the engines as scalars: an engine that is not known may have one of the same name.
    fn settings(&self) -> BTreeMap<String, Value> {
        let mut docs: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (engine, spec) in &self.catalog.engines {
            for (name, setting) in &spec.settings {
                docs.entry(name).or_default().push(format!("{engine}: {}", setting.doc));
            }
        }
        let engines = docs.into_iter().map(|(name, docs)| {
            let mut value = scalar();
            value["description"] = docs.join(" ").into();
            (name.to_owned(), value)
        });
        engines.chain(GUEST.iter().map(|setting| (setting.name.to_owned(), guest(setting)))).collect()
    }
}

fn name_pattern(noun: &str) -> String {
    let (first, more, _) = name_characters(noun);
    format!("^[{first}][{first}{more}]{{0,{}}}$", LONGEST_NAME - 1)
}

fn of_words(words: Vec<Word>) -> Value {
    let names: Vec<&str> = words.iter().map(|word| word.name.as_str()).collect();
    let mut value = json!({ "type": "string", "enum": names });
    if words.iter().any(|word| !word.doc.is_empty()) {
        let docs: Vec<&str> = words.iter().map(|word| word.doc.as_str()).collect();
        value["x-taplo"] = json!({ "docs": { "enumValues": docs } });
    }
    value
}

fn guest(setting: &GuestSetting) -> Value {
    let mut value = match setting.kind {
        Kind::Kernel | Kind::Rootfs => json!({ "type": "string" }),
        Kind::Int(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Word(words) => json!({ "type": "string", "enum": words }),
        Kind::Line(most) => json!({ "type": "string", "maxLength": most }),
        Kind::Bool => json!({ "type": "boolean" }),
    };
    value["description"] = setting.doc.into();
    if let Some(default) = setting.default {
        value["default"] = level(&default.into());
    }
    value
}

fn of_engine(setting: &SettingSpec) -> Value {
    let kind = match setting.default {
        Level::Bool(_) => "boolean",
        Level::Int(_) => "integer",
        Level::Float(_) => "number",
        Level::Text(_) => "string",
    };
    let mut value = json!({ "type": kind, "description": setting.doc, "default": level(&setting.default) });
    if !setting.choices.is_empty() {
        value["enum"] = setting.choices.iter().map(level).collect();
    }
    value
}

fn level(level: &Level) -> Value {
    match level {
        Level::Bool(value) => json!(value),
        Level::Int(value) => json!(value),
        Level::Float(value) => json!(value),
        Level::Text(value) => json!(value),
    }
}

#[cfg(test)]
mod tests {
    use super::name_pattern;

    #[test]
    fn a_names_pattern_is_that_of_its_noun() {
        assert_eq!(name_pattern("study"), "^[a-z0-9][a-z0-9-]{0,63}$");
        assert_eq!(name_pattern("variant"), "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$");
        assert_eq!(name_pattern("metric"), "^[a-z0-9][a-z0-9_-]{0,63}$");
    }
}

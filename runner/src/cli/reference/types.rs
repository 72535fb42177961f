//! Tables of the keys of a file, from the JSON Schema of the type that the file is parsed into.

use std::fmt::Write as _;

use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value};

use super::page::{cell, code, table};

/// A table of the keys of `T` with the heading `name`, followed by tables of the types of its fields.
pub(super) fn keys<T: JsonSchema>(name: &str) -> String {
    let schema: Schema = schemars::schema_for!(T);
    let root = schema.to_value();
    let parts = root.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut text = definition_section(name, &root, &parts);
    for (name, schema) in parts.iter().filter(|(_, schema)| schema.get("properties").is_some()) {
        let _ = write!(text, "\n{}", definition_section(name, schema, &parts));
    }
    text
}

fn definition_section(name: &str, schema: &Value, parts: &Map<String, Value>) -> String {
    let mut text = format!("### {name}\n\n{}\n\n", description(schema));
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut entries: Vec<(&String, &Value)> = properties.into_iter().flatten().collect();
    // Required keys first, in the order of their declaration; then the others, by name.
    entries.sort_by_key(|(key, _)| required.iter().position(|one| one == key).unwrap_or(usize::MAX));
    let rows: Vec<[String; 4]> = entries
        .into_iter()
        .map(|(key, value)| {
            let need = if required.contains(&key.as_str()) { "yes" } else { "" };
            let text = format!("{}{}", description(value), meanings(value, parts));
            [code(key), kind(value, parts), need.to_owned(), cell(&text)]
        })
        .collect();
    text.push_str(&table(["key", "type", "required", "description"], &rows));
    text
}

/// The description of a schema, as Markdown without rustdoc links.
fn description(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.replace("[`", "`").replace("`]", "`").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn kind(schema: &Value, parts: &Map<String, Value>) -> String {
    let keyword = |key: &str| schema.get(key);
    if let Some(name) = keyword("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()) {
        let choices: Vec<String> = choices(name, parts).into_iter().map(|(value, _)| code(value)).collect();
        return if choices.is_empty() { format!("[{name}](#{})", name.to_lowercase()) } else { choices.join(" or ") };
    }
    if let Some(any) = keyword("anyOf").and_then(Value::as_array) {
        let alternative =
            any.iter().find(|alternative| alternative.get("type").and_then(Value::as_str) != Some("null"));
        return alternative.map_or_else(String::new, |alternative| kind(alternative, parts));
    }
    let types: Vec<&str> = match keyword("type") {
        Some(Value::String(alternative)) => vec![alternative],
        Some(Value::Array(several)) => {
            several.iter().filter_map(Value::as_str).filter(|alternative| *alternative != "null").collect()
        }
        _ => Vec::new(),
    };
    let names: Vec<String> = types
        .iter()
        .map(|name| match *name {
            "array" => format!("list of {}", keyword("items").map_or_else(String::new, |items| kind(items, parts))),
            "object" => match keyword("additionalProperties") {
                Some(values @ Value::Object(_)) => format!("table of {}", kind(values, parts)),
                _ => "table".to_owned(),
            },
            "boolean" => "boolean".to_owned(),
            other => other.to_owned(),
        })
        .collect();
    names.join(" or ")
}

/// The values of the enumeration `name`, each with its description; empty for another type.
fn choices<'a>(name: &str, parts: &'a Map<String, Value>) -> Vec<(&'a str, String)> {
    let variants = parts.get(name).and_then(|schema| schema.get("oneOf")).and_then(Value::as_array);
    let value_and_doc = |variant: &'a Value| Some((variant.get("const")?.as_str()?, description(variant)));
    variants.into_iter().flatten().filter_map(value_and_doc).collect()
}

/// The values of an enumeration and their descriptions, as a continuation of the description of the key.
fn meanings(schema: &Value, parts: &Map<String, Value>) -> String {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    choices(name, parts).into_iter().map(|(value, meaning)| format!(" {}: {meaning}", code(value))).collect()
}

/// A table of the fields of `T`: name, type and description.
pub(super) fn names<T: JsonSchema>() -> String {
    let schema = schemars::schema_for!(T).to_value();
    let properties = schema.get("properties").and_then(Value::as_object);
    let row = |(name, value): (&String, &Value)| [code(name), kind(value, &Map::new()), cell(&description(value))];
    table(["name", "type", "description"], &properties.into_iter().flatten().map(row).collect::<Vec<_>>())
}

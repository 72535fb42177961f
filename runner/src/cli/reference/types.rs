//! Tables of the keys of a file, from the type that reads it: names, types and doc comments by way of its JSON Schema.

use std::fmt::Write as _;

use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value};

use super::page::{cell, code, table};

/// A table of the keys of `T`, then one of each type that it is made of. `name` is how the file calls the whole.
pub(super) fn keys<T: JsonSchema>(name: &str) -> String {
    let schema: Schema = schemars::schema_for!(T);
    let root = schema.to_value();
    let parts = root.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut text = part(name, &root, &parts);
    for (name, schema) in parts.iter().filter(|(_, schema)| schema.get("properties").is_some()) {
        let _ = write!(text, "\n{}", part(name, schema, &parts));
    }
    text
}

fn part(name: &str, schema: &Value, parts: &Map<String, Value>) -> String {
    let mut text = format!("### {name}\n\n{}\n\n", words(schema));
    let required: Vec<&str> =
        schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
    let properties = schema.get("properties").and_then(Value::as_object);
    let mut entries: Vec<(&String, &Value)> = properties.into_iter().flatten().collect();
    // What is needed first, as the type declares it; the rest by name.
    entries.sort_by_key(|(key, _)| required.iter().position(|one| one == key).unwrap_or(usize::MAX));
    let rows: Vec<[String; 4]> = entries
        .into_iter()
        .map(|(key, value)| {
            let need = if required.contains(&key.as_str()) { "yes" } else { "" };
            let words = format!("{}{}", words(value), meanings(value, parts));
            [code(key), kind(value, parts), need.to_owned(), cell(&words)]
        })
        .collect();
    text.push_str(&table(["key", "type", "needed", "is"], &rows));
    text
}

/// The description, as Markdown without the links of Rust's documentation.
fn words(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.replace("[`", "`").replace("`]", "`").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn kind(schema: &Value, parts: &Map<String, Value>) -> String {
    let of = |key: &str| schema.get(key);
    if let Some(name) = of("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()) {
        let choices: Vec<String> = choices(name, parts).into_iter().map(|(word, _)| code(word)).collect();
        return if choices.is_empty() { format!("[{name}](#{})", name.to_lowercase()) } else { choices.join(" or ") };
    }
    if let Some(any) = of("anyOf").and_then(Value::as_array) {
        let one = any.iter().find(|one| one.get("type").and_then(Value::as_str) != Some("null"));
        return one.map_or_else(String::new, |one| kind(one, parts));
    }
    let types: Vec<&str> = match of("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).filter(|one| *one != "null").collect(),
        _ => Vec::new(),
    };
    let names: Vec<String> = types
        .iter()
        .map(|name| match *name {
            "array" => format!("list of {}", of("items").map_or_else(String::new, |items| kind(items, parts))),
            "object" => match of("additionalProperties") {
                Some(values @ Value::Object(_)) => format!("table of {}", kind(values, parts)),
                _ => "table".to_owned(),
            },
            "boolean" => "truth value".to_owned(),
            other => other.to_owned(),
        })
        .collect();
    names.join(" or ")
}

/// The words of the enumeration of this name, each with what it means; none for another type.
fn choices<'a>(name: &str, parts: &'a Map<String, Value>) -> Vec<(&'a str, String)> {
    let variants = parts.get(name).and_then(|schema| schema.get("oneOf")).and_then(Value::as_array);
    let one = |variant: &'a Value| Some((variant.get("const")?.as_str()?, words(variant)));
    variants.into_iter().flatten().filter_map(one).collect()
}

/// What the words of an enumeration mean, to follow its description.
fn meanings(schema: &Value, parts: &Map<String, Value>) -> String {
    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()).unwrap_or_default();
    choices(name, parts).into_iter().map(|(word, meaning)| format!(" {}: {meaning}", code(word))).collect()
}

/// A table of the fields of `T` that stand for themselves: their names, their types and what they are.
pub(super) fn names<T: JsonSchema>() -> String {
    let schema = schemars::schema_for!(T).to_value();
    let properties = schema.get("properties").and_then(Value::as_object);
    let row = |(name, value): (&String, &Value)| [code(name), kind(value, &Map::new()), cell(&words(value))];
    table(["name", "type", "is"], &properties.into_iter().flatten().map(row).collect::<Vec<_>>())
}

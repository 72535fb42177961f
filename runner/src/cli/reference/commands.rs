//! docs/reference/commands.md: every command, from clap's definitions.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::page::{cell, table};

/// A section for each command that is shown, those below it after it.
pub(super) fn page(mut root: Command) -> String {
    root.build();
    let mut text = String::new();
    for command in root.get_subcommands().filter(|command| command.get_name() != "help") {
        section(command, root.get_name(), &mut text);
    }
    text
}

fn section(command: &Command, above: &str, text: &mut String) {
    if command.is_hide_set() {
        return;
    }
    let name = format!("{above} {}", command.get_name());
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    let _ = writeln!(text, "## `{name}`\n\n{}\n", sentence(&about));
    let usage = command.clone().render_usage().to_string();
    let _ = writeln!(text, "```text\n{}\n```\n", usage.trim_start_matches("Usage: "));
    let rows: Vec<[String; 3]> = command.get_arguments().filter(|argument| shown(argument)).map(row).collect();
    if !rows.is_empty() {
        let _ = writeln!(text, "{}", table(["argument", "does", "when it is not given"], &rows));
    }
    // Examples, and the form of JSON.
    if let Some(more) = command.get_after_help() {
        let _ = writeln!(text, "```text\n{}\n```\n", more.to_string().trim());
    }
    for inner in command.get_subcommands().filter(|command| command.get_name() != "help") {
        section(inner, &name, text);
    }
}

fn shown(argument: &Arg) -> bool {
    !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version")
}

fn row(argument: &Arg) -> [String; 3] {
    let value = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    let takes = argument.get_action().takes_values();
    let choices: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set() && takes)
        .map(|value| value.get_name().to_owned())
        .collect();
    let value = if choices.is_empty() { value.unwrap_or_default() } else { choices.join("|") };
    let name = match (argument.get_long(), argument.get_short()) {
        (Some(long), _) if takes => format!("`--{long} {value}`"),
        (Some(long), _) => format!("`--{long}`"),
        (None, Some(short)) => format!("`-{short}`"),
        (None, None) => format!("`{value}`"),
    };
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    // What a help text says of a default stands in a column of its own here.
    let (help, said) = match help.split_once(" [default: ") {
        Some((help, rest)) => (help.to_owned(), rest.trim_end_matches('.').trim_end_matches(']').to_owned()),
        None => (help, String::new()),
    };
    let defaults: Vec<String> =
        argument.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    let default = if takes && !defaults.is_empty() { defaults.join(", ") } else { said };
    [cell(&name), cell(&sentence(&help)), cell(&default)]
}

/// clap takes the full stop off a help text; a page has it.
fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.is_empty() || text.ends_with(['.', '?', '!', ']']) { text.to_owned() } else { format!("{text}.") }
}

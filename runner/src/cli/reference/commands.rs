//! docs/reference/commands.md: every command, from the definitions of clap.

use std::fmt::Write as _;

use clap::{Arg, Command};

use super::page::{cell, table};

/// A section for each visible command, followed by those of its subcommands.
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
    let rows: Vec<[String; 3]> = command.get_arguments().filter(|argument| is_visible(argument)).map(row).collect();
    if !rows.is_empty() {
        let _ = writeln!(text, "{}", table(["argument", "description", "default"], &rows));
    }
    // Examples, and the shape of the JSON output.
    if let Some(more) = command.get_after_help() {
        let _ = writeln!(text, "```text\n{}\n```\n", more.to_string().trim());
    }
    for inner in command.get_subcommands().filter(|command| command.get_name() != "help") {
        section(inner, &name, text);
    }
}

fn is_visible(argument: &Arg) -> bool {
    !argument.is_hide_set() && !matches!(argument.get_id().as_str(), "help" | "version")
}

fn row(argument: &Arg) -> [String; 3] {
    let value = argument.get_value_names().and_then(|names| names.first()).map(ToString::to_string);
    let has_value = argument.get_action().takes_values();
    let choices: Vec<String> = argument
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set() && has_value)
        .map(|value| value.get_name().to_owned())
        .collect();
    let value = if choices.is_empty() { value.unwrap_or_default() } else { choices.join("|") };
    let name = match (argument.get_long(), argument.get_short()) {
        (Some(long), _) if has_value => format!("`--{long} {value}`"),
        (Some(long), _) => format!("`--{long}`"),
        (None, Some(short)) => format!("`-{short}`"),
        (None, None) => format!("`{value}`"),
    };
    let help = argument.get_long_help().or(argument.get_help()).map(ToString::to_string).unwrap_or_default();
    // A default in the help text becomes the text of the column for defaults.
    let (help, described) =
        match help.split_once(" [default: ").and_then(|(help, rest)| Some((help, rest.split_once(']')?))) {
            Some((help, (default, rest))) => {
                (format!("{}. {}", help.trim_end_matches('.'), rest.trim_start_matches('.').trim()), default.to_owned())
            }
            None => (help, String::new()),
        };
    let defaults: Vec<String> =
        argument.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    let default = if has_value && !defaults.is_empty() { defaults.join(", ") } else { described };
    [cell(&name), cell(&sentence(&help)), cell(&default)]
}

/// Adds the full stop that clap removes from a short help.
fn sentence(text: &str) -> String {
    let text = text.trim_end();
    if text.is_empty() || text.ends_with(['.', '?', '!', ']']) { text.to_owned() } else { format!("{text}.") }
}

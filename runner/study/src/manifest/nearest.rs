//! Names and numbers in messages: quoting, counting, and suggesting the valid name that is nearest to an unknown one.

/// Maximum length of a name that is compared with valid names; the comparison is quadratic.
const LONGEST: usize = 64;
/// Maximum number of names that a message lists.
const MOST_LISTED: usize = 16;

/// `text` in back-ticks: control characters are escaped, and after 64 characters it is cut.
///
/// Text of a manifest must not be able to control the terminal.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(LONGEST).flat_map(escape).collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push_str("...");
    }
    format!("`{shown}`")
}

fn escape(c: char) -> impl Iterator<Item = char> {
    let plain = !c.is_control() && !('\u{200b}'..='\u{202e}').contains(&c) && !('\u{2060}'..='\u{2069}').contains(&c);
    (if plain { String::from(c) } else { c.escape_unicode().to_string() }).chars().collect::<Vec<_>>().into_iter()
}

/// The valid name that is nearest to `name`: at most a third of its characters differ, or one begins with the other.
///
/// ```
/// use microbench_study::manifest::nearest::nearest;
///
/// assert_eq!(nearest("firecraker", ["firecracker", "qemu-microvm"]), Some("firecracker"));
/// assert_eq!(nearest("xen", ["firecracker", "qemu-microvm"]), None);
/// ```
#[must_use]
pub fn nearest<'a>(name: &str, valid: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name = fold(name);
    if name.is_empty() || name.chars().count() > LONGEST {
        return None;
    }
    let limit = (name.chars().count() / 3).max(1);
    let mut best: Option<(usize, &'a str)> = None;
    for candidate in valid {
        let folded = fold(candidate);
        // A prefix (`qemu` of `qemu-microvm`) is near at any distance.
        let part = name.len().min(folded.len()) >= 3 && (folded.starts_with(&name) || name.starts_with(&folded));
        if !part && name.chars().count().abs_diff(folded.chars().count()) > limit {
            continue;
        }
        let distance = strsim::damerau_levenshtein(&name, &folded);
        if (distance <= limit || part) && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

fn fold(name: &str) -> String {
    name.to_lowercase().replace(['_', ' '], "-")
}

/// Help for an unknown name: the nearest valid name, or else all valid names. `kind` is a plural such as `engines`.
#[must_use]
pub fn suggest<'a>(name: &str, kind: &str, valid: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(name, valid.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => list_valid(kind, valid),
    }
}

/// A number with its noun: `1 trial`, `2 trials`.
#[must_use]
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The valid names as a sentence: `the engines are ...`.
#[must_use]
pub fn list_valid<'a>(kind: &str, valid: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<_> = valid.into_iter().map(quote).collect();
    if names.is_empty() {
        return format!("there are no {kind}");
    }
    let more = names.len().saturating_sub(MOST_LISTED);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 { format!("the {kind} are {shown}") } else { format!("the {kind} are {shown} and {more} more") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_typos_only() {
        let engines = ["firecracker", "qemu-microvm", "cloud-hypervisor"];
        for (wrong, right) in
            [("firecraker", "firecracker"), ("qemu", "qemu-microvm"), ("QEMU_microvm", "qemu-microvm")]
        {
            assert_eq!(nearest(wrong, engines), Some(right));
        }
        assert_eq!(nearest("xen", engines), None);
        assert_eq!(nearest("", engines), None);
        assert_eq!(nearest(&"f".repeat(1_000_000), engines), None);
    }

    #[test]
    fn count_of_one_has_a_singular_noun() {
        assert_eq!([0, 1, 2].map(|number| count(number, "shard")), ["0 shards", "1 shard", "2 shards"]);
    }

    #[test]
    fn quote_cuts_and_escapes() {
        assert_eq!(quote("a\u{1b}[31m\nb"), "`a\\u{1b}[31m\\u{a}b`");
        assert_eq!(quote(&"x".repeat(100)).len(), 64 + 5);
    }
}

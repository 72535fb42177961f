//! Names in messages: how they are quoted, and which valid name a wrong one probably stands for.

/// Longest name that is compared with the valid ones; the comparison is quadratic.
const LONGEST: usize = 64;
/// Most names that a message lists.
const MOST_LISTED: usize = 16;

/// `text` in back-ticks, on one line, cut where it is long: what a manifest holds must not disturb the terminal.
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

/// The valid name that `name` is probably meant to be, if one is near enough.
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
        // A name cut short or drawn out (`qemu` for `qemu-microvm`) is near whatever its distance.
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

/// Help for a wrong name: the nearest valid one, else what there is. `kind` is the plural, for instance `engines`.
#[must_use]
pub fn suggest<'a>(name: &str, kind: &str, valid: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match nearest(name, valid.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => list(kind, valid),
    }
}

/// The valid names as a sentence.
#[must_use]
pub fn list<'a>(kind: &str, valid: impl IntoIterator<Item = &'a str>) -> String {
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
    fn a_slip_finds_its_name_and_nonsense_finds_none() {
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
    fn a_quoted_text_is_short_and_harmless() {
        assert_eq!(quote("a\u{1b}[31m\nb"), "`a\\u{1b}[31m\\u{a}b`");
        assert_eq!(quote(&"x".repeat(100)).len(), 64 + 5);
    }
}

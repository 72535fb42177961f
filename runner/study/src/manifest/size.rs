//! Sizes with a unit: `1 MB` is 1,000,000 bytes, `1 MiB` is 1,048,576 bytes.

const UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("kB", 1000),
    ("KB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

/// The syntax of a size, for help texts.
pub(super) const SYNTAX: &str = "a size is a whole number with a unit (B, kB, MB, GB: powers of 1000; KiB, MiB, GiB: powers of 1024), for instance \"1 MB\"";

/// The bytes of a size such as `1 MB`. `None` for any other text, and for more than 64 bits.
pub(super) fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_and_binary_units_differ() {
        for (text, bytes) in [
            ("1 MB", 1_000_000),
            ("1 MiB", 1_048_576),
            ("1MiB", 1_048_576),
            (" 64 kB ", 64_000),
            ("7 B", 7),
            ("2 GiB", 2 << 30),
        ] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
    }

    #[test]
    fn other_texts_are_not_sizes() {
        for text in
            ["", "MB", "1", "1 mb", "1.5 MB", "-1 MB", "1 MB s", "99999999999 GiB", "99999999999999999999999 B", "1 Mb"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

//! Text for LaTeX.

/// `text` as LaTeX typesets it in running text, letter for letter, whatever it holds: none of it is a command, a comment,
/// mathematics or a ligature. Control characters, line breaks among them, become single spaces, so that it stays within one
/// paragraph. pdfLaTeX, LuaLaTeX and XeLaTeX of 2020 and later take it without a package; letters that pdfLaTeX's own fonts lack
/// are named by their number, `[U+4E2D]`.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' => out.push_str("\\textbackslash{}"),
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '<' => out.push_str("\\textless{}"),
            '>' => out.push_str("\\textgreater{}"),
            '|' => out.push_str("\\textbar{}"),
            '"' => out.push_str("\\symbol{34}"),
            '`' => out.push_str("\\textasciigrave{}"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => out.extend(['\\', character]),
            // Two in a row would become a dash or a quotation mark.
            '-' | '\'' | ',' if characters.peek() == Some(&character) => out.extend([character, '{', '}']),
            'μ' => out.push_str("\\textmu{}"),
            '−' => out.push_str("\\ensuremath{-}"),
            '≤' => out.push_str("\\ensuremath{\\leq}"),
            '≥' => out.push_str("\\ensuremath{\\geq}"),
            '≠' => out.push_str("\\ensuremath{\\neq}"),
            '≈' => out.push_str("\\ensuremath{\\approx}"),
            _ if character.is_control() || character.is_whitespace() => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            _ if typeset(character) => out.push(character),
            _ => out.push_str(&format!("[U+{:04X}]", u32::from(character))),
        }
    }
    out
}

/// Whether pdfLaTeX has the character in its default encoding, OT1 with TS1; found by typesetting each of them.
fn typeset(character: char) -> bool {
    match character {
        '«' | '»' | 'Ð' | 'Þ' | 'ð' | 'þ' | 'Ą' | 'ą' | 'Đ' | 'đ' | 'Ę' | 'ę' | 'Ħ' | 'ħ' | 'Į' | 'į' => {
            false
        }
        'ĸ' | 'Ŀ' | 'ŀ' | 'ŉ' | 'Ŋ' | 'ŋ' | 'Ŧ' | 'ŧ' | 'Ų' | 'ų' | 'ſ' => false,
        '\u{20}'..='\u{17f}' => true,
        '\u{2013}' | '\u{2014}' | '‘' | '’' | '“' | '”' | '…' | '†' | '•' | '€' => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_as_it_is() {
        assert_eq!(
            escape("Median over 30 trials (ms), n = 6; Tukey's."),
            "Median over 30 trials (ms), n = 6; Tukey's."
        );
        assert_eq!(escape("Zürich, 3 µs ± 1 × 2 °"), "Zürich, 3 µs ± 1 × 2 °");
    }

    #[test]
    fn every_character_that_means_something_is_escaped() {
        assert_eq!(escape("95 % of a_b & {c} #1 $2"), "95 \\% of a\\_b \\& \\{c\\} \\#1 \\$2");
        assert_eq!(
            escape("~^<>|\"`"),
            "\\textasciitilde{}\\textasciicircum{}\\textless{}\\textgreater{}\\textbar{}\\symbol{34}\\textasciigrave{}"
        );
        assert_eq!(escape("--- '' ,,"), "-{}-{}- '{}' ,{},");
        assert_eq!(escape("n ≥ 6, 中"), "n \\ensuremath{\\geq} 6, [U+4E2D]");
    }

    #[test]
    fn a_guest_cannot_give_a_command_or_leave_the_paragraph() {
        assert_eq!(escape("\\input{/etc/passwd}"), "\\textbackslash{}input\\{/etc/passwd\\}");
        assert_eq!(escape("one\n\n\\par\ttwo\u{1b}\u{7f}\u{85}"), "one \\textbackslash{}par two ");
        assert_eq!(escape("\u{202e}\u{200b}"), "[U+202E][U+200B]");
    }
}

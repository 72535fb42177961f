//! Escapes text for LaTeX.

/// Escapes `text` so that LaTeX typesets it verbatim in running text: it forms no command, comment, formula or
/// ligature.
///
/// Control characters and line breaks become single spaces, so that the text stays within one paragraph. The result
/// works in pdfLaTeX, LuaLaTeX and XeLaTeX of 2020 or later without a package. Characters that pdfLaTeX's default fonts
/// do not have become their code point, such as `[U+4E2D]`.
///
/// ```
/// use microbench_plots::latex::escape;
///
/// assert_eq!(escape("95 % of a_b"), "95 \\% of a\\_b");
/// ```
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
            // Two in a row would become an en dash or a quotation mark.
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
            _ if pdflatex_has(character) => out.push(character),
            _ => out.push_str(&format!("[U+{:04X}]", u32::from(character))),
        }
    }
    out
}

/// Whether pdfLaTeX has the character in its default encodings, OT1 and TS1. The list is the result of typesetting each
/// character.
fn pdflatex_has(character: char) -> bool {
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
    fn plain_text_is_unchanged() {
        assert_eq!(
            escape("Median over 30 trials (ms), n = 6; Tukey's."),
            "Median over 30 trials (ms), n = 6; Tukey's."
        );
        assert_eq!(escape("Zürich, 3 µs ± 1 × 2 °"), "Zürich, 3 µs ± 1 × 2 °");
    }

    #[test]
    fn special_characters_are_escaped() {
        assert_eq!(escape("95 % of a_b & {c} #1 $2"), "95 \\% of a\\_b \\& \\{c\\} \\#1 \\$2");
        assert_eq!(
            escape("~^<>|\"`"),
            "\\textasciitilde{}\\textasciicircum{}\\textless{}\\textgreater{}\\textbar{}\\symbol{34}\\textasciigrave{}"
        );
        assert_eq!(escape("--- '' ,,"), "-{}-{}- '{}' ,{},");
        assert_eq!(escape("n ≥ 6, 中"), "n \\ensuremath{\\geq} 6, [U+4E2D]");
    }

    #[test]
    fn text_cannot_form_a_command_or_end_the_paragraph() {
        assert_eq!(escape("\\input{/etc/passwd}"), "\\textbackslash{}input\\{/etc/passwd\\}");
        assert_eq!(escape("one\n\n\\par\ttwo\u{1b}\u{7f}\u{85}"), "one \\textbackslash{}par two ");
        assert_eq!(escape("\u{202e}\u{200b}"), "[U+202E][U+200B]");
    }
}

//! `CITATION.cff` of an archive: authors, title, licence and DOI of the data, and the program that measured them.
//!
//! The Citation File Format 1.2.0 requires an author, so that a study without authors has no such file.
//! <https://github.com/citation-file-format/citation-file-format/blob/1.2.0/schema-guide.md>

use std::fmt::Write;

use microbench_formats::attribution::{Attribution, Author, NO_LICENSE, is_doi, is_orcid};
use microbench_formats::describe::one_line;
use microbench_formats::plan::Plan;

use super::status::Session;

/// Name of the file in an archive.
pub const FILE: &str = "CITATION.cff";

/// The text of `CITATION.cff`; `None` if the study has no authors.
#[must_use]
pub fn render(plan: &Plan, sessions: &[Session]) -> Option<String> {
    let attribution = &plan.attribution;
    if attribution.authors.is_empty() {
        return None;
    }
    let licences = attribution.license.as_deref().map(cff_licences);
    let mut message = "If you use these data, please cite them with these metadata.".to_owned();
    if let (Some(license), Some(None)) = (&attribution.license, &licences) {
        // The format has no expressions other than a choice of licences.
        message.push_str(&format!(" Their licence is {license}."));
    }
    let mut text = format!(
        "cff-version: 1.2.0\nmessage: {}\ntype: dataset\ntitle: {}\nauthors:\n",
        quoted(&message),
        quoted(&plan.title)
    );
    distinct(&attribution.authors).into_iter().for_each(|author| text.push_str(&author_entry(author)));
    match licences.flatten().as_deref() {
        Some([one]) => text.push_str(&format!("license: {}\n", quoted(one))),
        Some(several) => {
            text.push_str("license:\n");
            several.iter().for_each(|id| text.push_str(&format!("  - {}\n", quoted(id))));
        }
        None => {}
    }
    if let Some(doi) = attribution.doi.as_deref().filter(|doi| is_doi(doi)) {
        let _ = writeln!(text, "doi: {}", quoted(doi));
    }
    let mut programs: Vec<(&str, Option<&str>)> = Vec::new();
    for session in sessions {
        let program = (session.version.as_str(), session.build.as_ref().and_then(|build| build.commit.as_deref()));
        if !programs.contains(&program) {
            programs.push(program);
        }
    }
    if !programs.is_empty() {
        text.push_str("references:\n");
    }
    for (version, commit) in programs {
        let _ = write!(
            text,
            "  - type: software\n    title: microbench\n    authors:\n      - name: The microbench maintainers\n    \
             version: {}\n",
            quoted(version)
        );
        if let Some(commit) = commit {
            let _ = writeln!(text, "    commit: {}", quoted(commit));
        }
    }
    Some(text)
}

/// Why a study with a licence or a DOI has no `CITATION.cff`; `None` if it has one, or states nothing.
#[must_use]
pub fn without_authors(attribution: &Attribution) -> Option<String> {
    if !attribution.authors.is_empty() || attribution.is_empty() {
        return None;
    }
    Some(format!(
        "the archive has no {FILE}, because the study has no `authors`, which this format requires; plan.json states: {}",
        one_line(&attribution.line(), 400)
    ))
}

/// The authors without repetitions, which the schema of the format refuses: of the same name, or of the same ORCID iD.
fn distinct(authors: &[Author]) -> Vec<&Author> {
    let mut kept: Vec<&Author> = Vec::new();
    for author in authors {
        if !kept.iter().any(|other| other.is_same_person(author)) {
            kept.push(author);
        }
    }
    kept
}

fn author_entry(author: &Author) -> String {
    let mut fields = match author.person() {
        Some((family, given)) => vec![("family-names", family), ("given-names", given)],
        None => vec![("name", author.name.as_str())],
    };
    fields.extend(author.email.as_deref().map(|email| ("email", email)));
    fields.extend(author.orcid.as_deref().filter(|orcid| is_orcid(orcid)).map(|orcid| ("orcid", orcid)));
    let mut text = String::new();
    for (n, (name, value)) in fields.into_iter().enumerate() {
        let _ = writeln!(text, "  {} {name}: {}", if n == 0 { '-' } else { ' ' }, quoted(value));
    }
    text
}

/// The licences of an SPDX expression that is one licence or a choice of several; `None` for other expressions.
fn cff_licences(expression: &str) -> Option<Vec<&str>> {
    let mut ids: Vec<&str> = Vec::new();
    for id in expression.split(" OR ").map(str::trim) {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let is_id = |id: &&str| {
        !id.starts_with("LicenseRef-")
            && !NO_LICENSE.contains(id)
            && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.')
    };
    ids.iter().all(is_id).then_some(ids)
}

/// `text` as a double-quoted scalar of YAML, whose escapes include those of JSON.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            // Not printable in YAML, or a line break.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use microbench_formats::attribution::Author;

    use super::{cff_licences, distinct, quoted};

    #[test]
    fn text_is_quoted_for_yaml() {
        assert_eq!(quoted("a \"b\" \\ é\n\u{85}"), "\"a \\\"b\\\" \\\\ é\\u000a\\u0085\"");
    }

    #[test]
    fn an_author_of_an_edited_plan_is_listed_once() {
        let author = |name: &str, orcid: Option<&str>| Author {
            name: name.into(),
            email: None,
            orcid: orcid.map(|digits| format!("https://orcid.org/{digits}")),
        };
        let (one, other) = (Some("0000-0002-1825-0097"), Some("0000-0002-1694-233X"));
        let all = [
            author("Lovelace, Ada", None),
            author("Lovelace,Ada", one),
            author("Sato, Yuki", one),
            author("Byron, Ada", one),
            author("Sato, Yuki", other),
        ];
        let kept: Vec<usize> =
            distinct(&all).iter().filter_map(|kept| all.iter().position(|author| author == *kept)).collect();
        assert_eq!(kept, [0, 2, 4]);
    }

    #[test]
    fn only_a_choice_of_licences_is_a_list() {
        assert_eq!(cff_licences("MIT OR Apache-2.0"), Some(vec!["MIT", "Apache-2.0"]));
        assert_eq!(cff_licences("CC-BY-4.0"), Some(vec!["CC-BY-4.0"]));
        assert_eq!(cff_licences("MIT OR ISC OR MIT"), Some(vec!["MIT", "ISC"]), "the schema refuses repetitions");
        for other in [
            "NOASSERTION",
            "MIT OR NONE",
            "MIT AND ISC",
            "(MIT OR ISC) AND Zlib",
            "Apache-2.0+",
            "LicenseRef-own",
            "GPL-2.0-only WITH x",
        ] {
            assert_eq!(cff_licences(other), None, "{other}");
        }
    }
}

//! Authors, licence and DOI of `[study]`.

use microbench_formats::attribution::{Attribution, Author, NO_LICENSE, is_doi};
use microbench_formats::code::Code;

use super::diagnostic::{Diagnostics, ManifestError};
use super::nearest::{nearest, quote};
use super::raw::StudySection;
use super::read::At;

/// Checks the keys. An invalid value is reported and left out.
pub(super) fn check(section: &StudySection, errors: &mut Diagnostics) -> Attribution {
    let mut authors: Vec<Author> = Vec::new();
    for raw in &section.authors {
        match raw.value.parse::<Author>() {
            Ok(author) => match authors.iter().find(|known| known.is_same_person(&author)) {
                Some(known) => {
                    let mut message = format!("`authors` lists {} twice", quote(&author.name));
                    if known.name != author.name {
                        message.push_str(&format!(": {} is the same author", quote(&known.name)));
                    }
                    errors.push(ManifestError::new(Code::Duplicate, raw.span.clone(), message));
                }
                None => authors.push(author),
            },
            Err(problem) => errors.push(
                ManifestError::new(
                    Code::BadAuthor,
                    raw.span.clone(),
                    format!("{} is not an author", quote(&raw.value)),
                )
                .label(problem.to_string())
                .help(
                    "write `Family, Given <mail> (https://orcid.org/ORCID)` for a person, or the name of an \
                         organisation; mail and ORCID are optional",
                ),
            ),
        }
    }
    Attribution { authors, license: license(section.license.as_ref(), errors), doi: doi(section.doi.as_ref(), errors) }
}

fn license(raw: Option<&At<String>>, errors: &mut Diagnostics) -> Option<String> {
    let At { value, span } = raw?;
    let is_missing = |id: &str| NO_LICENSE.contains(&id);
    let mut error = |code, message: String| errors.push(ManifestError::new(code, span.clone(), message));
    let parsed = match spdx::Expression::parse(value) {
        _ if is_missing(value) => {
            error(
                Code::BadLicense,
                format!("{} is not a license; omit the key if the study has no license", quote(value)),
            );
            return None;
        }
        Ok(parsed) => parsed,
        Err(error) => {
            let message = format!("{} is not an SPDX license expression", quote(value));
            let help = suggestion(value).map_or_else(
                || {
                    "use an identifier of https://spdx.org/licenses, for instance `CC-BY-4.0`, or identifiers that \
                     `AND`, `OR` and `WITH` join"
                        .to_owned()
                },
                |suggestion| format!("did you mean `{suggestion}`?"),
            );
            let reason = error.reason.to_string();
            errors.push(ManifestError::new(Code::BadLicense, span.clone(), message).label(reason).help(help));
            return None;
        }
    };
    let mut known: Vec<String> = Vec::new();
    for requirement in parsed.requirements() {
        let name = requirement.req.to_string();
        if is_missing(&name) {
            error(Code::BadLicense, format!("{} in `license` is not a license", quote(&name)));
            return None;
        }
        if known.contains(&name) {
            error(Code::Duplicate, format!("`license` lists {} twice", quote(&name)));
            return None;
        }
        known.push(name);
    }
    Some(value.clone())
}

/// A valid expression that is probably meant by `value`; `None` if none is known.
fn suggestion(value: &str) -> Option<String> {
    let ids =
        || spdx::identifiers::LICENSES.iter().map(|license| license.name).filter(|name| !NO_LICENSE.contains(name));
    let of_one = |text: &str| -> Option<String> {
        if spdx::license_id(text).is_some() && spdx::Expression::parse(text).is_ok() {
            return Some(text.to_owned());
        }
        // The licenses of GNU have two identifiers for each version.
        let gnu = text.strip_suffix('+').map(|id| format!("{id}-or-later"));
        let gnu = gnu.filter(|id| spdx::license_id(id).is_some());
        // The crate knows imprecise names, such as `Apache 2.0` for `Apache-2.0`.
        let imprecise = || spdx::imprecise_license_id(text).filter(|(_, length)| *length == text.len());
        let imprecise = || imprecise().map(|(id, _)| id.name.to_owned());
        gnu.or_else(imprecise).or_else(|| Some(nearest(text, ids())?.to_owned()).filter(|_| !text.contains(' ')))
    };
    let found = match value.contains('/') {
        // An old spelling of `OR` in manifests of Cargo.
        true => value.split('/').map(|part| of_one(part.trim())).collect::<Option<Vec<_>>>()?.join(" OR "),
        false => of_one(value)?,
    };
    (found != value && spdx::Expression::parse(&found).is_ok()).then_some(found)
}

fn doi(raw: Option<&At<String>>, errors: &mut Diagnostics) -> Option<String> {
    let At { value, span } = raw?;
    if is_doi(value) {
        return Some(value.clone());
    }
    let inside = value.find("10.").map(|at| &value[at..]).filter(|text| is_doi(text));
    let help = match inside {
        Some(doi) => format!("write the DOI without a prefix: `{doi}`"),
        None => "a DOI has the form `10.NNNN/SUFFIX`, for instance `10.5281/zenodo.1234567`".to_owned(),
    };
    let message = format!("{} is not a DOI", quote(value));
    errors.push(ManifestError::new(Code::BadDoi, span.clone(), message).help(help));
    None
}

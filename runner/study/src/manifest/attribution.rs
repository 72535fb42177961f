//! Authors, licence and DOI of `[study]`.

use std::collections::BTreeSet;

use microbench_formats::attribution::{Attribution, Author, is_doi};
use microbench_formats::code::Code;

use super::diagnostic::{Diagnostics, ManifestError};
use super::nearest::{nearest, quote};
use super::raw::StudySection;
use super::read::At;

/// Checks the keys. An invalid value is reported and left out.
pub(super) fn check(section: &StudySection, errors: &mut Diagnostics) -> Attribution {
    let mut authors: Vec<Author> = Vec::new();
    let mut known = BTreeSet::new();
    for raw in &section.authors {
        match raw.value.parse::<Author>() {
            Ok(author) if !known.insert((author.name.clone(), author.orcid.clone())) => {
                let message = format!("`authors` lists {} twice", quote(&author.name));
                errors.push(ManifestError::new(Code::Duplicate, raw.span.clone(), message));
            }
            Ok(author) => authors.push(author),
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
    match spdx::Expression::parse(value) {
        Ok(_) => Some(value.clone()),
        Err(error) => {
            let message = format!("{} is not an SPDX license expression", quote(value));
            // The crate knows imprecise names, such as `Apache 2.0` for `Apache-2.0`.
            let imprecise = spdx::imprecise_license_id(value).filter(|(_, length)| *length == value.len());
            let ids = || spdx::identifiers::LICENSES.iter().map(|license| license.name);
            let near =
                imprecise.map(|(id, _)| id.name).or_else(|| nearest(value, ids()).filter(|_| !value.contains(' ')));
            let help = match near {
                Some(id) => format!("did you mean `{id}`?"),
                None => {
                    "use an identifier of https://spdx.org/licenses, for instance `CC-BY-4.0`, or identifiers that \
                         `AND`, `OR` and `WITH` join"
                        .to_owned()
                }
            };
            let reason = error.reason.to_string();
            errors.push(ManifestError::new(Code::BadLicense, span.clone(), message).label(reason).help(help));
            None
        }
    }
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

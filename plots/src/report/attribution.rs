//! Authors, licence and DOI in the head of the page.

use microbench_formats::attribution::{Attribution, is_doi, is_orcid};
use microbench_formats::describe::one_line;
use serde::Serialize;

/// Largest number of characters of a name, licence or DOI.
const MOST: usize = 300;

/// Authors, licence and DOI. A plan may come from anywhere, so a link is made of a valid DOI or ORCID only.
#[derive(Serialize)]
pub(super) struct Byline {
    authors: Vec<Linked>,
    /// Empty without a licence.
    license: String,
    /// `None` without a DOI.
    doi: Option<Linked>,
}

/// A text; `link` is empty for a text without a link.
#[derive(Serialize)]
struct Linked {
    text: String,
    link: String,
}

pub(super) fn byline(attribution: &Attribution) -> Byline {
    let author = |author: &microbench_formats::attribution::Author| Linked {
        text: one_line(&author.display_name(), MOST),
        link: author.orcid.clone().filter(|orcid| is_orcid(orcid)).unwrap_or_default(),
    };
    let doi = |doi: &String| Linked {
        text: one_line(doi, MOST),
        link: if is_doi(doi) { format!("https://doi.org/{doi}") } else { String::new() },
    };
    Byline {
        authors: attribution.authors.iter().map(author).collect(),
        license: attribution.license.as_ref().map_or_else(String::new, |license| one_line(license, MOST)),
        doi: attribution.doi.as_ref().map(doi),
    }
}

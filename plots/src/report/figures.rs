//! The study's figures, drawn into the page.

use microbench_formats::figure::Column;
use serde::Serialize;

use crate::Error;
use crate::analyze::remarked;
use crate::figure::output::element;
use crate::figure::{Data, describe};

/// Bytes of a picture that a page can bear.
const MOST_BYTES: usize = 1_500_000;
/// Bytes of all of them.
const MOST_BYTES_IN_ALL: usize = 12_000_000;

/// One figure.
#[derive(Serialize)]
pub(super) struct Shown {
    id: String,
    class: &'static str,
    title: String,
    caption: String,
    /// Empty when it is too large.
    svg: String,
    file: String,
}

/// Every figure of the plan, in its own theme. `isolated`: VMMs were isolated from the host.
pub(super) fn all(data: Data<'_>, isolated: bool) -> Result<Vec<Shown>, Error> {
    let mut shown = Vec::new();
    let mut bytes = 0;
    for figure in &data.plan.figures {
        for description in remarked(describe(data, figure)?, isolated) {
            let id = format!("figure-{}", shown.len() + 1);
            let mut svg = element(&description, &id)?;
            let files = format!("figures/{}.svg", description.name);
            let mut file = format!("As a file: {files}, drawn by `microbench plot`.").replace('`', "");
            if svg.len() > MOST_BYTES || bytes + svg.len() > MOST_BYTES_IN_ALL {
                file = format!("Too large for this page ({} KB): see {files}.", svg.len() / 1000);
                svg = String::new();
            }
            bytes += svg.len();
            let title = if description.title.trim().is_empty() { &description.name } else { &description.title };
            shown.push(Shown {
                id,
                class: if description.column == Column::Single { "single" } else { "double" },
                title: title.trim().trim_end_matches('.').to_owned(),
                caption: description.caption.clone(),
                svg,
                file,
            });
        }
    }
    Ok(shown)
}

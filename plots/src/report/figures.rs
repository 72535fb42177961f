//! The study's figures as SVG elements of the page.

use microbench_formats::figure::Column;
use serde::Serialize;

use crate::Error;
use crate::analyze::with_isolation_remark;
use crate::figure::output::inline_svg;
use crate::figure::{Data, describe};

/// Largest size of a figure in the page, in bytes.
const MOST_BYTES: usize = 1_500_000;
/// Largest size of all figures in the page, in bytes.
const MOST_BYTES_IN_ALL: usize = 12_000_000;

/// A figure of the page.
#[derive(Serialize)]
pub(super) struct PageFigure {
    id: String,
    class: &'static str,
    title: String,
    caption: String,
    /// Empty if the figure is too large for the page.
    svg: String,
    file: String,
}

/// All figures of the plan. `isolated` is whether VMMs were isolated from the host; if not, the captions contain a
/// remark.
pub(super) fn all(data: Data<'_>, isolated: bool) -> Result<Vec<PageFigure>, Error> {
    let mut shown = Vec::new();
    let mut bytes = 0;
    for figure in &data.plan.figures {
        for description in with_isolation_remark(describe(data, figure)?, isolated) {
            let id = format!("figure-{}", shown.len() + 1);
            let mut svg = inline_svg(&description, &id)?;
            let files = format!("figures/{}.svg", description.name);
            let mut file = format!("File: {files}, written by `microbench plot`.").replace('`', "");
            if svg.len() > MOST_BYTES || bytes + svg.len() > MOST_BYTES_IN_ALL {
                file = format!("Too large for this page ({} kB); see {files}.", svg.len() / 1000);
                svg = String::new();
            }
            bytes += svg.len();
            let title = if description.title.trim().is_empty() { &description.name } else { &description.title };
            shown.push(PageFigure {
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

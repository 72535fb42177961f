//! `[figures.*]` as it is written.

use microbench_formats::code::Code;

use super::{Levels, list, read_selection};
use crate::manifest::diagnostic::{Diagnostics, ManifestError};
use crate::manifest::keys;
use crate::manifest::read::{At, Entry, Item, Table};

#[derive(Default)]
pub(in crate::manifest) struct Figure {
    pub(in crate::manifest) name: At<String>,
    /// A part of it could not be read; its cells are not known then.
    pub(in crate::manifest) broken: bool,
    pub(in crate::manifest) title: Option<At<String>>,
    pub(in crate::manifest) form: Option<At<String>>,
    pub(in crate::manifest) theme: Option<At<String>>,
    pub(in crate::manifest) column: Option<At<String>>,
    pub(in crate::manifest) metrics: Vec<At<String>>,
    pub(in crate::manifest) bars: Option<At<Vec<Bar>>>,
    pub(in crate::manifest) y_label: Option<At<String>>,
    pub(in crate::manifest) reference: Option<At<bool>>,
    pub(in crate::manifest) x: Option<At<String>>,
    pub(in crate::manifest) groups: Option<At<String>>,
    pub(in crate::manifest) panels: Option<At<String>>,
    pub(in crate::manifest) selection: Levels,
    pub(in crate::manifest) statistic: Option<At<String>>,
    pub(in crate::manifest) x_scale: Option<At<String>>,
    pub(in crate::manifest) y_scale: Option<At<String>>,
}

/// One element of `bars`.
pub(in crate::manifest) struct Bar {
    pub(in crate::manifest) span: std::ops::Range<usize>,
    pub(in crate::manifest) label: Option<At<String>>,
    pub(in crate::manifest) group: Option<At<String>>,
    pub(in crate::manifest) selection: Levels,
}

/// Reads one figure.
pub(super) fn figure(name: At<String>, table: Option<Table<'_>>, errors: &mut Diagnostics) -> Figure {
    let Some(mut table) = table else { return Figure { name, broken: true, ..Figure::default() } };
    let before = errors.count();
    table.require("form", "set the form of the chart, for instance `form = \"grouped-bars\"`", errors);
    let form = table.string("form", errors);
    let drawn = form.as_ref().is_none_or(|form| !["setup", "forest"].contains(&form.value.as_str()));
    let figure = Figure {
        name,
        broken: false,
        metrics: metrics(&mut table, drawn, errors),
        title: table.string("title", errors),
        form,
        theme: table.string("theme", errors),
        column: table.string("column", errors),
        bars: table.take("bars").and_then(|entry| bars(&entry, errors)),
        y_label: table.string("y_label", errors),
        reference: table.take("reference").and_then(|entry| entry.item().boolean(errors)),
        x: table.string("x", errors),
        groups: table.string("groups", errors),
        panels: table.string("panels", errors),
        selection: read_selection(&mut table, "where", errors),
        statistic: table.string("statistic", errors),
        x_scale: table.string("x_scale", errors),
        y_scale: table.string("y_scale", errors),
    };
    table.deny_rest(keys::FIGURE, errors);
    Figure { broken: errors.count() != before, ..figure }
}

fn metrics(table: &mut Table<'_>, required: bool, errors: &mut Diagnostics) -> Vec<At<String>> {
    let (one, several) = (table.take("metric"), table.take("metrics"));
    match (one, several) {
        (Some(one), Some(several)) => {
            errors.push(
                ManifestError::new(
                    Code::Conflict,
                    several.key_span(),
                    format!("{} has both `metric` and `metrics`", table.place),
                )
                .related(one.key_span(), "the other")
                .help("keep `metrics`, with every metric in its list"),
            );
            Vec::new()
        }
        (Some(one), None) => one.string(errors).into_iter().collect(),
        (None, Some(several)) => list(&several, errors, Item::string).unwrap_or_default(),
        (None, None) => {
            if required {
                table.require(
                    "metric",
                    "name the metric to draw, for instance `metric = \"kernel_boot_time\"`",
                    errors,
                );
            }
            Vec::new()
        }
    }
}

fn bars(entry: &Entry<'_>, errors: &mut Diagnostics) -> Option<At<Vec<Bar>>> {
    let span = entry.key_span();
    let bars = list(entry, errors, |item, errors| {
        let mut table = item.table("a bar", errors)?;
        let span = table.span.clone();
        table.require("label", "the label below the bar, for instance `label = \"x10\"`", errors);
        table.require(
            "where",
            "the cells of the bar, for instance `where = { variant = \"fc\", concurrency = 10 }`",
            errors,
        );
        let value = Bar {
            span: span.clone(),
            label: table.string("label", errors),
            group: table.string("group", errors),
            selection: read_selection(&mut table, "where", errors),
        };
        table.deny_rest(keys::BAR, errors);
        Some(At { value, span })
    })?;
    Some(At { value: bars.into_iter().map(|bar| bar.value).collect(), span })
}

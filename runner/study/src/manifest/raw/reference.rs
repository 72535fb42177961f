//! A file of published values as it is written.

use std::ops::Range;

use super::{Levels, list, read_selection};
use crate::manifest::diagnostic::Diagnostics;
use crate::manifest::keys;
use crate::manifest::read::{At, Item, Table};

#[derive(Default)]
pub(in crate::manifest) struct Reference {
    pub(in crate::manifest) label: Option<At<String>>,
    pub(in crate::manifest) citation: Option<At<String>>,
    pub(in crate::manifest) values: Vec<Value>,
}

/// One element of `[[values]]`.
pub(in crate::manifest) struct Value {
    pub(in crate::manifest) span: Range<usize>,
    pub(in crate::manifest) metric: Option<At<String>>,
    pub(in crate::manifest) label: Option<At<String>>,
    pub(in crate::manifest) selection: Levels,
    pub(in crate::manifest) value: Option<At<f64>>,
    pub(in crate::manifest) n: Option<At<i64>>,
}

/// Reads the tables of a file of published values.
pub(in crate::manifest) fn reference(mut root: Table<'_>, errors: &mut Diagnostics) -> Reference {
    root.require("label", "set the name for legends, for instance `label = \"Doe 2019\"`", errors);
    root.require("citation", "cite the publication of the values", errors);
    root.require("values", "list the values, each as `[[values]]`", errors);
    let reference = Reference {
        label: root.string("label", errors),
        citation: root.string("citation", errors),
        values: root
            .take("values")
            .and_then(|entry| list(&entry, errors, value))
            .map_or_else(Vec::new, |values| values.into_iter().map(|value| value.value).collect()),
    };
    root.deny_rest(keys::REFERENCE, errors);
    reference
}

fn value(item: &Item<'_>, errors: &mut Diagnostics) -> Option<At<Value>> {
    let mut table = item.table("a value", errors)?;
    let span = table.span.clone();
    table.require("metric", "name the metric of the study, for instance `metric = \"shutdown_time\"`", errors);
    table.require("label", "set the value's name in the publication, for instance `label = \"T2 cpu\"`", errors);
    table.require("where", "select the corresponding cells, for instance `where = { variant = \"fc\" }`", errors);
    table.require("value", "set the value in the metric's unit, for instance `value = 763.1`", errors);
    let value = Value {
        span: span.clone(),
        metric: table.string("metric", errors),
        label: table.string("label", errors),
        selection: read_selection(&mut table, "where", errors),
        value: table.take("value").and_then(|entry| entry.item().number(errors)),
        n: table.integer("n", keys::VALUE, errors),
    };
    table.deny_rest(keys::VALUE, errors);
    Some(At { value, span })
}

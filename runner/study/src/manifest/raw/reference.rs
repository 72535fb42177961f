//! A file of published values as it is written.

use std::ops::Range;

use super::{Levels, level_lists, list};
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

/// Reads the file's tree.
pub(in crate::manifest) fn reference(mut root: Table<'_>, errors: &mut Diagnostics) -> Reference {
    root.require("label", "the name for legends, for instance `label = \"Doe 2019\"`", errors);
    root.require("citation", "say where the values were published", errors);
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
    table.require("metric", "the study's metric that was measured, for instance `metric = \"shutdown_time\"`", errors);
    table.require("label", "the value's name where it was published, for instance `label = \"T2 cpu\"`", errors);
    table.require("where", "the cells that it corresponds to, for instance `where = { variant = \"fc\" }`", errors);
    table.require("value", "the value in the metric's unit, for instance `value = 763.1`", errors);
    let value = Value {
        span: span.clone(),
        metric: table.string("metric", errors),
        label: table.string("label", errors),
        selection: level_lists(&mut table, "where", errors),
        value: table.take("value").and_then(|entry| entry.item().number(errors)),
        n: table.integer("n", keys::VALUE, errors),
    };
    table.deny_rest(keys::VALUE, errors);
    Some(At { value, span })
}

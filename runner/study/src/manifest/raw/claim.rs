//! `[[claims]]` as it is written.

use std::ops::Range;

use microbench_formats::code::Code;

use super::{LONGEST_TEXT, Levels, check_name, read_selection};
use crate::manifest::diagnostic::{Diagnostics, ManifestError};
use crate::manifest::keys;
use crate::manifest::nearest::{nearest, quote};
use crate::manifest::read::{At, Entry, Item, Table};
use crate::manifest::renamed::LEVELS_OF_SIDE;

/// Maximum number of claims of a study.
pub(in crate::manifest) const MOST_CLAIMS: usize = 1000;

#[derive(Default)]
pub(in crate::manifest) struct Claim {
    pub(in crate::manifest) span: Range<usize>,
    /// A part of it could not be read; missing parts must not be reported then.
    pub(in crate::manifest) broken: bool,
    pub(in crate::manifest) name: Option<At<String>>,
    pub(in crate::manifest) text: Option<At<String>>,
    pub(in crate::manifest) metric: Option<At<String>>,
    /// Levels of every side.
    pub(in crate::manifest) selection: Levels,
    pub(in crate::manifest) value: Option<At<Sides>>,
    pub(in crate::manifest) ratio: Option<At<Sides>>,
    pub(in crate::manifest) difference: Option<At<Sides>>,
    pub(in crate::manifest) expect: Option<At<String>>,
    pub(in crate::manifest) statistic: Option<At<String>>,
    pub(in crate::manifest) clock: Option<At<String>>,
    pub(in crate::manifest) gate: Option<At<bool>>,
    pub(in crate::manifest) published: Option<At<f64>>,
    pub(in crate::manifest) data: Option<At<String>>,
    pub(in crate::manifest) unmeasured: Option<At<String>>,
}

/// The sides of a comparison, one or two.
pub(in crate::manifest) type Sides = Vec<Side>;

pub(in crate::manifest) struct Side {
    pub(in crate::manifest) span: Range<usize>,
    pub(in crate::manifest) metric: Option<At<String>>,
    pub(in crate::manifest) selection: Levels,
}

/// Reads `[[claims]]`.
pub(super) fn claims(entry: &Entry<'_>, errors: &mut Diagnostics) -> Vec<Claim> {
    let Some(items) = entry.list(errors) else { return Vec::new() };
    if items.value.len() > MOST_CLAIMS {
        let message = format!("the study has {} claims; the limit is {MOST_CLAIMS}", items.value.len());
        errors.push(ManifestError::new(Code::TooMany, items.span, message));
        return Vec::new();
    }
    items.value.iter().filter_map(|item| claim(item, errors)).collect()
}

fn claim(item: &Item<'_>, errors: &mut Diagnostics) -> Option<Claim> {
    let mut table = item.table("a claim", errors)?;
    let (span, before) = (table.span.clone(), errors.count());
    table.require("name", "set the name for tables and files, for instance `name = \"boot-slower\"`", errors);
    table.require("text", "state the claim, for instance `text = \"QEMU boots slower.\"`", errors);
    let name = table.string("name", errors);
    if let Some(name) = &name {
        check_name(name, "claim", errors);
    }
    let claim = Claim {
        span,
        broken: false,
        name,
        text: table.string("text", errors),
        metric: table.string("metric", errors),
        selection: read_selection(&mut table, "where", errors),
        value: table.take("value").and_then(|entry| one_side(&entry, errors)),
        ratio: table.take("ratio").and_then(|entry| two_sides(&entry, errors)),
        difference: table.take("difference").and_then(|entry| two_sides(&entry, errors)),
        expect: table.string("expect", errors),
        statistic: table.string("statistic", errors),
        clock: table.string("clock", errors),
        gate: table.take("gate").and_then(|entry| entry.item().boolean(errors)),
        published: table.take("published").and_then(|entry| entry.item().number(errors)),
        data: table.string("data", errors),
        unmeasured: table.string("unmeasured", errors),
    };
    for text in [&claim.text, &claim.unmeasured].into_iter().flatten() {
        if text.value.trim().is_empty() || text.value.len() > LONGEST_TEXT {
            let message = format!("a claim's text must have 1 to {LONGEST_TEXT} bytes");
            errors.push(ManifestError::new(Code::OutOfRange, text.span.clone(), message));
        }
    }
    table.deny_rest(keys::CLAIM, errors);
    Some(Claim { broken: errors.count() != before, ..claim })
}

fn one_side(entry: &Entry<'_>, errors: &mut Diagnostics) -> Option<At<Sides>> {
    let side = side(&entry.item(), entry.key(), errors)?;
    Some(At { span: side.span.clone(), value: vec![side] })
}

fn two_sides(entry: &Entry<'_>, errors: &mut Diagnostics) -> Option<At<Sides>> {
    let items = entry.list(errors)?;
    let count = items.value.len();
    if count != 2 {
        let message = format!("{} must have two sides, not {count}", quote(entry.key()));
        errors.push(
            ManifestError::new(Code::OutOfRange, items.span, message)
                .help("a side is a table such as `{ where = { variant = \"fc\", concurrency = 1 } }`"),
        );
        return None;
    }
    let value: Vec<_> = items.value.iter().filter_map(|item| side(item, entry.key(), errors)).collect();
    (value.len() == count).then_some(At { value, span: items.span })
}

fn side(item: &Item<'_>, key: &str, errors: &mut Diagnostics) -> Option<Side> {
    let mut table: Table<'_> = item.table(format!("a side of {}", quote(key)), errors)?;
    let span = table.span.clone();
    let before = errors.count();
    let metric = table.string("metric", errors);
    let selection = read_selection(&mut table, "where", errors);
    // In earlier versions, levels were keys of the side. A key that is near to a key of a side is a typo.
    let is_key = |entry: &Entry<'_>| nearest(entry.key(), keys::SIDE.iter().map(|key| key.name)).is_some();
    for level in table.take_where(|entry| !is_key(entry)) {
        errors.push_renamed(&LEVELS_OF_SIDE, &level.name(), &table.place);
    }
    table.deny_rest(keys::SIDE, errors);
    (errors.count() == before).then_some(Side { span, metric, selection })
}

//! The keys of a mapping, the file by which `import` reads a table of others. Its values are for the reader of tables.

use toml::de::DeTable;

use super::diagnostic::{Diagnostics, ManifestErrors};
use super::keys::{self, Key};
use super::read::Table;

/// Checks the keys of the mapping with this text; `name` is its path. Nothing is said of what is no TOML.
///
/// # Errors
/// Every key that a mapping does not have, old names of keys among them.
pub fn check(name: &str, source: &str) -> Result<(), ManifestErrors> {
    let (root, syntax) = DeTable::parse_recoverable(source);
    if !syntax.is_empty() {
        return Ok(());
    }
    let mut errors = Diagnostics::default();
    let mut root = Table::new("the mapping", root.span(), root.get_ref());
    for entry in take(&mut root, keys::MAPPING).filter(|entry| entry.key() == "cells" && entry.item().is_list()) {
        for item in entry.list(&mut errors).map(|items| items.value).unwrap_or_default() {
            let Some(mut cell) = item.is_table().then(|| item.table("a cell of the mapping", &mut errors)).flatten()
            else {
                continue;
            };
            take(&mut cell, keys::MAPPED_CELL).for_each(drop);
            cell.deny_rest(keys::MAPPED_CELL, &mut errors);
        }
    }
    root.deny_rest(keys::MAPPING, &mut errors);
    if errors.is_empty() { Ok(()) } else { Err(errors.into_errors(name, source)) }
}

/// The entries of the keys, which are not left in the table.
fn take<'a>(table: &mut Table<'a>, keys: &[Key]) -> impl Iterator<Item = super::read::Entry<'a>> + use<'a> {
    keys.iter().filter_map(|key| table.take(key.name)).collect::<Vec<_>>().into_iter()
}

//! Checks the keys of a mapping, the file that describes a foreign table to `import`. The import itself checks the
//! values.

use toml::de::DeTable;

use super::diagnostic::{Diagnostics, ManifestErrors};
use super::keys::{self, Key};
use super::read::Table;

/// Checks the keys of the mapping `source`; `name` is its path. Returns no error for invalid TOML, which the import
/// reports.
///
/// # Errors
/// All unknown keys, including renamed ones.
pub fn check_keys(name: &str, source: &str) -> Result<(), ManifestErrors> {
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

/// Takes the entries of `keys` out of the table.
fn take<'a>(table: &mut Table<'a>, keys: &[Key]) -> impl Iterator<Item = super::read::Entry<'a>> + use<'a> {
    keys.iter().filter_map(|key| table.take(key.name)).collect::<Vec<_>>().into_iter()
}

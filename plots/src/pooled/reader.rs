//! The rows of one table of samples, grouped by key; the file is read in parts, in parallel.
//!
//! Grouping in polars hashes the text of every key in every row. A column with few distinct texts is a dictionary in
//! the file, and each row is a view into it. Equal views of one array are the same text, so views are looked up instead
//! of texts. The view of the previous row is tried first.

use std::path::Path;

use polars::prelude::{BooleanChunked, DataFrame, PlHashMap, PolarsResult};
use polars_io::SerReader;
use polars_io::prelude::{ParallelStrategy, ParquetReader};
use rayon::prelude::*;

use microbench_formats::cell::HOST_CPU;
use microbench_formats::input;

use crate::samples::Status;

/// Rows of a part: one row group of the files that [`save`](crate::samples::save) writes.
const PART: usize = 1 << 18;
/// The number of columns that make a key.
pub(super) const KEYS: usize = 7;
const TEXTS: [&str; KEYS] = ["study", "cell", "metric", "unit", "host", HOST_CPU, "machine"];

/// The rows of one group, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Group {
    trials: Vec<u32>,
    /// NaN if there is no value, infinite if it is censored.
    values: Vec<f64>,
    /// The number of rows whose status is not `ok`.
    pub(super) missing: u64,
}

impl Group {
    pub(super) fn append(&mut self, mut later: Self) {
        self.trials.append(&mut later.trials);
        self.values.append(&mut later.values);
        self.missing += later.missing;
    }

    /// The value of each trial that has one: the median over its rows.
    pub(super) fn trial_values(self) -> Vec<f64> {
        let Self { trials, mut values, .. } = self;
        if trials.is_sorted_by(|a, b| a < b) {
            values.retain(|value| !value.is_nan());
            return values;
        }
        let mut rows: Vec<(u32, f64)> = trials.into_iter().zip(values).filter(|(_, value)| !value.is_nan()).collect();
        rows.sort_unstable_by(|(a, x), (b, y)| a.cmp(b).then(x.total_cmp(y)));
        rows.chunk_by(|(a, _), (b, _)| a == b).map(median_of_sorted).collect()
    }
}

/// The median of values in ascending order.
fn median_of_sorted(rows: &[(u32, f64)]) -> f64 {
    let (low, high) = (rows[(rows.len() - 1) / 2].1, rows[rows.len() / 2].1);
    if low == high { low } else { 0.5 * (high - low) + low }
}

/// Groups of rows with their keys.
type Groups = Vec<([String; KEYS], Group)>;

/// The groups of each part of the file, in order.
pub(super) fn read_parts(path: &Path) -> PolarsResult<Vec<Groups>> {
    let mut reader = ParquetReader::new(input::open_no_link(path)?);
    let rows = reader.num_rows()?;
    // Tables before format 8 do not have the CPU.
    let texts: Vec<&str> = match reader.schema()?.contains(HOST_CPU) {
        true => TEXTS.to_vec(),
        false => TEXTS.into_iter().filter(|name| *name != HOST_CPU).collect(),
    };
    let part = |part: usize| {
        let columns = texts.iter().copied().chain(["trial", "value", "status", "warmup", "superseded"]);
        let frame = ParquetReader::new(input::open_no_link(path)?)
            .with_columns(Some(columns.map(str::to_owned).collect()))
            .with_slice(Some((part * PART, PART)))
            .read_parallel(ParallelStrategy::None)
            .finish()?;
        groups(&frame)
    };
    (0..rows.div_ceil(PART)).into_par_iter().map(part).collect()
}

fn groups(frame: &DataFrame) -> PolarsResult<Groups> {
    let columns = TEXTS.iter().map(|name| TextColumn::read(frame, name)).collect::<PolarsResult<Vec<_>>>()?;
    let statuses = TextColumn::read(frame, "status")?;
    let known: Vec<Status> = statuses.texts.iter().map(|text| Status::from_name(text)).collect();
    // Our own files have one chunk without nulls; the columns of other files are copied value by value.
    let (values, trials) = (frame.column("value")?.f64()?, frame.column("trial")?.u32()?);
    let values = match values.cont_slice() {
        Ok(all) => all.to_vec(),
        Err(_) => values.iter().map(|value| value.unwrap_or(f64::NAN)).collect(),
    };
    let trials = match trials.cont_slice() {
        Ok(all) => all.to_vec(),
        Err(_) => trials.iter().map(|trial| trial.unwrap_or(0)).collect(),
    };
    let left_out = left_out(frame)?;

    let ids = group_ids(frame.height(), &columns);
    let mut sizes: Vec<usize> = Vec::new();
    for id in ids.iter().map(|id| *id as usize) {
        if id >= sizes.len() {
            sizes.resize(id + 1, 0);
        }
        sizes[id] += 1;
    }
    let mut groups: Vec<Option<([String; KEYS], Group)>> = sizes.iter().map(|_| None).collect();
    for (row, ((id, trial), mut value)) in ids.into_iter().zip(trials).zip(values).enumerate() {
        if left_out.as_ref().is_some_and(|left_out| left_out[row]) {
            continue;
        }
        let id = id as usize;
        let (_, group) = groups[id].get_or_insert_with(|| {
            let (trials, values) = (Vec::with_capacity(sizes[id]), Vec::with_capacity(sizes[id]));
            (std::array::from_fn(|at| columns[at].text(row).to_owned()), Group { trials, values, missing: 0 })
        });
        let status = known.get(statuses.id(row) as usize).copied().unwrap_or(Status::NotAvailable);
        if status != Status::Ok {
            group.missing += 1;
            value = if status == Status::Censored { f64::INFINITY } else { f64::NAN };
        }
        group.trials.push(trial);
        group.values.push(value);
    }
    Ok(groups.into_iter().flatten().collect())
}

/// For each row whether it is a warm-up or superseded; `None` if no row is.
fn left_out(frame: &DataFrame) -> PolarsResult<Option<Vec<bool>>> {
    let (warmup, superseded) = (frame.column("warmup")?.bool()?, frame.column("superseded")?.bool()?);
    let plain = |column: &BooleanChunked| column.null_count() == 0 && !column.any();
    let counts = |flags| flags == (Some(false), Some(false));
    let flags = || warmup.iter().zip(superseded.iter()).map(|flags| !counts(flags)).collect();
    Ok((!plain(warmup) || !plain(superseded)).then(flags))
}

/// A number for each row, equal for rows with equal texts in all columns.
fn group_ids(rows: usize, columns: &[TextColumn]) -> Vec<u32> {
    let mut several = columns.iter().filter(|column| !column.rows.is_empty());
    let mut ids = several.next().map_or_else(|| vec![0; rows], |column| column.rows.clone());
    for column in several {
        let mut known: PlHashMap<u64, u32> = PlHashMap::default();
        for (id, other) in ids.iter_mut().zip(&column.rows) {
            let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
            *id = *known.entry(u64::from(*id) << 32 | u64::from(*other)).or_insert(next);
        }
    }
    ids
}

/// A column of texts as a dictionary.
#[derive(Default)]
struct TextColumn {
    texts: Vec<String>,
    places: PlHashMap<String, u32>,
    /// Index into `texts` for each row; empty if all rows have the same text.
    rows: Vec<u32>,
}

impl TextColumn {
    fn read(frame: &DataFrame, name: &str) -> PolarsResult<Self> {
        let mut this = Self::default();
        if name == HOST_CPU && frame.column(name).is_err() {
            return Ok(this);
        }
        let column = frame.column(name)?.str()?;
        if column.null_count() > 0 {
            for text in column.iter() {
                let place = this.index_of(text.unwrap_or_default());
                this.rows.push(place);
            }
            return Ok(this);
        }
        for array in column.downcast_iter() {
            let views = array.views();
            if let Some(first) = views.first().map(|view| view.as_u128())
                && views.iter().all(|view| view.as_u128() == first)
            {
                let place = this.index_of(array.value(0));
                this.rows.resize(this.rows.len() + views.len(), place);
                continue;
            }
            let mut known: PlHashMap<u128, u32> = PlHashMap::default();
            let mut before = None;
            for (at, view) in views.iter().map(|view| view.as_u128()).enumerate() {
                let place = match before {
                    Some((same, place)) if same == view => place,
                    _ => *known.entry(view).or_insert_with(|| this.index_of(array.value(at))),
                };
                before = Some((view, place));
                this.rows.push(place);
            }
        }
        if this.texts.len() < 2 {
            this.rows = Vec::new();
        }
        Ok(this)
    }

    /// The index of the row's text in `texts`.
    fn id(&self, row: usize) -> u32 {
        self.rows.get(row).copied().unwrap_or(0)
    }

    fn text(&self, row: usize) -> &str {
        self.texts.get(self.id(row) as usize).map_or("", String::as_str)
    }

    /// The index of a text, which is added if it is new.
    fn index_of(&mut self, text: &str) -> u32 {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.to_owned());
        self.places.insert(text.to_owned(), place);
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_the_median_of_its_rows_in_any_order() {
        let group = |rows: &[(u32, f64)]| {
            let (trials, values) = rows.iter().copied().unzip();
            Group { trials, values, missing: 0 }.trial_values()
        };
        let none = f64::NAN;
        assert_eq!(group(&[(1, 5.0), (2, none), (4, 3.0)]), [5.0, 3.0]);
        assert_eq!(group(&[(1, 5.0), (1, 7.0), (0, 2.0), (1, 1.0), (0, none), (2, none)]), [2.0, 5.0]);
        assert_eq!(group(&[(1, 5.0), (1, f64::INFINITY), (2, f64::INFINITY), (2, f64::INFINITY)]), [f64::INFINITY; 2]);
        assert_eq!(group(&[(1, 1.0), (1, 2.0)]), [1.5]);
    }
}

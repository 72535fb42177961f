//! The rows of one file of samples by what they are of, read a part at a time, parts in parallel.
//!
//! Polars' own grouping hashes the text of every key of every row. A column of a few texts is a dictionary in the file, of which each row has
//! a view, and equal views of one array are one text: so views are looked up in place of texts, and the one of the row before comes first.

use std::fs::File;
use std::path::Path;

use polars::prelude::{BooleanChunked, DataFrame, PlHashMap, PolarsResult};
use polars_io::SerReader;
use polars_io::prelude::{ParallelStrategy, ParquetReader};
use rayon::prelude::*;

use crate::samples::Status;

/// Rows of a part: a row group of the files that we write.
const PART: usize = 1 << 18;
/// The columns whose texts make a group.
pub(super) const KEYS: usize = 6;
const TEXTS: [&str; KEYS] = ["study", "cell", "metric", "unit", "host", "machine"];

/// The rows of one group, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Group {
    trials: Vec<u32>,
    /// NaN where there is none, infinite where it is censored.
    values: Vec<f64>,
    /// Rows that are not `ok`.
    pub(super) missing: u64,
}

impl Group {
    pub(super) fn append(&mut self, mut later: Self) {
        self.trials.append(&mut later.trials);
        self.values.append(&mut later.values);
        self.missing += later.missing;
    }

    /// One value for each trial that has one: the median over its rows.
    pub(super) fn trials(self) -> Vec<f64> {
        let Self { trials, mut values, .. } = self;
        if trials.is_sorted_by(|a, b| a < b) {
            values.retain(|value| !value.is_nan());
            return values;
        }
        let mut rows: Vec<(u32, f64)> = trials.into_iter().zip(values).filter(|(_, value)| !value.is_nan()).collect();
        rows.sort_unstable_by(|(a, x), (b, y)| a.cmp(b).then(x.total_cmp(y)));
        rows.chunk_by(|(a, _), (b, _)| a == b).map(middle).collect()
    }
}

/// The median of sorted values.
fn middle(rows: &[(u32, f64)]) -> f64 {
    let (low, high) = (rows[(rows.len() - 1) / 2].1, rows[rows.len() / 2].1);
    if low == high { low } else { 0.5 * (high - low) + low }
}

/// The groups of each part of the file, in order.
pub(super) fn parts(path: &Path) -> PolarsResult<Vec<Vec<([String; KEYS], Group)>>> {
    let rows = ParquetReader::new(File::open(path)?).num_rows()?;
    let part = |part: usize| {
        let columns = TEXTS.into_iter().chain(["trial", "value", "status", "warmup", "superseded"]);
        let frame = ParquetReader::new(File::open(path)?)
            .with_columns(Some(columns.map(str::to_owned).collect()))
            .with_slice(Some((part * PART, PART)))
            .read_parallel(ParallelStrategy::None)
            .finish()?;
        groups(&frame)
    };
    (0..rows.div_ceil(PART)).into_par_iter().map(part).collect()
}

fn groups(frame: &DataFrame) -> PolarsResult<Vec<([String; KEYS], Group)>> {
    let columns = TEXTS.iter().map(|name| Texts::of(frame, name)).collect::<PolarsResult<Vec<_>>>()?;
    let statuses = Texts::of(frame, "status")?;
    let known: Vec<Status> = statuses.texts.iter().map(|text| Status::of(text)).collect();
    let values = frame.column("value")?.f64()?;
    let trials = frame.column("trial")?.u32()?;
    let flag = |name: &str| -> PolarsResult<BooleanChunked> { Ok(frame.column(name)?.bool()?.clone()) };
    let (warmup, superseded) = (flag("warmup")?, flag("superseded")?);
    let counts = warmup.iter().zip(superseded.iter()).map(|flags| flags == (Some(false), Some(false)));

    // Columns of one text make no difference between rows.
    let several: Vec<&Texts> = columns.iter().filter(|column| column.texts.len() > 1).collect();
    let mut places: PlHashMap<[u32; KEYS], usize> = PlHashMap::default();
    let mut groups: Vec<([String; KEYS], Group)> = Vec::new();
    let rows = values.iter().zip(trials.iter()).zip(counts).enumerate().filter(|(_, (_, counts))| *counts);
    for (row, ((value, trial), _)) in rows {
        let mut key = [0; KEYS];
        key.iter_mut().zip(&several).for_each(|(part, column)| *part = column.rows[row]);
        let place = *places.entry(key).or_insert_with(|| {
            let text = |column: &Texts| column.texts[column.rows[row] as usize].clone();
            groups.push((std::array::from_fn(|at| text(&columns[at])), Group::default()));
            groups.len() - 1
        });
        let group = &mut groups[place].1;
        let status = known[statuses.rows[row] as usize];
        group.missing += u64::from(status != Status::Ok);
        group.trials.push(trial.unwrap_or(0));
        group.values.push(match status {
            Status::Ok => value.unwrap_or(f64::NAN),
            Status::Censored => f64::INFINITY,
            _ => f64::NAN,
        });
    }
    Ok(groups)
}

/// A column of texts: which of its texts each row has.
#[derive(Default)]
struct Texts {
    texts: Vec<String>,
    places: PlHashMap<String, u32>,
    rows: Vec<u32>,
}

impl Texts {
    fn of(frame: &DataFrame, name: &str) -> PolarsResult<Self> {
        let column = frame.column(name)?.str()?;
        let mut this = Self { rows: Vec::with_capacity(column.len()), ..Self::default() };
        if column.null_count() > 0 {
            for text in column.iter() {
                let place = this.place(text.unwrap_or_default());
                this.rows.push(place);
            }
            return Ok(this);
        }
        for array in column.downcast_iter() {
            let mut known: PlHashMap<u128, u32> = PlHashMap::default();
            let mut before = None;
            for (at, view) in array.views().iter().map(|view| view.as_u128()).enumerate() {
                let place = match before {
                    Some((same, place)) if same == view => place,
                    _ => *known.entry(view).or_insert_with(|| this.place(array.value(at))),
                };
                before = Some((view, place));
                this.rows.push(place);
            }
        }
        Ok(this)
    }

    /// The place of a text, which is added if it is new.
    fn place(&mut self, text: &str) -> u32 {
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
    fn a_trial_is_the_median_of_its_rows_wherever_they_are() {
        let group = |rows: &[(u32, f64)]| {
            let (trials, values) = rows.iter().copied().unzip();
            Group { trials, values, missing: 0 }.trials()
        };
        let none = f64::NAN;
        assert_eq!(group(&[(1, 5.0), (2, none), (4, 3.0)]), [5.0, 3.0]);
        assert_eq!(group(&[(1, 5.0), (1, 7.0), (0, 2.0), (1, 1.0), (0, none), (2, none)]), [2.0, 5.0]);
        assert_eq!(group(&[(1, 5.0), (1, f64::INFINITY), (2, f64::INFINITY), (2, f64::INFINITY)]), [f64::INFINITY; 2]);
        assert_eq!(group(&[(1, 1.0), (1, 2.0)]), [1.5]);
    }
}

//! The summary as a table, `summary.csv`. `schema.rs` describes its columns.

use std::path::Path;

use microbench_formats::statistic::Statistic;
use polars::prelude::{Column, DataFrame, NamedFrom, Series};
use polars_io::SerWriter;
use polars_io::prelude::CsvWriter;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::{LEVEL, Row};
use crate::Error;
use crate::file::write;
use crate::samples::Status;
use crate::stats::drift::{Drift, drift_of_sorted};
use crate::stats::mean::{coefficient_of_variation, mean, standard_deviation};
use crate::stats::median::Interval;
use crate::stats::outlier::{Outliers, outliers};
use crate::stats::sorted::Sorted;

/// The quantiles in addition to the median, with the prefix of their columns.
const TAILS: [(&str, Statistic); 3] = [("p90", Statistic::P90), ("p95", Statistic::P95), ("p99", Statistic::P99)];

/// The statistics of one row of the table.
#[derive(Clone, Debug)]
struct Numbers {
    n: usize,
    median: Option<f64>,
    median_interval: Option<Interval>,
    mean: Option<f64>,
    mean_interval: Result<Interval, String>,
    deviation: Option<f64>,
    variation: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    tails: [(Option<f64>, Option<Interval>); TAILS.len()],
    outliers: Outliers,
    drift: Option<Drift>,
}

impl Numbers {
    /// The names of the columns whose number is censored, joined by spaces.
    fn censored_columns(&self, row: &Row) -> String {
        let ends = |name: &str, interval: Option<Interval>| -> Vec<String> {
            let ends = interval.map_or(Vec::new(), |interval| vec![("low", interval.low), ("high", interval.high)]);
            let censored = ends.into_iter().filter(|(_, end)| end.is_infinite());
            censored.map(|(end, _)| format!("{name}_{end}")).collect()
        };
        let value = |name: &str, value: Option<f64>, is_known: bool| {
            (is_known && value.is_none()).then(|| name.to_owned()).into_iter()
        };
        let mut names: Vec<String> = value("median", self.median, !row.trials.is_empty()).collect();
        names.extend(ends("median", self.median_interval));
        for ((name, statistic), (quantile, interval)) in TAILS.into_iter().zip(self.tails) {
            let least = row.trials_for_tail(statistic);
            names.extend(value(name, quantile, least.is_some_and(|least| row.trials.len() >= least)));
            names.extend(ends(name, interval));
        }
        names.join(" ")
    }

    fn from_row(row: &Row, seed: u64) -> Self {
        let (medians, means) = (&row.values(Statistic::Median), &row.values(Statistic::Mean));
        let (all, repeated) = (Sorted::new(medians), row.is_repeated());
        // Censored values are infinite and sort last.
        let finite = all.values().partition_point(|value| value.is_finite());
        let has_single_vms = row.vms_of_trials.is_empty() && !repeated;
        let is_finite = |value: &f64| value.is_finite();
        let of_finite = match finite == medians.len() {
            true => all.outliers(),
            false => outliers(&all.values()[..finite]),
        };
        Self {
            n: finite,
            median: if repeated { row.median() } else { all.median().filter(is_finite) },
            median_interval: if repeated { row.median_interval() } else { all.median_interval(LEVEL) },
            mean: if repeated { row.mean() } else { mean(means).filter(is_finite) },
            mean_interval: row.mean_interval(seed),
            deviation: standard_deviation(means),
            variation: coefficient_of_variation(means),
            min: all.values().first().copied().filter(is_finite),
            max: finite.checked_sub(1).map(|last| all.values()[last]),
            tails: TAILS.map(|(_, statistic)| {
                // The values are sorted already.
                match statistic.quantile().filter(|_| has_single_vms) {
                    Some(p) => {
                        let interval = all.quantile_interval(p, LEVEL);
                        (all.quantile(p).filter(|value| interval.is_some() && value.is_finite()), interval)
                    }
                    None => (row.statistic(statistic), row.quantile_interval(statistic)),
                }
            }),
            outliers: of_finite,
            drift: drift_of_sorted(medians, &all),
        }
    }
}

/// Writes `summary.csv` into the directory `run`. `seed` seeds the bootstrap of the means' intervals.
///
/// # Errors
/// If the file cannot be written.
pub fn save(run: &Path, rows: &[Row], seed: u64) -> Result<(), Error> {
    let path = run.join("summary.csv");
    let refused = |source| Error::Table { path: path.clone(), cause: source };
    let mut table = frame(rows, seed).map_err(refused)?;
    let mut bytes = Vec::new();
    CsvWriter::new(&mut bytes).finish(&mut table).map_err(refused)?;
    write(&path, &bytes)
}

/// The rows as a table with the columns of [`SUMMARY`](crate::schema::SUMMARY).
pub(crate) fn frame(rows: &[Row], seed: u64) -> polars::error::PolarsResult<DataFrame> {
    // A censored number is null, so that a program does not read it as a value.
    let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
    // Rows are computed in parallel; each sorts its values once.
    let numbers: Vec<Numbers> = rows.par_iter().map(|row| Numbers::from_row(row, seed)).collect();
    let text = |name: &str, of: &dyn Fn(&Row) -> String| -> Column {
        Series::new(name.into(), rows.iter().map(of).collect::<Vec<_>>()).into()
    };
    let count = |name: &str, of: &dyn Fn(&Row) -> usize| -> Column {
        Series::new(name.into(), rows.iter().map(|row| of(row) as u64).collect::<Vec<_>>()).into()
    };
    let number = |name: &str, of: &dyn Fn(&Numbers) -> Option<f64>| -> Column {
        Series::new(name.into(), numbers.iter().map(|numbers| finite(of(numbers))).collect::<Vec<_>>()).into()
    };
    let count_column = |name: &str, of: &dyn Fn(&Numbers) -> usize| -> Column {
        Series::new(name.into(), numbers.iter().map(|numbers| of(numbers) as u64).collect::<Vec<_>>()).into()
    };
    let missing = |row: &Row, status: Status| row.missing.get(&status).map_or(0, |(count, _)| *count);
    let withheld = |of: &Numbers| of.mean_interval.clone().err().unwrap_or_default();
    let mut columns = vec![
        text("cell", &|row| row.cell.clone()),
        text("label", &|row| row.label.clone()),
        text("metric", &|row| row.metric.clone()),
        text("unit", &|row| row.unit.clone()),
        text("host", &|row| row.host.map(|host| host.to_string()).unwrap_or_default()),
        count_column("n_trials", &|of| of.n),
        count("n_vms", &|row| row.vms),
        number("median", &|of| of.median),
        number("median_low", &|of| of.median_interval.map(|i| i.low)),
        number("median_high", &|of| of.median_interval.map(|i| i.high)),
        number("median_level", &|of| of.median_interval.map(|i| i.level)),
        number("mean", &|of| of.mean),
        number("mean_low", &|of| of.mean_interval.as_ref().ok().map(|i| i.low)),
        number("mean_high", &|of| of.mean_interval.as_ref().ok().map(|i| i.high)),
        Series::new("mean_withheld".into(), numbers.iter().map(withheld).collect::<Vec<_>>()).into(),
        number("standard_deviation", &|of| of.deviation),
        number("coefficient_of_variation", &|of| of.variation),
        number("min", &|of| of.min),
        number("max", &|of| of.max),
    ];
    for (at, (name, _)) in TAILS.into_iter().enumerate() {
        columns.push(number(name, &|of| of.tails[at].0));
        columns.push(number(&format!("{name}_low"), &|of| of.tails[at].1.map(|i| i.low)));
        columns.push(number(&format!("{name}_high"), &|of| of.tails[at].1.map(|i| i.high)));
    }
    columns.extend([
        count_column("outliers_mild", &|of| of.outliers.mild),
        count_column("outliers_severe", &|of| of.outliers.severe),
        number("drift", &|of| of.drift.map(|drift| drift.rank_correlation)),
        number("drift_p", &|of| of.drift.map(|drift| drift.p)),
        number("lag_1", &|of| of.drift.map(|drift| drift.lag_1)),
    ]);
    columns.extend(
        Status::ALL
            .into_iter()
            .filter(|status| *status != Status::Ok)
            .map(|status| count(&status.name().replace('-', "_"), &|row| missing(row, status))),
    );
    let censored = rows.iter().zip(&numbers).map(|(row, numbers)| numbers.censored_columns(row));
    columns.push(Series::new("censored_columns".into(), censored.collect::<Vec<_>>()).into());
    columns.push(text("reasons", &|row| {
        if row.planned() == 0 {
            return "no trial of the cell measures the metric".to_owned();
        }
        row.missing.iter().map(|(status, (_, why))| format!("{}: {why}", status.name())).collect::<Vec<_>>().join("; ")
    }));
    DataFrame::new(rows.len(), columns)
}

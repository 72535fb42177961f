//! The set-up of a study as a diagram: host, taps, guests. From the plan alone.

use std::collections::BTreeSet;

use microbench_formats::cell::Cell;
use microbench_formats::figure::Figure;
use microbench_formats::plan::Plan;

use super::cells::selects;
use super::description::{Chart, Description};

/// The set-up of the cells that a figure keeps to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Engines, by name.
    pub engines: Vec<String>,
    /// Guest kernels.
    pub kernels: Vec<String>,
    /// Root file systems.
    pub rootfs: Vec<String>,
    /// Guests at once, at most.
    pub guests: u32,
}

/// Describes the diagram: of the cells that the figure selects, for instance those of `{ concurrency = 1 }`.
pub(super) fn describe(plan: &Plan, figure: &Figure) -> Description {
    let cells: Vec<&Cell> = plan.cells.iter().filter(|cell| selects(&figure.only, cell)).collect();
    let settings = |name: &str| -> Vec<String> {
        let all: BTreeSet<String> =
            cells.iter().filter_map(|cell| cell.settings.get(name).map(ToString::to_string)).collect();
        all.into_iter().collect()
    };
    let engines: BTreeSet<String> = cells.iter().map(|cell| cell.engine.to_string()).collect();
    let guests = cells.iter().map(|cell| cell.concurrency).max().unwrap_or(1);
    let setup = Setup {
        engines: engines.into_iter().collect(),
        kernels: settings("kernel"),
        rootfs: settings("rootfs"),
        guests,
    };
    let how = if guests == 1 {
        "one VM at a time".to_owned()
    } else {
        format!("{guests} VMs prepared, then released together")
    };
    Description {
        name: figure.name.clone(),
        title: figure.title.clone(),
        theme: figure.theme,
        column: figure.column,
        legend: Vec::new(),
        caption: format!(
            "Set-up: {how}. Each VM has a tap and a /24 of its own in the run's network namespace; the runner starts the VMM and \
             asks the guest's agent over HTTP. Engines: {}.",
            setup.engines.join(", ")
        ),
        chart: Chart::Setup(setup),
    }
}

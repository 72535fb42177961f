//! Diagram of a study's set-up: host, tap devices, guests. It needs the plan only, no measurements.

use std::collections::BTreeSet;

use microbench_formats::cell::Cell;
use microbench_formats::figure::Figure;
use microbench_formats::plan::Plan;
use microbench_formats::selection::selects;

use super::description::{Chart, Description};

/// The set-up of the cells that a figure selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Sorted names.
    pub engines: Vec<String>,
    pub kernels: Vec<String>,
    pub rootfs: Vec<String>,
    /// Largest number of VMs at once.
    pub guests: u32,
}

/// Describes the diagram of the cells that the figure's `only` selects.
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
    let start = if guests == 1 {
        "one VM at a time".to_owned()
    } else {
        format!("{guests} VMs prepared, then started at the same time")
    };
    Description {
        name: figure.name.clone(),
        title: figure.title.clone(),
        theme: figure.theme,
        column: figure.column,
        legend: Vec::new(),
        caption: format!(
            "Set-up: {start}. Each VM has its own tap device and /24 subnet in the run's network namespace. The runner \
             starts the VMM and sends HTTP requests to the guest's agent. Engines: {}.",
            setup.engines.join(", ")
        ),
        chart: Chart::Setup(setup),
    }
}

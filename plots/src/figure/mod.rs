//! Figures: first a description of the chart as data, then its drawing.
//!
//! A [`Description`] contains values, labels and the caption, so that tests can check a figure without rendering it.
//! [`marks`], `stack`, [`ecdf`], [`curves`], [`timeline`], [`heat_map`], [`forest`] and [`setup`] build descriptions of the
//! manifest's figures. [`sequence`] builds those of `plot --sequence`, which no manifest names.
//! [`cells`] maps a position in a chart to the cells and rows behind it.
//! [`draw`] renders a description as SVG, and [`output`] writes the files. [`theme`] defines sizes, colours and the
//! font.

mod axes;
mod canvas;
pub mod cells;
pub mod curves;
pub mod description;
pub mod draw;
mod draw_curves;
mod draw_ecdf;
mod draw_forest;
mod draw_heat_map;
mod draw_history;
mod draw_marks;
mod draw_sequence;
mod draw_setup;
mod draw_timeline;
pub mod ecdf;
pub mod forest;
mod hatch;
pub mod heat_map;
pub mod history;
pub mod marks;
pub mod output;
pub mod sequence;
pub mod setup;
mod stack;
pub mod theme;
pub mod timeline;

pub use description::{Data, Description, describe};
pub use output::save;

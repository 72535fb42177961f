//! Figures: a description of what is to be seen, then the drawing of it.
//!
//! [`description`] is pure data, so tests read heights and marks off it; [`marks`], `stack`, [`lines`], [`curves`], [`timeline`],
//! [`heat`] and [`setup`] make it, with what [`cells`] finds for each place. [`draw`] makes an SVG of it, [`output`] files of that;
//! [`theme`] holds sizes, colours, the font.
//! [`sequence`] describes figures that no manifest names.

mod axes;
mod canvas;
pub mod cells;
pub mod curves;
pub mod description;
pub mod draw;
mod draw_curves;
mod draw_heat;
mod draw_lines;
mod draw_marks;
mod draw_sequence;
mod draw_setup;
mod draw_timeline;
mod hatch;
pub mod heat;
pub mod lines;
pub mod marks;
pub mod output;
pub mod sequence;
pub mod setup;
mod stack;
pub mod theme;
pub mod timeline;

pub use description::{Data, Description, describe};
pub use output::save;

//! Figures: a description of what is to be seen, then the drawing of it.
//!
//! [`description`] is pure data, so tests read heights and marks off it; [`marks`], [`lines`] and [`setup`] make it, with what
//! [`cells`] finds for each place. [`draw`] makes an SVG of it, [`output`] files of that; [`theme`] holds sizes, colours, the font.

mod canvas;
pub mod cells;
pub mod description;
pub mod draw;
mod draw_lines;
mod draw_marks;
mod draw_setup;
pub mod lines;
pub mod marks;
pub mod output;
pub mod setup;
pub mod theme;

pub use description::{Data, Description, describe};
pub use output::save;

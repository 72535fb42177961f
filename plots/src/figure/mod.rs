//! Figures: a description of what is to be seen, then the drawing of it.
//!
//! [`description`] is pure data, so tests read heights and marks off it; [`marks`], `stack`, [`lines`] and [`setup`] make it, with what
//! [`cells`] finds for each place. [`draw`] makes an SVG of it, [`output`] files of that; [`theme`] holds sizes, colours, the font.
//! [`sequence`] describes figures that no manifest names.

mod canvas;
pub mod cells;
pub mod description;
pub mod draw;
mod draw_lines;
mod draw_marks;
mod draw_sequence;
mod draw_setup;
pub mod lines;
pub mod marks;
pub mod output;
pub mod sequence;
pub mod setup;
mod stack;
pub mod theme;

pub use description::{Data, Description, describe};
pub use output::save;

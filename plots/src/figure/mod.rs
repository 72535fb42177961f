//! Figures: a description of what is to be seen, then the drawing of it.
//!
//! [`description`] is pure data, so tests read heights and marks off it; [`bars`] draws it as SVG with plotters, [`output`] turns
//! that into files; [`theme`] holds sizes, colours and the font.

pub mod bars;
pub mod description;
pub mod output;
pub mod theme;

pub use description::{Description, describe};
pub use output::draw;

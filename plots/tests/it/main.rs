//! Run directories in, files out.

mod analysis;
mod figures;
mod import;
mod support;

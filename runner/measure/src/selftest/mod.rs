//! What the program finds out about itself: by guests whose truth is known.

pub mod fake_guest;
pub mod lend;
pub mod load;
pub mod probe;
pub mod spawn;
pub mod work;

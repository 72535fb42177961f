//! Self-tests: the program measures its own errors and costs with inputs whose true values are known.

pub mod fake_guest;
pub mod host_resources;
pub mod load;
pub mod probe;
pub mod spawn;
pub mod workload;

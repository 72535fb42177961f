//! Turns a study's manifest into a plan: manifest checks and schema, engine descriptions, and the order of trials.
//!
//! The crate reads the manifest, the files that the manifest names, and engine descriptions. It uses no clock, starts
//! no process and reads nothing of the host.
//!
//! ```
//! use microbench_study::manifest::{self, Catalog, EngineSpec};
//! use microbench_study::plan::{self, Overrides};
//!
//! let catalog = Catalog {
//!     engines: [("firecracker".to_owned(), EngineSpec::default())].into(),
//!     kernels: vec!["microvm-6.1".to_owned()],
//!     rootfs: vec!["minimal".to_owned()],
//! };
//! let source = r#"
//!     [study]
//!     name = "boot"
//!     title = "Boot time"
//!     [guest]
//!     kernel = "microvm-6.1"
//!     rootfs = "minimal"
//!     [variants.fc]
//!     engine = "firecracker"
//!     [matrix]
//!     concurrency = [1, 4]
//!     trials = 10
//!     [metrics]
//!     kernel_boot_time = {}
//! "#;
//! let study = manifest::parse("boot.toml", source, &catalog)?;
//! let plan = plan::expand(&study, Overrides::default())?;
//! assert_eq!((plan.cells.len(), plan.trials.len()), (2, 20));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod engine;
pub mod manifest;
pub mod optional_text;
pub mod plan;

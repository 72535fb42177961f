//! Kinds of hosts.

use serde::{Deserialize, Serialize};

/// Where trials executed.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum HostKind {
    /// Hardware virtualisation of the machine the runner is on; times are wall time.
    Kvm,
    /// The emulated host: QEMU TCG with AMD SVM; times are virtual time (one instruction = 1 ns).
    Emulated,
    /// A test's stand-in for a VMM, on the machine's own clock; never a measurement.
    Fake,
    /// Values from a table that somebody else measured; [`Record::RunStart`] was written by `microbench import`.
    Imported,
}

impl HostKind {
    /// What a reader must know of times that were measured there.
    #[must_use]
    pub fn note(self) -> &'static str {
        match self {
            Self::Kvm => "KVM, wall time",
            Self::Emulated => "emulated host, virtual time: 1 instruction = 1 ns; no caches, no cost of a world switch",
            Self::Fake => "a test's stand-in, no measurement",
            Self::Imported => "imported values, measured elsewhere",
        }
    }
}

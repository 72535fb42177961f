//! Kinds of hosts.

use serde::{Deserialize, Serialize};

/// The kind of host on which trials executed. It decides which clock their times are measured on.
///
/// ```
/// use microbench_formats::host::HostKind;
///
/// let kind: HostKind = "kvm".parse().unwrap();
/// assert_eq!(kind.note(), "KVM, wall time");
/// ```
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
    /// The runner's own host with KVM; times are wall time.
    Kvm,
    /// An emulated host: QEMU TCG with AMD SVM; times are virtual time (one instruction takes 1 ns).
    Emulated,
    /// A fake VMM for tests, on the runner's own host; its values are not measurements.
    Fake,
    /// A table of values that were measured elsewhere and imported with `microbench import`.
    Imported,
}

impl HostKind {
    /// One line on how times were measured on this kind of host, for reports and tables.
    #[must_use]
    pub fn note(self) -> &'static str {
        match self {
            Self::Kvm => "KVM, wall time",
            Self::Emulated => {
                "emulated host, virtual time: 1 instruction = 1 ns; caches and VM-exit latency are not modelled"
            }
            Self::Fake => "fake VMM for tests, not a measurement",
            Self::Imported => "imported values, measured elsewhere",
        }
    }
}

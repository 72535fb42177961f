//! The components of the uncertainty budget.

use microbench_formats::host::HostKind;
use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};

/// A source of uncertainty. Its name in the table is that of the variant in snake case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Component {
    Statistical,
    ProbeLag,
    ConsoleMark,
    Tick,
    Observer,
    BetweenRuns,
}

/// What the value of a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// Half the width of a 95 % confidence interval.
    HalfWidth,
    /// The largest effect on a value.
    Bound,
    /// The largest effect on a value, except for effects that the definition leaves out.
    Estimate,
    /// A standard deviation.
    Deviation,
}

impl Component {
    /// All components, in the order of the table.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The name in texts: `probe lag`.
    #[must_use]
    pub fn title(self) -> String {
        <&str>::from(self).replace('_', " ")
    }

    /// What the value is in a run on `host`.
    #[must_use]
    pub fn kind(self, host: Option<HostKind>) -> Kind {
        match self {
            Self::Statistical => Kind::HalfWidth,
            // Hosts of other kinds have several CPUs.
            Self::Observer if host != Some(HostKind::Emulated) => Kind::Estimate,
            Self::ProbeLag | Self::ConsoleMark | Self::Tick | Self::Observer => Kind::Bound,
            Self::BetweenRuns => Kind::Deviation,
        }
    }

    /// The definition, a noun phrase.
    #[must_use]
    pub fn definition(self) -> &'static str {
        match self {
            Self::Statistical => "half the width of the 95 % interval of the median over trials",
            Self::ProbeLag => {
                "time from listen(2) of a fake guest to the response that the probe observed, the largest of all \
                 sessions"
            }
            Self::ConsoleMark => {
                "time from the agent's ready line on the console to the first response, median over trials of its \
                 amount"
            }
            Self::Tick => {
                "one tick of the guest kernel: a wait that ends at a tick ends at most one tick after its deadline"
            }
            Self::Observer => {
                "CPU time of the runner in the part of the timed window that contains the metric (up to the last first \
                 response, after it, or all), the largest of all trials: on one CPU its work delays an instant by at \
                 most this time; contention on several CPUs is left out"
            }
            Self::BetweenRuns => "standard deviation of the medians of several runs of the study",
        }
    }
}

//! The components of the uncertainty budget.

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

    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Statistical => Kind::HalfWidth,
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
                "CPU time of the runner over that of the VMMs, median over trials, times the median: the effect of the \
                 runner if its work delays the VMs and is spread evenly over the trial"
            }
            Self::BetweenRuns => "standard deviation of the medians of several runs of the study",
        }
    }
}

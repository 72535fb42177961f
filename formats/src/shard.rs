//! The part of a plan that one of several hosts executes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The part of a plan that one host executes: every `of`-th block.
///
/// Blocks are not split, so that each shard contains all cells, and a difference between hosts affects all cells
/// equally.
///
/// ```
/// use microbench_formats::shard::Shard;
///
/// let shard: Shard = "2/3".parse().unwrap();
/// assert!(shard.contains_block(1) && shard.contains_block(4) && !shard.contains_block(2));
/// assert!("4/3".parse::<Shard>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// Number of this shard, from 1 to `of`.
    pub index: u32,
    pub of: u32,
}

impl Shard {
    /// The shard, out of `of`, that contains the block; blocks count from 0.
    #[must_use]
    pub fn of_block(block: u32, of: u32) -> Self {
        Self { index: block.checked_rem(of).map_or(0, |rest| rest + 1), of }
    }

    #[must_use]
    pub fn contains_block(self, block: u32) -> bool {
        self == Self::of_block(block, self.of)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Self { index, of }),
            _ => Err("a shard is K/N with K from 1 to N, for example 2/3".to_owned()),
        }
    }
}

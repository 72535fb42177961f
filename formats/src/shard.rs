//! A part of a plan for one of several hosts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A part of a plan: every `of`-th of its blocks. Blocks stay whole, so that each part has every cell that has a trial in it, and what
/// two hosts differ in falls on all cells alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// Which one, from 1.
    pub index: u32,
    /// How many there are.
    pub of: u32,
}

impl Shard {
    /// The one of `of` that has the block.
    #[must_use]
    pub fn of_block(block: u32, of: u32) -> Self {
        Self { index: block.checked_rem(of).map_or(0, |rest| rest + 1), of }
    }

    /// Whether the block is in it.
    #[must_use]
    pub fn has(self, block: u32) -> bool {
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
            _ => Err("a shard is K/N with K from 1 to N, for instance 2/3".to_owned()),
        }
    }
}

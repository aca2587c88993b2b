//! How a letter stands: nobody has seen to it yet, or what was done about it.

use serde::{Deserialize, Serialize};

/// How a letter stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Nobody has seen to it.
    #[default]
    Open,
    /// It is older than the store that keeps what was done: nobody knows.
    Unknown,
    /// It was sent through again.
    Redriven,
    /// Somebody said that it is not needed.
    Discarded,
    /// It was sent through again with a corrected value.
    Edited,
}

impl Standing {
    /// All of them.
    pub const ALL: [Standing; 5] = [
        Standing::Open,
        Standing::Unknown,
        Standing::Redriven,
        Standing::Discarded,
        Standing::Edited,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Standing::Open => "open",
            Standing::Unknown => "unknown",
            Standing::Redriven => "redriven",
            Standing::Discarded => "discarded",
            Standing::Edited => "edited",
        }
    }

    /// The one of this name.
    pub fn of(name: &str) -> Option<Standing> {
        Standing::ALL.into_iter().find(|standing| standing.name() == name)
    }

    /// Somebody has to see to it.
    pub fn is_open(self) -> bool {
        matches!(self, Standing::Open | Standing::Unknown)
    }
}

/// How a letter stands, and what made it so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stands {
    /// How.
    pub standing: Standing,
    /// The redrive that sent it.
    pub job: Option<String>,
    /// What became of it then.
    pub result: Option<String>,
}

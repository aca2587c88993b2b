//! What the sources hold: records that say what the function is to make of them.

use serde_json::{Value, json};

use crate::harness::topics::Entry;
use crate::history::{Kind, Lanes};

/// Of a thousand records, how many are of a kind; the others have one result.
const SHARES: [(Kind, u32); 7] = [
    (Kind::Twice, 60),
    (Kind::Nothing, 60),
    (Kind::Later, 15),
    (Kind::Refused, 10),
    (Kind::Garbled, 10),
    (Kind::Unfit, 6),
    (Kind::Poison, 4),
];

const KEYS: u32 = 60;
const PADDING_BYTES: usize = 160;

/// Makes records by a seed.
pub struct Records {
    dice: fastrand::Rng,
    lanes: Lanes,
    partitions: i32,
    made: u64,
}

impl Records {
    pub fn new(seed: u64, lanes: Lanes, partitions: i32) -> Records {
        Records {
            dice: fastrand::Rng::with_seed(seed),
            lanes,
            partitions,
            made: 0,
        }
    }

    /// The next one.
    pub fn draw(&mut self) -> Entry {
        let kind = self.kind();
        self.of(kind)
    }

    /// One for each partition that the function is glad of.
    pub fn healthy(&mut self) -> Vec<Entry> {
        let partitions = 0..self.partitions;
        partitions.map(|partition| self.of(Kind::Once).to(partition)).collect()
    }

    fn of(&mut self, kind: Kind) -> Entry {
        self.made += 1;
        let padding: String = (0..PADDING_BYTES).map(|_| self.dice.alphanumeric()).collect();
        let mut text = json!({"n": self.made, "as": kind.name(), "padding": padding}).to_string();
        if kind == Kind::Garbled {
            text.pop();
        }
        let entry = Entry::value(text);
        match self.lanes {
            Lanes::Keys => entry.key(format!("key-{}", self.dice.u32(..KEYS))),
            Lanes::Partitions | Lanes::Records => entry.to(self.dice.i32(0..self.partitions)),
        }
    }

    fn kind(&mut self) -> Kind {
        let mut drawn = self.dice.u32(..1000);
        for (kind, share) in SHARES {
            if drawn < share {
                return kind;
            }
            drawn -= share;
        }
        Kind::Once
    }
}

/// What the function is to make of a record with this value.
pub fn kind_of(value: &[u8]) -> Kind {
    let parsed: Result<Value, _> = serde_json::from_slice(value);
    parsed.map_or(Kind::Garbled, |value| named(&value))
}

/// The same, of a value that was read.
pub fn named(value: &Value) -> Kind {
    let name = value["as"].as_str().unwrap_or_default();
    let named = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    named.unwrap_or_else(|| panic!("no kind is named {name}: {value}"))
}

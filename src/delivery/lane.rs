//! Lanes: records that must run one after another.
//!
//! A lane holds its unsettled records in order. The function and each sink go through that order on their own: the
//! function by `waiting` and `in_work`, each sink by a cursor.

use std::collections::VecDeque;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use crate::partition::Seq;
use crate::time::Moment;

/// Which lane a record runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum LaneRef {
    /// One that it shares.
    Shared(u32),
    /// One of its own.
    Own(Seq),
}

impl LaneRef {
    pub(crate) fn slot(self) -> Option<u32> {
        match self {
            LaneRef::Shared(slot) => Some(slot),
            LaneRef::Own(_) => None,
        }
    }
}

/// A lane that several records may share.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    key: Option<Bytes>,
    /// Unsettled records, in order.
    pub(crate) order: VecDeque<Seq>,
    /// How many records stood in `order` before its first.
    pub(crate) passed: u64,
    /// For each sink, the first place, counted like `passed`, whose results it has not stored.
    pub(crate) cursors: Vec<u64>,
    /// Sinks that have a request of this lane on the wire, a bit each.
    pub(crate) in_store: u64,
    /// Records that no batch holds yet, in order.
    pub(crate) waiting: VecDeque<Seq>,
    /// Records that the lane's one batch holds.
    pub(crate) in_work: u32,
    /// An operator has to act.
    pub(crate) blocked: bool,
    /// It stands in the partition's list of ready lanes.
    pub(crate) queued: bool,
    /// Since when a batch could have been cut from it.
    pub(crate) ready_since: Moment,
}

impl Lane {
    /// A batch may be cut from it.
    pub(crate) fn is_free(&self) -> bool {
        self.in_work == 0 && !self.blocked && !self.waiting.is_empty()
    }
}

/// The lanes of a partition.
#[derive(Debug, Default)]
pub(crate) struct Lanes {
    slots: Vec<Option<Lane>>,
    vacant: Vec<u32>,
    by_key: FxHashMap<Bytes, u32>,
}

impl Lanes {
    /// The lane of a key; `None` is the one lane of a whole partition.
    pub(crate) fn open(&mut self, key: Option<&Bytes>, sinks: usize) -> u32 {
        let found = match key {
            Some(key) => self.by_key.get(key).copied(),
            None => (!self.slots.is_empty()).then_some(0),
        };
        found.unwrap_or_else(|| self.insert(key.cloned(), sinks))
    }

    fn insert(&mut self, key: Option<Bytes>, sinks: usize) -> u32 {
        let lane = Lane {
            key: key.clone(),
            cursors: vec![0; sinks],
            ..Lane::default()
        };
        let slot = match self.vacant.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(lane);
                slot
            }
            None => {
                self.slots.push(Some(lane));
                self.slots.len() as u32 - 1
            }
        };
        if let Some(key) = key {
            self.by_key.insert(key, slot);
        }
        slot
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Lane> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Lane> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// Forgets a key's lane once nothing unsettled is left in it.
    pub(crate) fn close_if_empty(&mut self, slot: u32) {
        let empty = self
            .get(slot)
            .is_some_and(|lane| lane.order.is_empty() && lane.key.is_some());
        if let Some(key) = self.slots[slot as usize].take_if(|_| empty).and_then(|lane| lane.key) {
            self.by_key.remove(&key);
            self.vacant.push(slot);
        }
    }

    /// Says of each lane whether it stands among the ready ones.
    pub(crate) fn requeue(&mut self, is_queued: impl Fn(u32) -> bool) {
        for (slot, lane) in self.slots.iter_mut().enumerate() {
            if let Some(lane) = lane {
                lane.queued = is_queued(slot as u32);
            }
        }
    }
}

//! Batches are cut from the lanes that are ready.

use std::collections::BTreeSet;

use crate::event::Admission;
use crate::lane::LaneRef;
use crate::memo;
use crate::partition::{Partition, Seq, State};
use crate::settings::BatchSettings;
use crate::time::Moment;

/// With more records that have attempts of their own, they are worth grouping.
const MANY_SPENT: usize = 100;

/// What was taken from the ready lanes of a partition.
#[derive(Debug, Default)]
pub(super) struct Cut {
    pub(super) seqs: Vec<Seq>,
    pub(super) weight_bytes: usize,
    pub(super) attempts: u32,
    /// Records that filter or conversion kept from the function.
    pub(super) not_admitted: Vec<Seq>,
    /// The memo would not fit if more were taken.
    pub(super) memo_full: bool,
    /// The guard holds a refused record.
    pub(super) guarded: Option<Seq>,
}

impl Partition {
    /// A batch cut now would be as large as it may be.
    pub(super) fn fills(&self, limits: &BatchSettings) -> bool {
        let (mut records, mut bytes) = (0, 0);
        let waiting = self.ready.iter().flat_map(|(lane, _)| {
            let (own, shared) = match lane {
                LaneRef::Own(seq) => (Some(*seq), None),
                LaneRef::Shared(slot) => (None, self.lanes.get(*slot).map(|lane| &lane.waiting)),
            };
            own.into_iter().chain(shared.into_iter().flatten().copied())
        });
        waiting
            .map(|seq| self.entry(seq).map_or(0, |entry| entry.weight_bytes))
            .any(|weight| {
                (records, bytes) = (records + 1, bytes + weight);
                records >= limits.max_records || bytes >= limits.max_bytes
            })
    }

    /// Takes a batch from the ready lanes, longest waiting first, each lane's records in order. Where the memo has no room
    /// for them, the oldest record's lane goes first: all others wait for it.
    pub(super) fn cut(&mut self, limits: &BatchSettings, mut refusals: usize) -> Cut {
        let mut cut = Cut::default();
        while let Some((lane, since)) = self.ready.pop_front() {
            if self.cut_lane(&mut cut, lane, limits, &mut refusals) {
                self.ready.push_front((lane, since));
                break;
            }
            if let LaneRef::Shared(slot) = lane
                && let Some(lane) = self.lanes.get_mut(slot)
            {
                lane.queued = false;
            }
        }
        if cut.memo_full
            && let Some(lane) = self.oldest().map(|entry| entry.lane)
            && self.first_waiting(lane) == Some(self.base)
            && !self.guarded.contains(&lane)
        {
            self.cut_lane(&mut cut, lane, limits, &mut refusals);
            cut.memo_full = cut.seqs.is_empty() && cut.not_admitted.is_empty();
        }
        self.unqueue_taken_lane(&cut.seqs);
        cut
    }

    /// Takes what can be taken from a lane. True where there is room for no more.
    fn cut_lane(&mut self, cut: &mut Cut, lane: LaneRef, limits: &BatchSettings, refusals: &mut usize) -> bool {
        while let Some(seq) = self.first_waiting(lane) {
            match self.take(cut, seq, limits, refusals) {
                Taken::Yes => match lane {
                    LaneRef::Own(_) => return false,
                    LaneRef::Shared(slot) => self.pop_waiting(slot),
                },
                Taken::NoRoom => return true,
                Taken::Guarded => {
                    cut.guarded = Some(seq);
                    self.guarded.push(lane);
                    return false;
                }
            }
        }
        false
    }

    fn take(&self, cut: &mut Cut, seq: Seq, limits: &BatchSettings, refusals: &mut usize) -> Taken {
        let Some(entry) = self.entry(seq) else {
            return Taken::Yes;
        };
        if self.to_skip.contains_key(&seq) {
            cut.memo_full = cut.seqs.is_empty();
            return Taken::NoRoom;
        }
        let (records, span) = self.window_to(seq);
        let batch = cut.seqs.len() + 1;
        let bytes = cut.weight_bytes + entry.weight_bytes;
        match self.not_admitted.get(&seq) {
            Some(Admission::Refused { .. }) if *refusals == 0 => return Taken::Guarded,
            Some(admission) => {
                if !memo::fits(self.memo_bytes(span), records, span) {
                    cut.memo_full = cut.seqs.is_empty();
                    return Taken::NoRoom;
                }
                *refusals -= usize::from(matches!(admission, Admission::Refused { .. }));
                cut.not_admitted.push(seq);
                return Taken::Yes;
            }
            None => {}
        }
        if !cut.seqs.is_empty()
            && (batch > limits.max_records || bytes > limits.max_bytes || entry.attempts != cut.attempts)
        {
            return Taken::NoRoom;
        }
        if !memo::fits(
            self.memo_bytes(span) + memo::worst_batch_bytes(batch, span),
            records,
            span,
        ) {
            cut.memo_full = cut.seqs.is_empty();
            return Taken::NoRoom;
        }
        cut.attempts = entry.attempts;
        cut.weight_bytes = bytes;
        cut.seqs.push(seq);
        Taken::Yes
    }

    /// An upper bound on what batches and records with attempts may come to take in the memo.
    pub(super) fn memo_bytes(&self, span: usize) -> usize {
        let more = self.restored.as_ref().map_or(0, |r| r.attempts.len());
        let lone = self.spent.len() + more;
        let marks = if lone > MANY_SPENT {
            let restored = self.restored.iter().flat_map(|r| r.attempts.values());
            self.spent.values().chain(restored).collect::<BTreeSet<_>>().len()
        } else {
            lone
        };
        self.works_memo_bytes + memo::worst_lone_bytes(lone, marks, span)
    }

    fn first_waiting(&self, lane: LaneRef) -> Option<Seq> {
        match lane {
            LaneRef::Own(seq) => self
                .entry(seq)
                .filter(|entry| matches!(entry.state, State::Waiting))
                .map(|_| seq),
            LaneRef::Shared(slot) => self
                .lanes
                .get(slot)
                .filter(|lane| lane.is_free())?
                .waiting
                .front()
                .copied(),
        }
    }

    fn pop_waiting(&mut self, slot: u32) {
        if let Some(lane) = self.lanes.get_mut(slot) {
            lane.waiting.pop_front();
        }
    }

    /// A lane that gave records to a batch is the batch's until they have left it.
    fn unqueue_taken_lane(&mut self, seqs: &[Seq]) {
        let Some(LaneRef::Shared(slot)) = seqs.last().and_then(|seq| self.entry(*seq)).map(|entry| entry.lane) else {
            return;
        };
        if self
            .ready
            .front()
            .is_some_and(|(lane, _)| *lane == LaneRef::Shared(slot))
        {
            self.ready.pop_front();
            if let Some(lane) = self.lanes.get_mut(slot) {
                lane.queued = false;
            }
        }
    }

    /// A record left its lane's waiting list without a batch: the lane may be ready again.
    pub(crate) fn lane_moved(&mut self, seq: Seq, now: Moment) {
        if let Some(LaneRef::Shared(slot)) = self.entry(seq).map(|entry| entry.lane) {
            self.make_ready(slot, now);
        }
    }

    pub(crate) fn record_id(&self, seq: Seq) -> String {
        self.entry(seq)
            .map_or_else(String::new, |entry| format!("{}/{}", self.source, entry.offset))
    }

    pub(crate) fn oldest_id(&self) -> String {
        self.record_id(self.base)
    }
}

enum Taken {
    Yes,
    NoRoom,
    Guarded,
}

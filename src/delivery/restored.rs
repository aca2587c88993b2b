//! From memo to batches and back: what an assignment takes over, and what it leaves to the next.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Assignment, CommitEntry};
use crate::invariants;
use crate::lane::LaneRef;
use crate::memo::{Memo, MemoBatch, MemoPart};
use crate::partition::{Partition, Seq, State};
use crate::settings::{Ordering, TaskSettings};
use crate::time::Moment;
use crate::work::{Part, Work};

/// What a memo left to be matched with the records that come.
#[derive(Debug)]
pub(crate) struct Restored {
    /// Batches whose records have not all come. Until they have, nothing is called.
    pub(crate) batches: Vec<MemoBatch>,
    pub(crate) settled: BTreeSet<i64>,
    /// Attempts of records whose boundaries no longer hold.
    pub(crate) attempts: BTreeMap<i64, u32>,
    last_offset: i64,
    last_of_batches: i64,
}

impl Restored {
    pub(crate) fn from_memo(memo: Memo, ordering: Ordering) -> Option<Restored> {
        let mut restored = Restored {
            batches: Vec::new(),
            settled: memo.settled.into_iter().collect(),
            attempts: BTreeMap::new(),
            last_offset: i64::MIN,
            last_of_batches: i64::MIN,
        };
        if memo.ordering == Some(ordering) {
            restored.last_of_batches = offsets_of(&memo.batches)
                .map(|(offset, _)| offset)
                .max()
                .unwrap_or(i64::MIN);
            restored.batches = memo.batches;
        } else {
            let counted = offsets_of(&memo.batches).filter(|(_, attempts)| *attempts > 0);
            restored.attempts = counted.collect();
        }
        let ends = [
            Some(restored.last_of_batches),
            restored.settled.last().copied(),
            restored.attempts.last_key_value().map(|(offset, _)| *offset),
        ];
        restored.last_offset = ends.into_iter().flatten().max()?;
        (restored.last_offset > i64::MIN).then_some(restored)
    }

    /// The offset after the last that is spoken of.
    pub(crate) fn end(&self) -> i64 {
        self.last_offset + 1
    }

    /// How many records it speaks of, at most.
    pub(crate) fn records(&self) -> usize {
        self.settled.len() + self.attempts.len()
    }

    /// Gives up the boundaries of batches that reach beyond what has come, and keeps their attempts.
    fn cut_off_at(&mut self, position: i64) {
        let beyond = offsets_of(&self.batches).filter(|(offset, attempts)| *offset >= position && *attempts > 0);
        let beyond: Vec<(i64, u32)> = beyond.collect();
        self.attempts.extend(beyond);
        for part in self.batches.iter_mut().flat_map(|batch| &mut batch.parts) {
            part.offsets.retain(|offset| *offset < position);
        }
    }
}

fn offsets_of(batches: &[MemoBatch]) -> impl Iterator<Item = (i64, u32)> {
    let parts = batches.iter().flat_map(|batch| &batch.parts);
    parts.flat_map(|part| part.offsets.iter().map(|offset| (*offset, part.attempts)))
}

impl Partition {
    /// Nothing is called yet: records of batches that the memo speaks of are still to come.
    pub(crate) fn waits_for_batches(&self) -> bool {
        self.restored
            .as_ref()
            .is_some_and(|restored| !restored.batches.is_empty())
    }

    /// The batches that the memo speaks of, once their records have come. `now_or_never`: what has not come by now is
    /// left out of them, since there is no room to wait for it.
    pub(crate) fn take_restored(&mut self, settings: &TaskSettings, now_or_never: bool, now: Moment) -> Vec<Vec<Part>> {
        let position = self.position;
        let ready = |restored: &&mut Restored| now_or_never || position > restored.last_of_batches;
        let Some(restored) = self.restored.as_mut().filter(ready) else {
            return Vec::new();
        };
        if now_or_never {
            restored.cut_off_at(position);
        }
        let batches = std::mem::take(&mut restored.batches);
        self.forget_restored();
        self.restored_works(&batches, settings, now)
    }

    /// Once all that the memo speaks of has come, it is done with.
    pub(crate) fn forget_restored(&mut self) {
        let position = self.position;
        self.restored
            .take_if(|restored| restored.batches.is_empty() && position > restored.last_offset);
    }

    /// The batches of a memo as batches of the records that came. A lane is in one batch: those that share one are one,
    /// and what was called before them and has to be called again goes with them.
    fn restored_works(&self, batches: &[MemoBatch], settings: &TaskSettings, now: Moment) -> Vec<Vec<Part>> {
        let mut groups: Vec<(BTreeSet<LaneRef>, Vec<Part>)> = Vec::new();
        for batch in batches {
            let mut parts: Vec<Part> = batch.parts.iter().map(|part| self.restored_part(part)).collect();
            parts.retain(|part| !part.seqs.is_empty());
            let seqs = parts.iter().flat_map(|part| &part.seqs);
            let mut lanes: BTreeSet<LaneRef> = seqs.filter_map(|seq| self.lane_of(*seq)).collect();
            let (shared, apart): (Vec<_>, Vec<_>) =
                groups.into_iter().partition(|(other, _)| !other.is_disjoint(&lanes));
            groups = apart;
            for (other, more) in shared {
                lanes.extend(other);
                more.into_iter().for_each(|part| self.insert_in_order(&mut parts, part));
            }
            groups.push((lanes, parts));
        }
        let works = groups.into_iter().map(|(lanes, mut parts)| {
            self.add_what_stands_before(&lanes, &mut parts, settings.batch.max_records);
            parts
                .into_iter()
                .flat_map(|part| part.halved_if_spent(settings.retry.max_attempts, now))
                .collect()
        });
        works.filter(|parts: &Vec<Part>| !parts.is_empty()).collect()
    }

    /// Puts a part before the first that has a later record of one of its lanes.
    fn insert_in_order(&self, parts: &mut Vec<Part>, part: Part) {
        let firsts = part
            .seqs
            .iter()
            .rev()
            .filter_map(|seq| Some((self.lane_of(*seq)?, *seq)));
        let firsts: BTreeMap<LaneRef, Seq> = firsts.collect();
        let is_later = |seq: &Seq| {
            self.lane_of(*seq)
                .and_then(|lane| firsts.get(&lane))
                .is_some_and(|first| seq > first)
        };
        let at = parts
            .iter()
            .position(|other| other.seqs.iter().any(is_later))
            .unwrap_or(parts.len());
        parts.insert(at, part);
    }

    fn lane_of(&self, seq: Seq) -> Option<LaneRef> {
        Some(self.entry(seq)?.lane)
    }

    fn restored_part(&self, part: &MemoPart) -> Part {
        Part {
            seqs: part
                .offsets
                .iter()
                .filter_map(|offset| self.waiting_at(*offset))
                .collect(),
            attempts: part.attempts,
            split: part.split,
            lone_failures: u32::from(part.failed_alone),
            ..Part::default()
        }
    }

    fn add_what_stands_before(&self, lanes: &BTreeSet<LaneRef>, parts: &mut Vec<Part>, max_records: usize) {
        let held: BTreeSet<Seq> = parts.iter().flat_map(|part| part.seqs.iter().copied()).collect();
        let (mut ahead, mut between) = (Vec::new(), Vec::new());
        for lane in lanes.iter().filter_map(|lane| self.lanes.get(lane.slot()?)) {
            let of_batch = || lane.order.iter().filter(|seq| held.contains(seq));
            let (Some(first), Some(last)) = (of_batch().next(), of_batch().next_back()) else {
                continue;
            };
            let waiting = lane
                .waiting
                .iter()
                .copied()
                .filter(|seq| !held.contains(seq) && !self.not_admitted.contains_key(seq));
            for seq in waiting.take_while(|seq| seq < last) {
                if seq < *first {
                    ahead.push(seq)
                } else {
                    between.push(seq)
                }
            }
        }
        between
            .into_iter()
            .for_each(|seq| self.insert_in_order(parts, self.part_again(vec![seq])));
        ahead.sort_unstable();
        let attempts = |seq: &Seq| self.entry(*seq).map_or(0, |entry| entry.attempts);
        let alike = ahead
            .chunk_by(|a, b| attempts(a) == attempts(b))
            .flat_map(|run| run.chunks(max_records));
        let ahead: Vec<Part> = alike.map(|seqs| self.part_again(seqs.to_vec())).collect();
        parts.splice(0..0, ahead);
    }

    fn part_again(&self, seqs: Vec<Seq>) -> Part {
        let attempts = seqs
            .first()
            .and_then(|seq| self.entry(*seq))
            .map_or(0, |entry| entry.attempts);
        Part {
            seqs,
            attempts,
            ..Part::default()
        }
    }

    fn waiting_at(&self, offset: i64) -> Option<Seq> {
        let at = self.entries.binary_search_by_key(&offset, |entry| entry.offset).ok()?;
        let seq = self.base + at as Seq;
        let waits = matches!(self.entries[at].state, State::Waiting) && !self.not_admitted.contains_key(&seq);
        waits.then_some(seq)
    }

    /// What is to be committed: offset and memo as one.
    pub(crate) fn commit_entry(&self, assignment: Assignment, settings: &TaskSettings) -> CommitEntry {
        let offset = self.committable_then();
        let memo = self.memo(settings, offset).encode(offset);
        debug_assert!(
            invariants::everything_is_bounded(&memo),
            "everything_is_bounded: a memo of {} characters",
            memo.len()
        );
        CommitEntry {
            assignment,
            source: self.source.clone(),
            offset,
            memo,
        }
    }

    /// What is to stand beside the offset `base`, which is that of [`Partition::committable_then`].
    fn memo(&self, settings: &TaskSettings, base: i64) -> Memo {
        let called = self.works.values().filter(|work| work.remembered);
        let mut batches: Vec<MemoBatch> = called.map(|work| self.memo_batch(work)).collect();
        let open = |seq: &Seq| self.entry(*seq).filter(|entry| !entry.is_done());
        let lone = self.spent.iter();
        batches.extend(lone.filter_map(|(seq, attempts)| Some(MemoBatch::alone(open(seq)?.offset, *attempts))));
        let mut totals = self.totals;
        let becomes = self.entries.iter().filter_map(|entry| entry.becomes);
        becomes.for_each(|disposition| totals[disposition as usize] += 1);
        let ahead = self
            .entries
            .iter()
            .filter(|entry| entry.is_done() && entry.offset >= base);
        let mut settled: Vec<i64> = ahead.map(|entry| entry.offset).collect();
        if let Some(restored) = &self.restored {
            settled.extend(restored.settled.range(self.position..));
            let lone = restored.attempts.range(self.position..);
            batches.extend(lone.map(|(offset, attempts)| MemoBatch::alone(*offset, *attempts)));
            batches.extend(restored.batches.iter().cloned());
        }
        // What retention or compaction removed is no longer spoken of.
        for part in batches.iter_mut().flat_map(|batch| &mut batch.parts) {
            part.offsets.retain(|offset| *offset >= base);
        }
        batches
            .iter_mut()
            .for_each(|batch| batch.parts.retain(|part| !part.offsets.is_empty()));
        batches.retain(|batch| !batch.parts.is_empty());
        Memo {
            ordering: Some(settings.ordering),
            totals,
            batches,
            settled,
            generation: self.generation,
        }
    }

    fn memo_batch(&self, work: &Work) -> MemoBatch {
        let parts = work.parts.iter().map(|part| {
            let mut offsets: Vec<i64> = part
                .seqs
                .iter()
                .filter_map(|seq| Some(self.entry(*seq)?.offset))
                .collect();
            offsets.sort_unstable();
            MemoPart {
                attempts: part.attempts,
                split: part.split,
                failed_alone: part.lone_failures > 0,
                offsets,
            }
        });
        MemoBatch { parts: parts.collect() }
    }
}

impl Part {
    /// A batch that comes back with its attempts spent is split at once.
    fn halved_if_spent(self, max_attempts: u32, now: Moment) -> Vec<Part> {
        if self.seqs.len() > 1 && !self.split && self.attempts >= max_attempts {
            let (ahead, behind) = self.halve(true, now);
            vec![ahead, behind]
        } else {
            vec![self]
        }
    }
}

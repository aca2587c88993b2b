//! One assigned partition: its records from arrival to settlement, its lanes, its batches, and what to commit.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::answer::Disposition;
use crate::event::{Admission, Assignment, Oldest, PartitionView};
use crate::lane::{LaneRef, Lanes};
use crate::memo::Memo;
use crate::record::{Output, Record, TopicPartition};
use crate::restored::Restored;
use crate::settings::Ordering;
use crate::skips::Skips;
use crate::time::{Millis, Moment};
use crate::work::{Work, WorkId};

/// The number of a record in its assignment, by arrival. Offsets have gaps, these have none.
pub(crate) type Seq = u64;

/// A record between arrival and the commit that passes it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) offset: i64,
    /// Gone once the record is settled.
    pub(crate) record: Option<Arc<Record>>,
    pub(crate) state: State,
    pub(crate) lane: LaneRef,
    pub(crate) arrived: Moment,
    /// Failed attempts from before this assignment, where no batch knows them.
    pub(crate) attempts: u32,
    pub(crate) weight_bytes: usize,
    /// What it becomes when the transaction in flight is committed.
    pub(crate) becomes: Option<Disposition>,
}

impl Entry {
    /// Settled, or to be settled by the transaction in flight.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Settled) || self.becomes.is_some()
    }
}

/// Where a record is on its journey.
#[derive(Debug)]
pub(crate) enum State {
    /// For a batch to be cut.
    Waiting,
    /// In a batch.
    InWork(WorkId),
    /// Answered; its results are on their way to the sinks.
    Delivering(Box<Delivering>),
    /// Given up; its dead letter is on its way.
    GivenUp,
    /// Stopped until an operator acts.
    Blocked,
    /// Done with, durably.
    Settled,
}

/// A record whose results are on their way. Sinks are bits.
#[derive(Debug)]
pub(crate) struct Delivering {
    pub(crate) outputs: Arc<Vec<Output>>,
    /// Sinks that have all they are to get of this record.
    pub(crate) stored: u64,
    /// Sinks that have a request with this record on the wire.
    pub(crate) sent: u64,
    /// Results before this index have been seen to, where a sink refused one.
    pub(crate) from: BTreeMap<u16, usize>,
    /// Results that a sink refused in a transaction that was undone.
    pub(crate) without: BTreeSet<(u16, usize)>,
    /// Dead letters of refused results, on their way.
    pub(crate) letters: u32,
    /// A result of it became a dead letter.
    pub(crate) refused: bool,
    pub(crate) weight_bytes: usize,
}

/// The partition is being given up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drain {
    pub(crate) since: Moment,
    pub(crate) deadline: Moment,
    pub(crate) cut_off: bool,
    pub(crate) commit_failed: bool,
}

/// Which commit of the partition is asked for, in flight, and done.
#[derive(Debug, Default)]
pub(crate) struct CommitState {
    /// Something settled since the last commit was built.
    pub(crate) settled: bool,
    /// Counts up with each change of an attempt or a boundary.
    pub(crate) version: u64,
    /// The version in the last commit that was acked.
    pub(crate) acked_version: u64,
    /// The version and offset in the commit on the wire.
    pub(crate) in_flight: Option<(u64, i64)>,
    /// What settled is not committed again before this.
    pub(crate) not_before: Moment,
    /// Nothing is, since the last commit was refused.
    pub(crate) retry_at: Moment,
    /// Batches whose next call waits for a version to be acked.
    pub(crate) awaiting: Vec<(u64, WorkId)>,
}

#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) assignment: Assignment,
    pub(crate) source: TopicPartition,
    pub(crate) entries: VecDeque<Entry>,
    pub(crate) base: Seq,
    /// The offset after the last record that arrived.
    pub(crate) position: i64,
    /// The last committed offset.
    pub(crate) committed: i64,
    pub(crate) lanes: Lanes,
    /// Lanes a batch can be cut from, longest waiting first.
    pub(crate) ready: VecDeque<(LaneRef, Moment)>,
    /// Lanes whose first record the guard holds.
    pub(crate) guarded: Vec<LaneRef>,
    /// Records that must not be called, until their turn comes.
    pub(crate) not_admitted: FxHashMap<Seq, Admission>,
    /// Ranges that an operator passes over, as far as their records are still to come.
    pub(crate) skips: Skips,
    /// Records that are to be passed over as soon as nothing holds them, each with the operator's reason.
    pub(crate) to_skip: BTreeMap<Seq, Arc<str>>,
    pub(crate) works: BTreeMap<WorkId, Work>,
    /// What the batches may come to take in the memo.
    pub(crate) works_memo_bytes: usize,
    /// Records outside batches whose attempts the memo has to keep.
    pub(crate) spent: BTreeMap<Seq, u32>,
    pub(crate) restored: Option<Restored>,
    /// Which of the logs that had this name it reads.
    pub(crate) generation: u32,
    pub(crate) totals: [u64; 6],
    pub(crate) commit: CommitState,
    pub(crate) drain: Option<Drain>,
    pub(crate) paused: bool,
    pub(crate) held_bytes: usize,
    /// Records in calls on the wire.
    pub(crate) in_flight: usize,
    pub(crate) calls_on_wire: usize,
    pub(crate) items_on_wire: usize,
    pub(crate) letters_on_wire: usize,
    /// Where it stands among the partitions that new batches can be cut from.
    pub(crate) fresh_since: Option<Moment>,
    /// Until when it waits for a batch to fill.
    pub(crate) lingers_until: Option<Moment>,
    pub(crate) linger_over: bool,
    pub(crate) told_waits_for_oldest: bool,
}

impl Partition {
    /// A partition that starts at `position`, with what the memo beside it says; the error says why it says nothing.
    pub(crate) fn assigned(
        assignment: Assignment,
        source: TopicPartition,
        position: i64,
        memo: Option<&str>,
        ordering: Ordering,
    ) -> (Partition, Option<String>) {
        let (memo, unusable) = match memo
            .filter(|text| !text.is_empty())
            .map(|text| Memo::decode(text, position))
        {
            None => (Memo::default(), None),
            Some(Ok(memo)) => (memo, None),
            Some(Err(reason)) => (Memo::default(), Some(reason)),
        };
        let partition = Partition {
            assignment,
            source,
            entries: VecDeque::new(),
            base: 0,
            position,
            committed: position,
            lanes: Lanes::default(),
            ready: VecDeque::new(),
            guarded: Vec::new(),
            not_admitted: FxHashMap::default(),
            skips: Skips::default(),
            to_skip: BTreeMap::new(),
            works: BTreeMap::new(),
            works_memo_bytes: 0,
            spent: BTreeMap::new(),
            totals: memo.totals,
            generation: memo.generation,
            // A crash is not to fall back to another log's number.
            commit: CommitState {
                settled: memo.generation > 0,
                ..CommitState::default()
            },
            restored: Restored::from_memo(memo, ordering),
            drain: None,
            paused: false,
            held_bytes: 0,
            in_flight: 0,
            calls_on_wire: 0,
            items_on_wire: 0,
            letters_on_wire: 0,
            fresh_since: None,
            lingers_until: None,
            linger_over: false,
            told_waits_for_oldest: false,
        };
        (partition, unusable)
    }

    pub(crate) fn entry(&self, seq: Seq) -> Option<&Entry> {
        self.entries.get(seq.checked_sub(self.base)? as usize)
    }

    pub(crate) fn entry_mut(&mut self, seq: Seq) -> Option<&mut Entry> {
        self.entries.get_mut(seq.checked_sub(self.base)? as usize)
    }

    /// A record that is not settled, which every record in a batch is.
    pub(crate) fn record(&self, seq: Seq) -> Option<&Arc<Record>> {
        self.entry(seq)?.record.as_ref()
    }

    /// The record that the committed offset waits for.
    pub(crate) fn oldest(&self) -> Option<&Entry> {
        self.entries.front()
    }

    /// The offset that may be committed: of the first record that is not settled, or the next to come.
    pub(crate) fn committable(&self) -> i64 {
        self.oldest().map_or(self.position, |entry| entry.offset)
    }

    /// The same, once the transaction in flight is committed.
    pub(crate) fn committable_then(&self) -> i64 {
        let open = self.entries.iter().find(|entry| !entry.is_done());
        open.map_or(self.position, |entry| entry.offset)
    }

    /// The last record of the window that a batch of records up to `seq` would open: how many records, what span.
    pub(crate) fn window_to(&self, seq: Seq) -> (usize, usize) {
        let to = self.entry(seq).map_or(0, |entry| entry.offset + 1);
        let (to, more) = self
            .restored
            .as_ref()
            .map_or((to, 0), |r| (to.max(r.end()), r.records()));
        (
            (seq - self.base + 1) as usize + more,
            (to - self.committable()) as usize,
        )
    }

    /// The record's lane is free again where no record of it is in a batch any more.
    pub(crate) fn left_work(&mut self, seq: Seq, now: Moment) {
        let Some(LaneRef::Shared(slot)) = self.entry(seq).map(|entry| entry.lane) else {
            return;
        };
        if let Some(lane) = self.lanes.get_mut(slot) {
            lane.in_work = lane.in_work.saturating_sub(1);
        }
        self.make_ready(slot, now);
    }

    /// Puts a lane that a batch can be cut from among the ready ones.
    pub(crate) fn make_ready(&mut self, slot: u32, now: Moment) {
        if let Some(lane) = self.lanes.get_mut(slot).filter(|lane| lane.is_free() && !lane.queued) {
            lane.queued = true;
            lane.ready_since = now;
            self.ready.push_back((LaneRef::Shared(slot), now));
        }
    }

    pub(crate) fn remove_work(&mut self, id: WorkId) {
        if let Some(work) = self.works.remove(&id) {
            self.works_memo_bytes -= work.memo_bytes;
        }
    }

    /// Marks that a batch changed: its next call waits until a commit carries the change.
    pub(crate) fn changed(&mut self, id: WorkId) {
        self.commit.version += 1;
        if let Some(work) = self.works.get_mut(&id) {
            work.remembered = true;
            self.commit.awaiting.retain(|(_, waiting)| *waiting != id);
            self.commit.awaiting.push((self.commit.version, id));
        }
    }

    /// Settles a record. Returns the bytes that it held.
    pub(crate) fn settle(&mut self, seq: Seq, disposition: Disposition) -> usize {
        let Some(entry) = self.entry_mut(seq) else { return 0 };
        let mut freed = entry.weight_bytes;
        if let State::Delivering(delivering) = &entry.state {
            freed += delivering.weight_bytes;
        }
        debug_assert!(!matches!(entry.state, State::Settled), "a record is settled once");
        (entry.state, entry.record, entry.becomes) = (State::Settled, None, None);
        let lane = entry.lane;
        self.totals[disposition as usize] += 1;
        self.held_bytes -= freed;
        self.spent.remove(&seq);
        self.to_skip.remove(&seq);
        self.commit.settled = true;
        if let LaneRef::Shared(slot) = lane {
            self.leave_lane(slot);
        }
        self.pass_settled();
        freed
    }

    /// Lets go of what is settled at the front.
    pub(crate) fn pass_settled(&mut self) {
        while self
            .entries
            .front()
            .is_some_and(|entry| matches!(entry.state, State::Settled))
        {
            self.entries.pop_front();
            self.base += 1;
            self.told_waits_for_oldest = false;
            self.commit.settled = true;
        }
    }

    fn leave_lane(&mut self, slot: u32) {
        let (entries, base) = (&self.entries, self.base);
        let settled = |seq: &Seq| {
            entries
                .get((seq.wrapping_sub(base)) as usize)
                .is_none_or(|entry| matches!(entry.state, State::Settled))
        };
        if let Some(lane) = self.lanes.get_mut(slot) {
            while lane.order.front().is_some_and(settled) {
                lane.order.pop_front();
                lane.passed += 1;
            }
        }
        self.lanes.close_if_empty(slot);
    }

    pub(crate) fn wants_commit(&self) -> bool {
        self.commit.settled || self.commit.version > self.commit.acked_version
    }

    pub(crate) fn on_wire(&self) -> bool {
        self.calls_on_wire + self.items_on_wire + self.letters_on_wire > 0
    }

    pub(crate) fn view(&self) -> PartitionView {
        let waiting = || {
            self.entries
                .iter()
                .filter(|entry| matches!(entry.state, State::Waiting))
        };
        let oldest = |entry: &Entry| Oldest {
            arrived: entry.arrived,
            timestamp_ms: entry.record.as_ref().map(|record| record.timestamp_ms),
        };
        let unsettled = self
            .entries
            .iter()
            .filter(|entry| !matches!(entry.state, State::Settled))
            .count();
        PartitionView {
            assignment: self.assignment,
            source: self.source.clone(),
            committed: self.committed,
            position: self.position,
            waiting: waiting().count(),
            in_flight: self.in_flight,
            unsettled,
            held_bytes: self.held_bytes,
            oldest_unsettled: self.oldest().map(oldest),
            oldest_waiting: waiting().next().map(oldest),
            paused: self.paused,
            draining: self.drain.is_some(),
            totals: self.totals,
        }
    }
}

/// Partitions in the order in which they wait.
pub(crate) type WaitingPartitions = BTreeSet<(Moment, Assignment)>;

/// How long a drain took.
pub(crate) fn drain_took(drain: &Drain, now: Moment) -> Millis {
    now - drain.since
}

//! One worker's share of one pipeline: the state machine that decides everything.
//!
//! [`Task::handle`] takes what happened, [`Task::advance`] decides what follows, [`Task::poll_effect`] hands out what to
//! do, [`Task::next_wakeup`] says when to come back if nothing happens before.

mod answers;
mod arrivals;
mod batches;
mod commits;
mod cut;
mod deliver;
mod dispatch;
mod drain;
mod failures;
mod letters;
mod receipts;
mod skips;
mod transact;
mod transacted;
mod verdicts;
mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rustc_hash::FxHashMap;

use crate::answer::{Disposition, Failure};
use crate::breaker::Breaker;
use crate::concurrency::Concurrency;
use crate::event::{Assignment, CallId, Effect, Event, GuardKind, Notice};
use crate::guard::Guard;
use crate::lane::LaneRef;
use crate::partition::{Partition, Seq, WaitingPartitions};
use crate::settings::TaskSettings;
use crate::share::Share;
use crate::throttle::Throttle;
use crate::time::{Dice, Moment, Now};
use crate::work::WorkId;

use deliver::Sinks;
use letters::Letters;
use transact::Transactions;

/// One worker's share of one pipeline.
#[derive(Debug)]
pub struct Task {
    settings: TaskSettings,
    partitions: BTreeMap<Assignment, Partition>,
    calls: FxHashMap<CallId, OnWire>,
    next_call: u64,
    next_work: u64,
    retries_on_wire: usize,
    breaker: Breaker,
    guards: Guards,
    concurrency: Concurrency,
    throttle: Throttle,
    /// Successful calls since the task began.
    successes: u64,
    schedule: Schedule,
    sinks: Sinks,
    letters: Letters,
    transactions: Transactions,
    commit_in_flight: bool,
    held_bytes: usize,
    share: Share,
    /// A call that could go waits for bytes, which a call on the wire will free.
    waits_for_bytes: bool,
    paused: bool,
    /// The latest time that it was told.
    now: Moment,
    /// The time of the event being handled, in milliseconds since the Unix epoch.
    unix_ms: i64,
    effects: VecDeque<Effect>,
    /// What settled since the last [`Task::advance`].
    settled: Vec<((Assignment, Disposition), u64)>,
    /// Partitions that something happened to since the last [`Task::advance`].
    touched: Vec<Assignment>,
    regulated: Regulated,
    /// How many partitions are being drained.
    draining: usize,
    /// When the next commit is due, if none is in flight.
    commit_due: Option<Moment>,
}

/// Under which marks partitions were last paused and resumed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Regulated {
    partitions: usize,
    bound: usize,
    over: bool,
}

/// A call on the wire.
#[derive(Debug)]
struct OnWire {
    assignment: Assignment,
    work: WorkId,
    records: usize,
    weight_bytes: usize,
    probe: bool,
    retry: bool,
}

/// What waits for a free slot, and what waits for its time.
#[derive(Debug, Default)]
struct Schedule {
    /// Batches that wait for a time: a backoff, `retry-after`, `after_ms`.
    waiting: BTreeSet<(Moment, Assignment, WorkId)>,
    /// Batches that can be called again, longest waiting first.
    retries: BTreeSet<(Moment, Assignment, WorkId)>,
    /// Partitions that new batches can be cut from, longest waiting first.
    fresh: WaitingPartitions,
    /// Partitions that wait for a batch to fill, by when they stop.
    lingering: WaitingPartitions,
    /// Partitions that wait for records that their memo speaks of, and until when.
    patience: BTreeMap<Assignment, Moment>,
}

#[derive(Debug)]
struct Guards {
    failed: Guard,
    refused: Guard,
}

impl Task {
    /// A task without partitions.
    pub fn new(settings: TaskSettings) -> Task {
        assert!(settings.sinks <= 64, "a pipeline has at most 64 sinks");
        Task {
            partitions: BTreeMap::new(),
            calls: FxHashMap::default(),
            next_call: 0,
            next_work: 0,
            retries_on_wire: 0,
            breaker: Breaker::default(),
            guards: Guards {
                failed: Guard::new(settings.guard.failed),
                refused: Guard::new(settings.guard.refused),
            },
            concurrency: Concurrency::new(settings.max_in_flight),
            throttle: Throttle::new(settings.limits),
            successes: 0,
            schedule: Schedule::default(),
            sinks: Sinks::new(settings.sinks, settings.guard.refused),
            letters: Letters::default(),
            transactions: Transactions::default(),
            commit_in_flight: false,
            held_bytes: 0,
            share: Share::whole(settings.in_flight_bytes),
            waits_for_bytes: false,
            paused: false,
            now: Moment::default(),
            unix_ms: 0,
            effects: VecDeque::new(),
            settled: Vec::new(),
            touched: Vec::new(),
            regulated: Regulated::default(),
            draining: 0,
            commit_due: None,
            settings,
        }
    }

    /// Takes in what happened. Call [`Task::advance`] once after any number of these.
    pub fn handle(&mut self, event: Event, now: Now, dice: &mut dyn Dice) {
        (self.now, self.unix_ms) = (now.at, now.unix_ms);
        match event {
            Event::Assigned {
                assignment,
                source,
                position,
                memo,
            } => {
                self.assigned(assignment, source, position, memo.as_deref(), now.at);
            }
            Event::Arrived { assignment, arrivals } => self.arrived(assignment, arrivals, now.at),
            Event::Overtaken { assignment, from, to } => self.overtaken(assignment, from, to, now.at),
            Event::Revoked { assignments } => self.revoked(&assignments, now.at),
            Event::Lost { assignments } => self.lost(&assignments),
            Event::Answered { call, answer } => self.answered(call, answer, now, dice),
            Event::Stored { store, receipts } => self.stored(store, receipts, now, dice),
            Event::LetterWritten { letter, receipt } => self.letter_written(letter, receipt, now, dice),
            Event::Committed { outcomes } => self.committed(outcomes, now.at),
            Event::Transacted { transaction, outcome } => self.transacted(transaction, outcome, now, dice),
            Event::Skip {
                source,
                from,
                to,
                reason,
            } => self.skip_range(&source, from, to, &reason),
            Event::SetPaused(paused) => self.paused = paused,
            Event::SetShare { in_flight_bytes } => self.share.set(in_flight_bytes, self.held_bytes),
            Event::Tick => {}
        }
    }

    /// Decides what follows from all that happened, by the time it is.
    pub fn advance(&mut self, now: Moment) {
        self.now = now;
        self.share.follow(self.held_bytes);
        self.give_up_waiting_for_what_a_memo_speaks_of(now);
        loop {
            self.cut_off_drains(now);
            self.call_what_can_be_called(now);
            if self.is_exactly_once() {
                self.transact(now);
            } else {
                self.resend_letters(now);
                self.send_results(now);
            }
            // A partition that is let go may leave room for others.
            if !self.release_drained(now) {
                break;
            }
        }
        if self.is_exactly_once() {
            self.transact(now);
        } else {
            self.commit(now);
        }
        self.report_settled();
        debug_assert!(
            self.is_within_bounds(),
            "everything_is_bounded: {} bytes",
            self.held_bytes
        );
    }

    fn call_what_can_be_called(&mut self, now: Moment) {
        loop {
            let mut touched = std::mem::take(&mut self.touched);
            touched.sort_unstable();
            touched.dedup();
            self.regulate(&touched, now);
            for assignment in touched {
                self.skip(assignment, now);
                self.refresh(assignment, now);
                self.note_commit(assignment);
            }
            self.dispatch(now);
            // Records that are done with without a call make room for others.
            if self.touched.is_empty() {
                break;
            }
        }
    }

    /// The next thing to do, in the order in which it is to be done.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Task::advance`] has something to decide even if nothing happens.
    pub fn next_wakeup(&self) -> Option<Moment> {
        let schedule = [
            self.schedule.waiting.first().map(|(at, _, _)| *at),
            self.schedule.lingering.first().map(|(at, _)| *at),
            self.breaker.next_probe().filter(|_| self.wants_to_call()),
            self.throttle.until,
        ];
        let outward = match self.is_exactly_once() {
            true => [self.transaction_due(), None, None],
            false => [
                self.sinks.next_wakeup(),
                self.letters.next_wakeup(),
                self.commit_due.filter(|_| !self.commit_in_flight),
            ],
        };
        let deadline = self.next_deadline();
        let patience = self.schedule.patience.values().min().copied();
        (schedule.into_iter().chain(outward).chain([deadline, patience]))
            .flatten()
            .min()
    }

    /// Nothing is assigned, nothing is on the wire.
    pub fn is_idle(&self) -> bool {
        self.partitions.is_empty() && self.calls.is_empty() && !self.commit_in_flight
    }

    /// Calls are within their limit, and bytes are counted once.
    fn is_within_bounds(&self) -> bool {
        let requests: usize = self.calls.values().map(|call| call.weight_bytes).sum();
        let held: usize = self.partitions.values().map(|partition| partition.held_bytes).sum();
        let retries = self.calls.values().filter(|call| call.retry).count();
        self.calls.len() <= self.settings.max_in_flight
            && requests + held == self.held_bytes
            && retries == self.retries_on_wire
    }

    fn wants_to_call(&self) -> bool {
        let retry = self.has_room_for_retry() && self.next_retry().is_some();
        let fresh = !self.schedule.fresh.is_empty() && self.throttle.until.is_none();
        let slot = self.calls.len() < self.concurrency.limit() && (retry || fresh);
        slot && !self.paused && !self.waits_for_bytes && !self.letters.blocked()
    }

    fn notice(&mut self, notice: Notice) {
        self.effects.push_back(Effect::Notice(notice));
    }

    /// Settles a record, and frees what it held.
    fn settle(&mut self, assignment: Assignment, seq: Seq, disposition: Disposition) {
        let Some(partition) = self.partitions.get_mut(&assignment) else {
            return;
        };
        let lane = partition.entry(seq).map(|entry| entry.lane);
        self.held_bytes -= partition.settle(seq, disposition);
        if let Some(lane @ LaneRef::Shared(slot)) = lane
            && partition.lanes.get(slot).is_some_and(|lane| !lane.order.is_empty())
        {
            self.look_at((assignment, lane));
        }
        self.count_settled(assignment, disposition, 1);
        self.touch(assignment);
    }

    fn count_settled(&mut self, assignment: Assignment, disposition: Disposition, records: u64) {
        let of = (assignment, disposition);
        match self.settled.iter_mut().rev().find(|(other, _)| *other == of) {
            Some((_, counted)) => *counted += records,
            None => self.settled.push((of, records)),
        }
    }

    /// Something happened to a partition: the next [`Task::advance`] looks at it.
    fn touch(&mut self, assignment: Assignment) {
        if self.touched.last() != Some(&assignment) {
            self.touched.push(assignment);
        }
    }

    fn report_settled(&mut self) {
        for ((assignment, disposition), records) in std::mem::take(&mut self.settled) {
            self.notice(Notice::Settled {
                assignment,
                disposition,
                records,
            });
        }
    }

    /// Says, once, that a guard has tripped.
    fn tell_guard(&mut self, guard: GuardKind, id: String, failure: Failure) {
        let told = match guard {
            GuardKind::Failed => &mut self.guards.failed.told,
            GuardKind::Refused => &mut self.guards.refused.told,
            GuardKind::SinkRefused => &mut self.sinks.guard.told,
        };
        if !std::mem::replace(told, true) {
            self.notice(Notice::GuardTripped { guard, id, failure });
        }
    }

    fn reset_failed_guard(&mut self) {
        if self.guards.failed.reset() {
            self.notice(Notice::GuardReleased {
                guard: GuardKind::Failed,
            });
        }
    }

    fn reset_sink_guard(&mut self) {
        if self.sinks.guard.reset() {
            self.notice(Notice::GuardReleased {
                guard: GuardKind::SinkRefused,
            });
        }
    }

    /// A record passed: records that were held for being refused get their turn.
    fn reset_refused_guard(&mut self, now: Moment) {
        let tripped = self.guards.refused.tripped();
        if self.guards.refused.reset() {
            self.notice(Notice::GuardReleased {
                guard: GuardKind::Refused,
            });
        }
        if !tripped {
            return;
        }
        for partition in self.partitions.values_mut().filter(|p| !p.guarded.is_empty()) {
            for lane in std::mem::take(&mut partition.guarded) {
                match lane {
                    LaneRef::Shared(slot) => partition.make_ready(slot, now),
                    own @ LaneRef::Own(_) => partition.ready.push_back((own, now)),
                }
            }
            self.touched.push(partition.assignment);
        }
    }
}

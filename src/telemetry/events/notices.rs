//! What the task itself finds noteworthy.

use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use super::More;
use crate::delivery::answer::{Disposition, Failure, Stage};
use crate::delivery::event::{Assignment, AttemptOutcome, GuardKind, Notice};
use crate::delivery::record::TopicPartition;
use crate::delivery::time::Millis;
use crate::telemetry::PipelineTelemetry;
use crate::telemetry::metrics::state::{GUARDS, OUTCOMES, STAGES, lock, place};
use crate::telemetry::troubles::{Outlet, Voice};

impl PipelineTelemetry {
    /// The task says that something happened.
    pub fn notice(&self, notice: &Notice) {
        match notice {
            Notice::Attempt {
                assignment,
                outcome,
                records,
            } => self.attempt(*assignment, *outcome, *records),
            Notice::Settled {
                assignment,
                disposition,
                records,
            } => self.settled(*assignment, *disposition, *records),
            Notice::Bisected { assignment, records } => self.bisected(*assignment, *records),
            Notice::GivenUp {
                assignment,
                stage,
                id,
                reason,
                status,
            } => self.given_up(*assignment, *stage, id, reason, *status),
            Notice::BreakerOpened { failure } => self.breaker_opened(failure),
            Notice::BreakerClosed { open_for } => self.breaker_closed(*open_for),
            Notice::GuardTripped { guard, id, failure } => self.guard_tripped(*guard, id, failure),
            Notice::GuardReleased { guard } => self.guard_released(*guard),
            Notice::LaneBlocked { id, failure } => self.lane_blocked(id, failure),
            Notice::WaitsForOldest { id } => self.waits_for_oldest(id),
            Notice::SinkAway { sink, failure, blocked } => {
                self.outlet_away(Outlet::Sink(*sink), Voice::Receipts, failure, *blocked);
            }
            Notice::SinkBack { sink } => self.outlet_back(Outlet::Sink(*sink), Voice::Receipts),
            Notice::LettersBlocked { failure } => {
                self.outlet_away(Outlet::DeadLetters, Voice::Receipts, failure, true);
            }
            Notice::LettersBack => self.outlet_back(Outlet::DeadLetters, Voice::Receipts),
            Notice::TransactionsHeld { failure } => {
                self.outlet_away(Outlet::Transactions, Voice::Receipts, failure, false);
            }
            Notice::TransactionsBack => self.outlet_back(Outlet::Transactions, Voice::Receipts),
            Notice::MemoUnusable { source, reason } => self.memo_unusable(source, reason),
            Notice::Overtaken { source, from, to } => self.overtaken(source, *from, *to),
            Notice::CommitRefused { source, reason } => self.commit_refused(source, reason),
            Notice::LateDiscarded { what } => self.late_discarded(what),
            Notice::TooManySkips { source, from, to } => self.too_many_skips(source, *from, *to),
            Notice::Drained { source, took, in_time } => self.drained(source, *took, *in_time),
        }
    }

    fn attempt(&self, assignment: Assignment, outcome: AttemptOutcome, records: usize) {
        if let Some(partition) = self.state.partition(assignment) {
            partition.attempts[place(&OUTCOMES, &outcome)].one();
            partition.attempted_records.add(records as u64);
        }
    }

    fn settled(&self, assignment: Assignment, disposition: Disposition, records: u64) {
        if let Some(partition) = self.state.partition(assignment) {
            partition.settled[place(&Disposition::ALL, &disposition)].add(records);
        }
    }

    fn bisected(&self, assignment: Assignment, records: usize) {
        if let Some(partition) = self.state.partition(assignment) {
            partition.bisections.one();
        }
        debug!(pipeline = self.name(), records, "batch halved, to find what fails");
    }

    fn given_up(&self, assignment: Assignment, stage: Stage, id: &str, reason: &str, status: Option<u16>) {
        if let Some(partition) = self.state.partition(assignment) {
            partition.given_up[place(&STAGES, &stage)].one();
        }
        let (pipeline, named) = (self.name(), stage.name());
        let reason = self.said_of_records(reason, stage == Stage::Function && status.is_none());
        match self.repeats.rise("given_up", named, Instant::now()) {
            Some(unsaid) => {
                let more = More(unsaid);
                warn!(
                    pipeline,
                    record = id,
                    stage = named,
                    status,
                    "record given up: {reason}{more}"
                );
            }
            None => debug!(
                pipeline,
                record = id,
                stage = named,
                status,
                "record given up: {reason}"
            ),
        }
    }

    fn breaker_opened(&self, failure: &Failure) {
        self.state.breaker_opened.one();
        let Failure { reason, status, .. } = failure;
        warn!(
            pipeline = self.name(),
            status, "breaker opened, only probes go out: {reason}"
        );
    }

    fn breaker_closed(&self, open_for: Millis) {
        info!(
            pipeline = self.name(),
            "breaker closed: the function is back after {open_for}"
        );
    }

    fn guard_tripped(&self, guard: GuardKind, id: &str, failure: &Failure) {
        self.state.guards_tripped[place(&GUARDS, &guard)].one();
        let Failure { reason, status, .. } = failure;
        error!(
            pipeline = self.name(),
            guard = guard.name(),
            record = id,
            status,
            "guard tripped: too many records in a row were given up, and none is until one succeeds: {}",
            self.said_of_records(reason, status.is_none())
        );
    }

    fn guard_released(&self, guard: GuardKind) {
        info!(pipeline = self.name(), guard = guard.name(), "guard released");
    }

    fn lane_blocked(&self, id: &str, failure: &Failure) {
        self.state.lanes_blocked.one();
        let Failure { reason, status, .. } = failure;
        error!(
            pipeline = self.name(),
            record = id,
            status,
            "lane blocked until an operator acts: {}",
            self.said_of_records(reason, status.is_none())
        );
    }

    fn waits_for_oldest(&self, id: &str) {
        self.state.waits_for_oldest.one();
        if let Some(unsaid) = self.repeats.rise("waits_for_oldest", "", Instant::now()) {
            warn!(
                pipeline = self.name(),
                record = id,
                "partition waits for its oldest record: no more would fit beside the offset{}",
                More(unsaid)
            );
        }
    }

    fn memo_unusable(&self, source: &TopicPartition, reason: &str) {
        if let Some(partition) = self.state.partition_of(source) {
            partition.memos_unusable.one();
        }
        warn!(
            pipeline = self.name(),
            partition = %source,
            "the memo beside the committed offset can't be used, and work since is done again: {reason}"
        );
    }

    fn overtaken(&self, source: &TopicPartition, from: i64, to: i64) {
        if let Some(partition) = self.state.partition_of(source) {
            partition.overtaken.one();
        }
        warn!(
            pipeline = self.name(),
            partition = %source,
            from,
            to,
            "retention removed records before they were read"
        );
    }

    fn too_many_skips(&self, source: &TopicPartition, from: i64, to: i64) {
        warn!(
            pipeline = self.name(),
            partition = %source,
            from,
            to,
            "more ranges are to be skipped than are remembered: records of this one that arrive later are not skipped"
        );
    }

    /// Counted where the commit ends; here it is said.
    fn commit_refused(&self, source: &TopicPartition, reason: &str) {
        if let Some(unsaid) = self.repeats.rise("commit_refused", "", Instant::now()) {
            warn!(pipeline = self.name(), partition = %source, "commit refused: {reason}{}", More(unsaid));
        }
    }

    fn late_discarded(&self, what: &'static str) {
        *lock(&self.state.late).entry(what).or_default() += 1;
        debug!(
            pipeline = self.name(),
            what, "arrived for an assignment that is over, discarded"
        );
    }

    fn drained(&self, source: &TopicPartition, took: Millis, in_time: bool) {
        self.state.drains[usize::from(in_time)].observe(Duration::from(took));
        match in_time {
            true => info!(pipeline = self.name(), partition = %source, "drained in {took}"),
            false => warn!(pipeline = self.name(), partition = %source, "drain cut off by its deadline after {took}"),
        }
    }
}

//! What a task asks for, checked and put on its way.

use std::rc::Rc;
use std::sync::Arc;

use fnbridge_delivery::answer::Stage;
use fnbridge_delivery::event::{AttemptOutcome, Call, CommitEntry, Effect, GuardKind, Letter, Notice, Store};
use fnbridge_delivery::identity::batch_id;
use fnbridge_delivery::memo::Memo;
use fnbridge_delivery::record::Record;
use fnbridge_delivery::settings::{Delivery, RateLimits};
use fnbridge_delivery::time::Moment;

use super::worker::{Batch, Command, Life, OutCall, lane_of};
use super::{Happening, World};
use crate::history::facts::{Fact, Place};
use crate::invariants::{self, promise};

impl World {
    /// Lets a task decide, and does what it asks for.
    pub(super) fn advance(&mut self, worker: usize) {
        if self.workers[worker].life == Life::Dead {
            return;
        }
        self.workers[worker].dirty = false;
        self.workers[worker].task.advance(Moment(self.now));
        self.perform_all(worker);
        if self.workers[worker].life == Life::Dead {
            return;
        }
        self.settle_charges(worker);
        let wakeup = self.workers[worker].task.next_wakeup();
        if let Some(Moment(at)) = wakeup {
            promise!(
                at > self.now,
                liveness,
                "worker {worker} asks to be woken at {at}, and it is {}",
                self.now
            );
            if self.workers[worker].wake_at != Some(at) {
                self.workers[worker].wake_at = Some(at);
                self.at(at, Happening::Wake { worker });
            }
        } else {
            self.workers[worker].wake_at = None;
        }
        let slack = self.slack_bytes();
        invariants::everything_is_bounded(&mut self.workers[worker], slack);
        let w = &self.workers[worker];
        let limited = w.settings.limits != RateLimits::default();
        self.befell.throttled += u64::from(limited && w.task.view().usage.throttled);
    }

    /// What may be held over the limit: each partition's last hand-overs, one call, and the results of calls on the
    /// wire.
    fn slack_bytes(&self) -> usize {
        let plan = &self.plan;
        let record = plan.value_bytes as usize + 400;
        let call = (plan.settings.iter())
            .map(|s| s.batch.max_bytes.min(s.batch.max_records * record).max(record))
            .max();
        let results = plan
            .settings
            .iter()
            .map(|s| s.max_in_flight * s.batch.max_records * 800)
            .max();
        let fetched = (plan.partitions * 3 + 6) * plan.fetch as usize * record;
        call.unwrap_or(0) + results.unwrap_or(0) + fetched + plan.fetch as usize * 3 * plan.partitions * 800
    }

    /// Does what a task has asked for so far.
    pub(super) fn perform_all(&mut self, worker: usize) {
        while let Some(effect) = self.workers[worker].task.poll_effect() {
            self.perform(worker, effect);
            if self.workers[worker].life == Life::Live && self.dies_between() {
                return self.crash(worker);
            }
        }
    }

    fn perform(&mut self, worker: usize, effect: Effect) {
        match effect {
            Effect::Call(call) => self.call(worker, call),
            Effect::Abandon(call) => {
                if let Some(call) = self.workers[worker].calls.get_mut(&call) {
                    call.abandoned = true;
                }
                self.note(Fact::Abandoned { worker, call });
            }
            Effect::Store(store) => self.store(worker, store),
            Effect::WriteLetter(letter) => self.write_letter(worker, letter),
            Effect::Commit(entries) => self.commit(worker, entries),
            Effect::Transact(transaction) => self.transact(worker, transaction),
            Effect::Pause(assignment) => {
                self.befell.pauses += 1;
                if let Some(held) = self.workers[worker].held.get_mut(&assignment) {
                    // There is no room to wait for the rest of old batches: they are made without it.
                    let position = held.position;
                    held.batches.retain(|offset, _| *offset < position);
                }
                self.command(worker, Command::Pause(assignment));
            }
            Effect::Resume(assignment) => self.command(worker, Command::Resume(assignment)),
            Effect::Release(assignment) => {
                self.note(Fact::Released { worker, assignment });
                self.released(worker, assignment);
                self.command(worker, Command::Release(assignment));
            }
            Effect::RecycleSinks => self.recycle(worker),
            Effect::Notice(notice) => self.noticed(worker, notice),
        }
    }

    fn call(&mut self, worker: usize, call: Call) {
        let partition = call.records[0].source.partition as usize;
        let w = &self.workers[worker];
        let ordering = w.settings.ordering;
        let Some(held) = w.held.get(&call.assignment) else {
            panic!("order: a call for {:?}, which is not held", call.assignment);
        };
        let nth = held.log;
        let log = &self.logs[partition].all[nth];
        promise!(
            call.records.iter().all(|record| Place::of(record).log == nth),
            identity_is_stable,
            "records of another log are called for {:?}",
            call.assignment
        );
        promise!(
            held.deadline.is_none(),
            draining_is_bounded,
            "a call of {:?}, which is drained",
            call.assignment
        );
        promise!(!w.paused, paused, "a call while the pipeline is paused");
        for record in &call.records {
            promise!(
                !held.settled_before.contains(&record.offset),
                finished_work_is_not_redone,
                "{} was settled by an earlier owner, and is called again",
                record.id()
            );
            promise!(
                !held.skips(record.offset),
                what_an_operator_passes_over_is_not_called,
                "{} is to be passed over, and is called",
                record.id()
            );
            promise!(
                !held.accepted.contains(&record.offset),
                two_budgets,
                "{} has been answered, and is called again",
                record.id()
            );
        }
        invariants::order(log, held, &call, ordering);
        invariants::identity_is_stable(held, &call);
        invariants::attempts_are_counted_across_hand_overs(log, &call, w);
        self.befell.called_again += u64::from(call.attempt > 1);
        let first = !held.accepted.contains(&call.records[0].offset) && call.attempt > 1;
        self.befell.attempts_taken_over += u64::from(first && held.calls == 0);
        self.origins += 1;
        let origin = |offset: &i64| held.batches.get(offset).map(|batch| batch.origin);
        let batch = Rc::new(Batch {
            offsets: call.records.iter().map(|r| r.offset).collect(),
            again: false.into(),
            origin: origin(&call.records[0].offset).unwrap_or(self.origins),
        });
        let log = &mut self.logs[partition].all[nth];
        let w = &mut self.workers[worker];
        let never = |r: &&Arc<Record>| log.entry(r.offset).is_some_and(|entry| entry.fate.calls == 0);
        let first = count(call.records.iter().filter(never));
        if first[0] > 0 {
            w.first_calls.push_back((self.now, first));
            invariants::limits_hold(w, count(call.records.iter()));
        }
        if let Some(held) = w.held.get_mut(&call.assignment) {
            held.calls += 1;
            for record in &call.records {
                let entry = log.entry_mut(record.offset);
                entry.fate.calls += 1;
                held.on_wire.insert(lane_of(ordering, entry), call.id);
                held.batches.insert(record.offset, batch.clone());
                held.unbound.remove(&record.offset);
            }
        }
        let generation = call.records[0].generation;
        let batch = batch_id(&call.records);
        self.note(Fact::Called {
            worker,
            call: call.id,
            assignment: call.assignment,
            offsets: call.records.iter().map(|record| record.offset).collect(),
            attempt: call.attempt,
            key: if generation > 0 {
                format!("{batch};g={generation}")
            } else {
                batch
            },
            probe: call.probe,
        });
        let w = &mut self.workers[worker];
        let out = OutCall {
            assignment: call.assignment,
            partition,
            records: call.records,
            abandoned: false,
        };
        w.calls.insert(call.id, out);
        self.in_a_while(Happening::Answer { worker, call: call.id });
    }

    fn store(&mut self, worker: usize, store: Store) {
        let w = &mut self.workers[worker];
        let has_function = w.settings.has_function;
        for logs in &self.logs {
            let partition = logs.source.partition as usize;
            if store.items.iter().any(|item| item.record.source == logs.source) {
                let Some(held) = w.held.values().find(|held| held.partition == partition) else {
                    panic!("two_budgets: results of {} are sent, which is not held", logs.source);
                };
                invariants::two_budgets(&logs.all[held.log], held, &store, has_function);
            }
        }
        let (id, owners) = (
            store.id,
            w.held
                .iter()
                .map(|(assignment, held)| (held.partition, *assignment))
                .collect(),
        );
        let items = store.items.iter().map(|item| (Place::of(&item.record), item.from));
        let fact = Fact::Asked {
            worker,
            store: id,
            sink: store.sink.0,
            items: items.collect(),
        };
        w.stores.insert(id, (store, owners));
        self.note(fact);
        self.in_a_while(Happening::Receipts { worker, store: id });
    }

    pub(super) fn letter_is_right(&mut self, worker: usize, letter: &Letter) {
        let partition = letter.record.source.partition as usize;
        let kept = self.logs[partition].of(&letter.record).is_some_and(|entry| {
            let (kept, sent) = (&entry.record, &letter.record);
            (kept.timestamp_ms, &kept.key, &kept.value, &kept.headers)
                == (sent.timestamp_ms, &sent.key, &sent.value, &sent.headers)
        });
        promise!(
            kept,
            a_dead_letter_keeps_the_source_bytes,
            "{} was altered",
            letter.record.id()
        );
        if letter.facts.stage == Stage::Operator {
            let told = self.workers[worker]
                .holds(partition)
                .is_some_and(|held| held.skips(letter.record.offset));
            promise!(
                told,
                what_an_operator_passes_over_is_not_called,
                "{} is passed over, and nobody said so",
                letter.record.id()
            );
        }
        let id = letter.id;
        self.note(Fact::LetterAsked {
            worker,
            letter: id,
            place: Place::of(&letter.record),
            stage: letter.facts.stage,
            status: letter.facts.failure.status,
            reason: letter.facts.failure.reason.as_str().into(),
            of: result_of(letter),
        });
    }

    fn write_letter(&mut self, worker: usize, letter: Letter) {
        self.letter_is_right(worker, &letter);
        let id = letter.id;
        self.workers[worker].letters.insert(id, letter);
        self.in_a_while(Happening::LetterDone { worker, letter: id });
    }

    fn commit(&mut self, worker: usize, entries: Vec<CommitEntry>) {
        let w = &self.workers[worker];
        promise!(w.commit.is_none(), commits, "two commits are in flight");
        promise!(!entries.is_empty(), commits, "a commit of nothing");
        for entry in &entries {
            self.commit_is_right(worker, entry);
        }
        self.workers[worker].commit = Some(entries.clone());
        self.command(worker, Command::Commit(entries));
    }

    /// What a commit, or a transaction, says of one partition.
    pub(super) fn commit_is_right(&mut self, worker: usize, entry: &CommitEntry) {
        let w = &mut self.workers[worker];
        invariants::a_memo_fits(entry);
        let memo = match Memo::decode(&entry.memo, entry.offset) {
            Ok(memo) => memo,
            Err(reason) => panic!("nothing_is_lost: a memo that can't be read: {reason}"),
        };
        let Some(held) = w.held.get(&entry.assignment) else {
            panic!("commits: {:?} is committed, and not held", entry.assignment);
        };
        let log = &self.logs[held.partition].all[held.log];
        // What a transaction names stands with it, and not before.
        if w.settings.delivery == Delivery::AtLeastOnce {
            invariants::nothing_is_lost(log, held, entry, &memo, w);
        }
        self.history.note(
            self.now,
            Fact::CommitAsked {
                worker,
                assignment: entry.assignment,
                offset: entry.offset,
                memo: Rc::new(memo.clone()),
                chars: entry.memo.len(),
            },
        );
        let Some(held) = w.held.get_mut(&entry.assignment) else {
            return;
        };
        let log = &self.logs[held.partition].all[held.log];
        let behind = held.arrived.split_off(&entry.offset);
        let passed = std::mem::replace(&mut held.arrived, behind);
        held.passed += passed.difference(&held.settled_before).count() as u64;
        held.asked = entry.offset;
        invariants::totals_are_true(held, entry, &memo);
        invariants::finished_work_is_not_redone(log, held, entry, &memo);
    }

    fn noticed(&mut self, worker: usize, notice: Notice) {
        let success = |outcome| matches!(outcome, AttemptOutcome::Success | AttemptOutcome::Overridden);
        let told = match &notice {
            Notice::Attempt { outcome, .. } => success(*outcome),
            Notice::Settled { .. } => false,
            _ => true,
        };
        if told {
            let notice = notice.clone();
            self.note(Fact::Noticed { worker, notice });
        }
        if let Notice::GivenUp {
            stage: Stage::Function | Stage::Operator,
            id,
            ..
        } = &notice
        {
            self.given_up(worker, id);
        }
        if let Notice::LaneBlocked { id, .. } = &notice
            && let Some((partition, offset)) = place_of(id)
        {
            self.blocked(worker, partition, offset);
        }
        let w = &mut self.workers[worker];
        match notice {
            Notice::LateDiscarded { .. } => self.late_discarded += 1,
            Notice::Attempt { outcome, .. } => match outcome {
                AttemptOutcome::Success | AttemptOutcome::Overridden => w.given_up_in_a_row = 0,
                AttemptOutcome::Failed
                | AttemptOutcome::Refused
                | AttemptOutcome::TooLarge
                | AttemptOutcome::Busy
                | AttemptOutcome::Misregistered
                | AttemptOutcome::Away => {}
            },
            Notice::GivenUp {
                stage: Stage::Function,
                status: Some(500 | 404 | 401 | 429 | 503),
                id,
                ..
            } => {
                w.given_up_in_a_row += 1;
                self.letters_of_failures += 1;
                promise!(
                    w.given_up_in_a_row <= w.settings.guard.failed,
                    a_function_that_is_down_is_not_poison,
                    "{id} is given up, the {}th in a row with no success between",
                    w.given_up_in_a_row
                );
            }
            Notice::GuardTripped {
                guard: GuardKind::Failed,
                ..
            } => (w.failed_guard_told, w.failed_guard_tripped) = (true, true),
            Notice::GuardReleased {
                guard: GuardKind::Failed,
            } => w.failed_guard_told = false,
            _ => {}
        }
    }

    /// A lane stands still. Once an operator has freed it, its batches are cut anew.
    fn blocked(&mut self, worker: usize, partition: usize, offset: i64) {
        let ordering = self.workers[worker].settings.ordering;
        if let Some(held) = self.workers[worker].holds(partition) {
            let log = &mut self.logs[partition].all[held.log];
            log.entry_mut(offset).fate.blocked = true;
            let lane = |offset| log.entry(offset).map(|entry| lane_of(ordering, entry));
            let of_lane = held.batches.keys().filter(|other| lane(**other) == lane(offset));
            held.unbound.extend(of_lane);
        }
    }

    /// The function is not asked about a record any more.
    fn given_up(&mut self, worker: usize, id: &str) {
        let Some((partition, offset)) = place_of(id) else {
            return;
        };
        let ordering = self.workers[worker].settings.ordering;
        if let Some(held) = self.workers[worker].holds(partition)
            && let Some(entry) = self.logs[partition].all[held.log].entry(offset)
        {
            held.close(lane_of(ordering, entry), offset);
        }
    }

    /// Failed attempts are charged, unless the guard had tripped: then, nobody outside can tell.
    fn settle_charges(&mut self, worker: usize) {
        let w = &mut self.workers[worker];
        let unsure = w.failed_guard_told || std::mem::take(&mut w.failed_guard_tripped) || w.cut_off;
        for ((partition, log), offset) in w.charged.drain(..) {
            let fate = &mut self.logs[partition].all[log].entry_mut(offset).fate;
            fate.charged += 1;
            fate.forgiven += u32::from(unsure);
        }
    }
}

/// How many records, and how many bytes.
fn count<'a>(records: impl Iterator<Item = &'a Arc<Record>>) -> [u64; 2] {
    records.fold([0, 0], |[records, bytes], record| {
        [records + 1, bytes + record.payload_bytes() as u64]
    })
}

/// The partition and offset of a record's id.
fn place_of(id: &str) -> Option<(usize, i64)> {
    let mut parts = id.rsplit('/');
    let offset = parts.next()?.parse().ok()?;
    Some((parts.next()?.parse().ok()?, offset))
}

/// The sink and the index of the result that a dead letter is about.
pub(super) fn result_of(letter: &Letter) -> Option<(u16, usize)> {
    let (sink, result) = (letter.facts.sink?, letter.facts.result.as_ref()?);
    let value = String::from_utf8_lossy(result.value.as_deref().unwrap_or_default()).into_owned();
    let index = value.rsplit_once('#').and_then(|(_, index)| index.parse().ok());
    Some((sink.0, index.unwrap_or(0)))
}

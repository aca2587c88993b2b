//! What a task asks for, checked and put on its way.

use std::rc::Rc;
use std::sync::Arc;

use fnbridge_delivery::answer::Stage;
use fnbridge_delivery::event::{AttemptOutcome, Call, CommitEntry, Effect, GuardKind, Letter, Notice, Store};
use fnbridge_delivery::identity::offset_ranges;
use fnbridge_delivery::memo::Memo;
use fnbridge_delivery::record::Record;
use fnbridge_delivery::settings::RateLimits;
use fnbridge_delivery::time::Moment;

use super::worker::{Batch, Life, OutCall, lane_of};
use super::{Happening, World, ranges, shortened};
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
        let fetched = plan.partitions * 3 * plan.fetch as usize * record;
        call.unwrap_or(0) + results.unwrap_or(0) + fetched + plan.fetch as usize * 3 * plan.partitions * 800
    }

    /// Does what a task has asked for so far.
    pub(super) fn perform_all(&mut self, worker: usize) {
        while let Some(effect) = self.workers[worker].task.poll_effect() {
            self.perform(worker, effect);
        }
    }

    fn perform(&mut self, worker: usize, effect: Effect) {
        self.history_now(|| format!("worker {worker} → {}", brief(&effect)));
        match effect {
            Effect::Call(call) => self.call(worker, call),
            Effect::Abandon(call) => {
                if let Some(call) = self.workers[worker].calls.get_mut(&call) {
                    call.abandoned = true;
                }
            }
            Effect::Store(store) => self.store(worker, store),
            Effect::WriteLetter(letter) => self.write_letter(worker, letter),
            Effect::Commit(entries) => self.commit(worker, entries),
            Effect::Transact(transaction) => panic!("at least once, and asks for {:?}", transaction.id),
            Effect::Pause(assignment) => {
                self.befell.pauses += 1;
                if let Some(held) = self.workers[worker].held.get_mut(&assignment) {
                    held.paused = true;
                    // There is no room to wait for the rest of old batches: they are made without it.
                    let position = held.position;
                    held.batches.retain(|offset, _| *offset < position);
                }
            }
            Effect::Resume(assignment) => {
                if let Some(held) = self.workers[worker].held.get_mut(&assignment) {
                    held.paused = false;
                    let partition = held.partition;
                    self.wake_fetcher(partition);
                }
            }
            Effect::Release(assignment) => self.released(worker, assignment),
            Effect::RecycleSinks => self.recycle(worker),
            Effect::Notice(notice) => self.note(worker, notice),
        }
    }

    fn call(&mut self, worker: usize, call: Call) {
        let partition = call.records[0].source.partition as usize;
        let (log, w) = (&self.logs[partition], &self.workers[worker]);
        let ordering = w.settings.ordering;
        let Some(held) = w.held.get(&call.assignment) else {
            panic!("order: a call for {:?}, which is not held", call.assignment);
        };
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
        let log = &mut self.logs[partition];
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
        for log in &self.logs {
            let partition = log.source.partition as usize;
            if store.items.iter().any(|item| item.record.source == log.source) {
                let Some(held) = w.held.values().find(|held| held.partition == partition) else {
                    panic!("two_budgets: results of {} are sent, which is not held", log.source);
                };
                invariants::two_budgets(log, held, &store, has_function);
            }
        }
        let (id, owners) = (
            store.id,
            w.held
                .iter()
                .map(|(assignment, held)| (held.partition, *assignment))
                .collect(),
        );
        w.stores.insert(id, (store, owners));
        self.in_a_while(Happening::Receipts { worker, store: id });
    }

    fn write_letter(&mut self, worker: usize, letter: Letter) {
        let partition = letter.record.source.partition as usize;
        let kept = self.logs[partition]
            .entry(letter.record.offset)
            .is_some_and(|entry| entry.record == letter.record);
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
        self.workers[worker].letters.insert(id, letter);
        self.in_a_while(Happening::LetterDone { worker, letter: id });
    }

    fn commit(&mut self, worker: usize, entries: Vec<CommitEntry>) {
        let w = &mut self.workers[worker];
        promise!(w.commit.is_none(), commits, "two commits are in flight");
        promise!(!entries.is_empty(), commits, "a commit of nothing");
        for entry in &entries {
            invariants::a_memo_fits(entry);
            let memo = match Memo::decode(&entry.memo, entry.offset) {
                Ok(memo) => memo,
                Err(reason) => panic!("nothing_is_lost: a memo that can't be read: {reason}"),
            };
            let Some(held) = w.held.get(&entry.assignment) else {
                panic!("commits: {:?} is committed, and not held", entry.assignment);
            };
            invariants::nothing_is_lost(&self.logs[held.partition], held, entry, &memo, w);
            let Some(held) = w.held.get_mut(&entry.assignment) else {
                continue;
            };
            let behind = held.arrived.split_off(&entry.offset);
            let passed = std::mem::replace(&mut held.arrived, behind);
            held.passed += passed.difference(&held.settled_before).count() as u64;
            held.asked = entry.offset;
            invariants::totals_are_true(held, entry, &memo);
            invariants::finished_work_is_not_redone(&self.logs[held.partition], held, entry, &memo);
        }
        w.commit = Some(entries);
        let most = if self.rng.chance(self.plan.faults.slow) {
            3_000
        } else {
            50
        };
        self.later(most, Happening::CommitDone { worker });
    }

    fn note(&mut self, worker: usize, notice: Notice) {
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
        let log = &mut self.logs[partition];
        log.entry_mut(offset).fate.blocked = true;
        let ordering = self.workers[worker].settings.ordering;
        let lane = |offset| log.entry(offset).map(|entry| lane_of(ordering, entry));
        if let Some(held) = self.workers[worker].holds(partition) {
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
        let Some(entry) = self.logs[partition].entry(offset) else {
            return;
        };
        let lane = lane_of(ordering, entry);
        if let Some(held) = self.workers[worker].holds(partition) {
            held.close(lane, offset);
        }
    }

    /// Failed attempts are charged, unless the guard had tripped: then, nobody outside can tell.
    fn settle_charges(&mut self, worker: usize) {
        let w = &mut self.workers[worker];
        let unsure = w.failed_guard_told || std::mem::take(&mut w.failed_guard_tripped) || w.life == Life::Zombie;
        for (partition, offset) in w.charged.drain(..) {
            let fate = &mut self.logs[partition].entry_mut(offset).fate;
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

/// An effect in a line.
fn brief(effect: &Effect) -> String {
    match effect {
        Effect::Call(call) => {
            let (id, source, offsets) = (call.id, &call.records[0].source, ranges(call.records.iter()));
            format!(
                "Call {id:?} {source}/{offsets} attempt {} probe {}",
                call.attempt, call.probe
            )
        }
        Effect::Store(store) => {
            let items: Vec<String> = (store.items.iter())
                .map(|item| format!("{}+{}", item.record.id(), item.from))
                .collect();
            format!(
                "Store {:?} sink {} {}",
                store.id,
                store.sink.0,
                shortened(&items.join(" "), 300)
            )
        }
        Effect::WriteLetter(letter) => {
            format!(
                "WriteLetter {:?} {} {:?} {:?}",
                letter.id,
                letter.record.id(),
                letter.facts.stage,
                letter.facts.failure.reason
            )
        }
        Effect::Commit(entries) => {
            let entry = |entry: &CommitEntry| {
                let memo = Memo::decode(&entry.memo, entry.offset);
                let memo = memo.map(|m| (m.totals, m.batches, offset_ranges(&m.settled)));
                shortened(
                    &format!("{:?} {} @{} {memo:?}", entry.assignment, entry.source, entry.offset),
                    600,
                )
                .to_owned()
            };
            format!("Commit {:?}", entries.iter().map(entry).collect::<Vec<_>>())
        }
        Effect::Transact(transaction) => format!("Transact {:?}", transaction.id),
        other => format!("{other:?}"),
    }
}

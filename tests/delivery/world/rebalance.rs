//! Who holds what changes: cooperatively, eagerly, by a crash, or by being thrown out.

use std::collections::BTreeMap;

use fnbridge_delivery::event::{Assignment, Event};
use fnbridge_delivery::memo::Memo;

use super::group::Owner;
use super::worker::{Held, Life, Worker};
use super::{Happening, World};
use crate::invariants::promise;

impl World {
    /// A new worker joins. Where pipelines are changed, it runs other settings.
    pub(super) fn join(&mut self) {
        let settings = self.rng.pick(&self.plan.settings).clone();
        self.workers.push(Worker::new(settings));
    }

    pub(super) fn rebalance(&mut self) {
        let live = self.live();
        self.group.retarget(&live, &mut self.rng);
        let moving = |p: &usize| self.group.owners[*p].is_some_and(|owner| owner.worker != self.group.targets[*p]);
        let moving = (0..self.logs.len()).filter(moving).collect();
        self.revoke(moving);
        self.hand_out();
    }

    pub(super) fn rebalance_eagerly(&mut self) {
        let live = self.live();
        self.group.retarget(&live, &mut self.rng);
        self.group.eager = true;
        self.revoke((0..self.logs.len()).collect());
        self.hand_out();
    }

    fn revoke(&mut self, partitions: Vec<usize>) {
        let mut by_worker: BTreeMap<usize, Vec<Assignment>> = BTreeMap::new();
        for partition in partitions {
            let Some(owner) = self.group.owners[partition].as_mut().filter(|owner| !owner.leaving) else {
                continue;
            };
            owner.leaving = true;
            by_worker.entry(owner.worker).or_default().push(owner.assignment);
        }
        for (worker, assignments) in by_worker {
            let deadline = self.now + self.workers[worker].settings.drain_timeout.0;
            for assignment in &assignments {
                if let Some(held) = self.workers[worker].held.get_mut(assignment) {
                    held.deadline = Some(deadline);
                }
            }
            self.give(worker, Event::Revoked { assignments });
        }
    }

    /// A drain has ended: the partition is the group's again.
    pub(super) fn released(&mut self, worker: usize, assignment: Assignment) {
        let w = &mut self.workers[worker];
        let Some(held) = w.held.remove(&assignment) else {
            panic!("draining_is_bounded: {assignment:?} is released, and not held");
        };
        let Some(deadline) = held.deadline else {
            panic!("draining_is_bounded: {assignment:?} is released, and was not revoked");
        };
        self.befell.drains += 1;
        let named = w.commit.iter().flatten().any(|entry| entry.assignment == assignment);
        promise!(!named, commits, "{assignment:?} is let go with a commit in flight");
        promise!(
            self.now <= deadline + 12_000,
            draining_is_bounded,
            "{assignment:?} was to be drained by {deadline}, and is at {}",
            self.now
        );
        if held.last_commit_refused {
            self.forgive(&held);
        }
        if self.group.owns(held.partition, worker, assignment) {
            self.group.owners[held.partition] = None;
        }
        self.later(50, Happening::HandOut);
    }

    /// Gives out what nobody holds.
    pub(super) fn hand_out(&mut self) {
        for partition in self.group.free() {
            let target = self.group.targets[partition];
            let live = self.live();
            let worker = if live.contains(&target) {
                target
            } else {
                *self.rng.pick(&live)
            };
            self.assign(partition, worker);
        }
    }

    fn assign(&mut self, partition: usize, worker: usize) {
        let assignment = self.group.number();
        self.assignments += 1;
        let owner = Owner {
            worker,
            assignment,
            leaving: false,
        };
        self.group.owners[partition] = Some(owner);
        let committed = &mut self.group.committed[partition];
        if self.rng.chance(self.plan.faults.corrupt_memo)
            && let Some(memo) = &mut committed.memo
        {
            *memo = memo.replacen("fnb1.", "fnb2.", 1);
        }
        let committed = committed.clone();
        let memo = committed
            .memo
            .as_ref()
            .and_then(|text| Memo::decode(text, committed.offset).ok());
        if memo.is_none() {
            for entry in &mut self.logs[partition].entries {
                entry.fate.forgiven = entry.fate.charged;
            }
        }
        // What was given up so far is none of the new assignment's.
        self.perform_all(worker);
        let w = &mut self.workers[worker];
        let same = memo
            .as_ref()
            .is_some_and(|memo| memo.ordering == Some(w.settings.ordering));
        let held = Held::new(partition, committed.offset, memo.as_ref(), same, &mut self.origins);
        self.befell.settled_before += held.settled_before.len() as u64;
        w.held.insert(assignment, held);
        w.given_up_in_a_row = 0;
        let source = self.logs[partition].source.clone();
        let (position, memo) = (committed.offset, committed.memo);
        self.give(
            worker,
            Event::Assigned {
                assignment,
                source,
                position,
                memo,
            },
        );
        for (from, to) in self.skips[partition].clone() {
            self.tell_skip(worker, partition, from, to);
        }
        self.wake_fetcher(partition);
    }

    pub(super) fn crash_one(&mut self) {
        let live = self.live();
        let worker = *self.rng.pick(&live);
        self.crash(worker);
    }

    /// A worker dies, another joins in its place. What it had on the wire may still come through.
    pub(super) fn crash(&mut self, worker: usize) {
        self.history_now(|| format!("worker {worker} dies"));
        self.workers[worker].life = Life::Dead;
        self.befell.crashes += 1;
        let stores: BTreeMap<_, _> = std::mem::take(&mut self.workers[worker].stores).into_iter().collect();
        for (store, _) in stores.into_values() {
            self.later(2_000, Happening::Ghost { store });
        }
        if let Some(entries) = self.workers[worker].commit.take()
            && self.rng.chance(0.5)
        {
            entries.iter().for_each(|entry| drop(self.group.commit(worker, entry)));
        }
        self.throw_out(worker);
        let held = std::mem::take(&mut self.workers[worker].held);
        held.values().for_each(|held| self.forgive(held));
        self.workers[worker].task = fnbridge_delivery::Task::new(self.workers[worker].settings.clone());
        self.join();
        let live = self.live();
        self.group.retarget(&live, &mut self.rng);
        self.hand_out();
    }

    /// A worker misses its session: others get what it held, and it doesn't know yet.
    pub(super) fn fence_one(&mut self) {
        let live = self.live();
        if live.len() < 2 {
            return;
        }
        let worker = *self.rng.pick(&live);
        self.history_now(|| format!("worker {worker} is thrown out"));
        self.workers[worker].life = Life::Zombie;
        self.throw_out(worker);
        let (logs, held) = (&mut self.logs, &self.workers[worker].held);
        held.values().for_each(|held| forgive(logs, held));
        let live = self.live();
        self.group.retarget(&live, &mut self.rng);
        self.later(10_000, Happening::Notices { worker });
        self.hand_out();
    }

    /// A worker learns that it holds nothing any more, and joins again.
    pub(super) fn notices(&mut self, worker: usize) {
        if self.workers[worker].life != Life::Zombie {
            return;
        }
        self.workers[worker].life = Life::Live;
        let assignments = self.workers[worker].held.keys().copied().collect();
        let held = std::mem::take(&mut self.workers[worker].held);
        held.values().for_each(|held| self.forgive(held));
        self.give(worker, Event::Lost { assignments });
    }

    fn throw_out(&mut self, worker: usize) {
        for owner in &mut self.group.owners {
            owner.take_if(|owner| owner.worker == worker);
        }
    }

    /// Counts of calls that were cut off may be lost.
    fn forgive(&mut self, held: &Held) {
        forgive(&mut self.logs, held);
    }

    /// The worker's producers are closed with what is in them; what they still say comes late, or never.
    pub(super) fn recycle(&mut self, worker: usize) {
        let stores: BTreeMap<_, _> = std::mem::take(&mut self.workers[worker].stores).into_iter().collect();
        self.befell.cut_off += 1;
        for (id, (store, _)) in stores {
            let through = self.rng.below(store.items.len() as u64 + 1) as usize;
            let receipts = self.store_items(None, &store, through);
            if self.rng.chance(0.3) {
                self.give_later(worker, Event::Stored { store: id, receipts });
            }
        }
        self.workers[worker].letters.clear();
    }

    /// Pipelines come and go on a worker: its tasks' shares change.
    pub(super) fn reshare_one(&mut self) {
        let live = self.live();
        let worker = *self.rng.pick(&live);
        let in_flight_bytes = *self.rng.pick(&[5_000, 20_000, 200_000, usize::MAX]);
        let w = &mut self.workers[worker];
        w.share = in_flight_bytes.min(w.settings.in_flight_bytes);
        w.allowed = w.allowed.max(w.share);
        self.give(worker, Event::SetShare { in_flight_bytes });
    }

    pub(super) fn pause_one(&mut self) {
        let live = self.live();
        let worker = *self.rng.pick(&live);
        self.workers[worker].paused = true;
        self.give(worker, fnbridge_delivery::event::Event::SetPaused(true));
        self.later(5_000, Happening::Unpause { worker });
    }

    /// Retention removes records at the front of a partition.
    pub(super) fn expire(&mut self) {
        let partition = self.rng.below(self.logs.len() as u64) as usize;
        let log = &mut self.logs[partition];
        let to = log.start + self.rng.below((log.next_offset - log.start) as u64 + 1) as i64;
        for entry in &mut log.entries {
            entry.fate.expired |= entry.record.offset < to;
        }
        log.start = to;
        self.history_now(|| format!("retention removes what is before {partition}/{to}"));
    }
}

fn forgive(logs: &mut [super::log::Log], held: &Held) {
    for offset in held.batches.keys() {
        if let Some(fate) = Some(*offset).filter(|o| logs[held.partition].entry(*o).is_some()) {
            logs[held.partition].entry_mut(fate).fate.forgiven += 1;
        }
    }
}

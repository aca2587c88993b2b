//! Who holds what changes: cooperatively, eagerly, by a crash, or by being thrown out.

use std::collections::BTreeMap;
use std::rc::Rc;

use fnbridge_delivery::Task;
use fnbridge_delivery::event::{Assignment, Event};
use fnbridge_delivery::group::{Desk, Place};

use super::log::Logs;
use super::worker::{Held, Life, Said, Worker};
use super::{Happening, World};
use crate::history::facts::Fact;
use crate::invariants::promise;

/// Assignments that one worker may number: enough that no two workers use the same number.
const NUMBERS: u64 = 1_000_000;

impl World {
    /// A new worker joins. Where pipelines are changed, it runs other settings.
    pub(super) fn join(&mut self) {
        let settings = Rc::clone(self.rng.pick(&self.settings));
        let worker = self.workers.len();
        let mut numbers = worker as u64 * NUMBERS + 1..;
        let desk = Desk::new(move || Assignment(numbers.next().unwrap_or(u64::MAX)));
        self.note(Fact::Joins {
            worker,
            settings: settings.clone(),
        });
        self.workers.push(Worker::new(settings, desk, self.skips.clone()));
        self.group.join(worker);
    }

    pub(super) fn rebalance(&mut self) {
        self.note(Fact::Rebalance { eager: false });
        self.retarget();
        self.move_on();
    }

    pub(super) fn rebalance_eagerly(&mut self) {
        self.note(Fact::Rebalance { eager: true });
        self.retarget();
        self.group.eager = true;
        self.move_on();
    }

    fn retarget(&mut self) {
        let live = self.live();
        if !live.is_empty() {
            self.group.retarget(&live, &mut self.rng);
        }
    }

    /// Takes away what is to move, from those who have answered the group's last word, and gives out what is free.
    fn move_on(&mut self) {
        let mut moving: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for partition in 0..self.logs.len() {
            if let Some(owner) = self.group.owners[partition].filter(|_| !self.group.leaving[partition])
                && (self.group.eager || owner != self.group.targets[partition])
            {
                moving.entry(owner).or_default().push(partition);
            }
        }
        for (worker, partitions) in moving {
            let desk = &self.workers[worker].source.desk;
            if desk.is_assigning() || desk.is_revoking() {
                continue;
            }
            let name = |p: &usize| (self.logs[*p].source.topic.to_string(), *p as i32);
            let places: Vec<Place> = partitions.iter().map(name).collect();
            partitions.iter().for_each(|p| self.group.leaving[*p] = true);
            let mut said: Vec<Said> = Vec::new();
            let free = self.workers[worker].source.desk.revoke(places, &mut said);
            self.say(worker, said);
            if let Some(places) = free {
                self.let_go(worker, &places);
            }
        }
        self.hand_out();
    }

    /// Gives out what nobody holds.
    pub(super) fn hand_out(&mut self) {
        let live = self.live();
        let mut given: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for partition in self.group.to_hand_out() {
            let target = self.group.targets[partition];
            let worker = match live.contains(&target) {
                true => target,
                false if live.is_empty() => continue,
                false => *self.rng.pick(&live),
            };
            let desk = &self.workers[worker].source.desk;
            if !desk.is_assigning() && !desk.is_revoking() {
                self.group.targets[partition] = worker;
                given.entry(worker).or_default().push(partition);
            }
        }
        if !given.is_empty() {
            self.group.agree();
        }
        for (worker, partitions) in given {
            partitions.iter().for_each(|p| self.group.owners[*p] = Some(worker));
            self.given(worker, partitions);
        }
        if self.is_moving() {
            self.nudge();
        }
    }

    /// Has the group look again, soon, at what is to be done.
    pub(super) fn nudge(&mut self) {
        if !std::mem::replace(&mut self.nudged, true) {
            self.later(100, Happening::HandOut);
        }
    }

    /// The group has not come to rest.
    fn is_moving(&self) -> bool {
        let owners = self.group.owners.iter().zip(&self.group.targets);
        self.group.eager || owners.into_iter().any(|(owner, target)| *owner != Some(*target))
    }

    pub(super) fn go_on_moving(&mut self) {
        self.nudged = false;
        if self.is_moving() && !self.live().is_empty() {
            self.move_on();
        }
    }

    /// A drain has ended: the task is done with the partition.
    pub(super) fn released(&mut self, worker: usize, assignment: Assignment) {
        let w = &mut self.workers[worker];
        let Some(held) = w.held.remove(&assignment) else {
            panic!("draining_is_bounded: {assignment:?} is released, and not held");
        };
        promise!(
            held.deadline.is_some(),
            draining_is_bounded,
            "{assignment:?} is released, and was not revoked"
        );
        self.befell.drains += 1;
        let named = w.commit.iter().flatten().any(|entry| entry.assignment == assignment);
        promise!(!named, commits, "{assignment:?} is let go with a commit in flight");
        if held.last_commit_refused {
            self.forgive(&held);
        }
    }

    pub(super) fn crash_one(&mut self) {
        let live = self.live();
        if !live.is_empty() {
            let worker = *self.rng.pick(&live);
            self.crash(worker);
        }
    }

    /// A worker dies, another joins in its place. What it had on the wire may still come through.
    pub(super) fn crash(&mut self, worker: usize) {
        self.note(Fact::Dies { worker });
        self.workers[worker].life = Life::Dead;
        self.befell.crashes += 1;
        let stores: BTreeMap<_, _> = std::mem::take(&mut self.workers[worker].stores).into_iter().collect();
        for (store, _) in stores.into_values() {
            self.later(2_000, Happening::Ghost { store });
        }
        if self.rng.chance(0.5) {
            self.commits_come_through(worker);
        }
        self.leaves_open(worker);
        self.group.throw_out(worker);
        let held = std::mem::take(&mut self.workers[worker].held);
        held.values().for_each(|held| self.forgive(held));
        let settings = Rc::clone(&self.workers[worker].settings);
        self.workers[worker].task = Task::new((*settings).clone());
        self.workers[worker].source.inbox.clear();
        self.workers[worker].source.line.clear();
        self.join();
        self.retarget();
        self.hand_out();
    }

    /// What a worker has on the way to the coordinator arrives before anybody misses it.
    fn commits_come_through(&mut self, worker: usize) {
        let is_its =
            |happening: &Happening| matches!(happening, Happening::CommitDone { worker: of, .. } if *of == worker);
        let due: Vec<_> = self
            .queue
            .iter()
            .filter(|(_, h)| is_its(h))
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            if let Some(happening) = self.queue.remove(&key) {
                self.take(happening);
            }
        }
    }

    /// A worker misses its session: others get what it held, and it doesn't know yet.
    pub(super) fn fence_one(&mut self) {
        let live = self.live();
        if live.len() < 2 {
            return;
        }
        let worker = *self.rng.pick(&live);
        self.note(Fact::ThrownOut { worker });
        (self.workers[worker].life, self.workers[worker].cut_off) = (Life::Zombie, true);
        self.group.throw_out(worker);
        let (logs, held) = (&mut self.logs, &self.workers[worker].held);
        held.values().for_each(|held| forgive(logs, held));
        self.retarget();
        self.later(10_000, Happening::Notices { worker });
        self.hand_out();
    }

    /// A worker learns that it holds nothing any more, and joins again.
    pub(super) fn notices(&mut self, worker: usize) {
        if self.workers[worker].life != Life::Zombie {
            return;
        }
        self.note(Fact::Learns { worker });
        self.workers[worker].life = Life::Live;
        self.group.join(worker);
        let mut said: Vec<Said> = Vec::new();
        let desk = &mut self.workers[worker].source.desk;
        desk.lose_revoke(&mut said);
        let places: Vec<Place> = (0..self.logs.len())
            .map(|p| (self.logs[p].source.topic.to_string(), p as i32))
            .collect();
        desk.lose(&places, &mut said);
        self.say(worker, said);
    }

    /// Counts of calls that were cut off may be lost.
    pub(super) fn forgive(&mut self, held: &Held) {
        forgive(&mut self.logs, held);
    }

    /// The worker's producers are closed with what is in them; what they still say comes late, or never.
    pub(super) fn recycle(&mut self, worker: usize) {
        let stores: BTreeMap<_, _> = std::mem::take(&mut self.workers[worker].stores).into_iter().collect();
        self.befell.cut_off += 1;
        self.note(Fact::Recycled { worker });
        for (id, (store, _)) in stores {
            let through = self.rng.below(store.items.len() as u64 + 1) as usize;
            let receipts = self.store_items(&store, through);
            if self.rng.chance(0.3) {
                self.give_later(worker, Event::Stored { store: id, receipts });
            }
        }
        self.workers[worker].letters.clear();
    }
}

fn forgive(logs: &mut [Logs], held: &Held) {
    let log = &mut logs[held.partition].all[held.log];
    for offset in held.batches.keys() {
        if log.entry(*offset).is_some() {
            log.entry_mut(*offset).fate.forgiven += 1;
        }
    }
}

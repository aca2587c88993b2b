//! The thin shell around a worker's desk, as its poll thread is one: what the group gives and takes, what is fetched, what
//! is committed. Everything goes to and from the task through two queues.

use std::rc::Rc;

use fnbridge_delivery::event::{Arrival, Assignment, CommitEntry, Event};
use fnbridge_delivery::group::{self, Facts, GroupEvent, Place, Resolved, Slot, Started};
use fnbridge_delivery::memo::Memo;
use fnbridge_delivery::record::Record;

use super::worker::{Command, Held, Life, Said, lane_of};
use super::{Happening, World};
use crate::history::facts::Fact;
use crate::invariants::promise;

/// What is said and was not heard, at most, before a source stops fetching.
const MOST_SAID: usize = 4;

impl World {
    /// The group gives partitions.
    pub(super) fn given(&mut self, worker: usize, partitions: Vec<usize>) {
        let places: Vec<Place> = partitions.iter().map(|p| self.place(*p)).collect();
        let ticket = self.workers[worker].source.desk.assign(places.clone());
        self.later(200, Happening::Resolve { worker, ticket, places });
    }

    fn place(&self, partition: usize) -> Place {
        (self.logs[partition].source.topic.to_string(), partition as i32)
    }

    /// What was found out about an assignment's partitions.
    pub(super) fn resolve(&mut self, worker: usize, ticket: u64, places: Vec<Place>) {
        if self.workers[worker].life == Life::Dead || self.workers[worker].source.closing {
            return;
        }
        // Offsets in a transaction that has not ended are waited for.
        if places
            .iter()
            .any(|(_, partition)| self.is_unstable(*partition as usize))
        {
            return self.later(500, Happening::Resolve { worker, ticket, places });
        }
        let mut resolved = Vec::new();
        for place in places {
            let partition = place.1 as usize;
            self.spoil_memo(partition);
            let committed = self.group.committed[partition].clone();
            let log = self.logs[partition].now();
            let blind = committed.is_some() && self.rng.chance(self.faults.blind);
            let facts = Facts {
                committed: committed.as_ref().map(|c| c.offset),
                log: (!blind).then_some((log.start, log.next_offset)),
                offsets_are_gone: false,
            };
            let begin = group::begin(facts);
            resolved.push(Resolved {
                place,
                committed,
                begin,
            });
        }
        let mut said: Vec<Said> = Vec::new();
        let begins = self.workers[worker].source.desk.resolved(ticket, resolved, &mut said);
        self.say(worker, said);
        for ((_, partition), _) in begins.unwrap_or_default() {
            self.wake_fetcher(partition as usize);
        }
    }

    /// What stands beside a committed offset is not always what was put there.
    fn spoil_memo(&mut self, partition: usize) {
        let chance = self.faults.corrupt_memo;
        let Some(memo) = self.group.committed[partition]
            .as_mut()
            .filter(|_| self.rng.chance(chance))
        else {
            return;
        };
        let Some(text) = memo.memo.clone().filter(|text| !text.is_empty()) else {
            return;
        };
        let end = self.rng.below(text.len() as u64) as usize;
        memo.memo = match self.rng.below(5) {
            0 => Some(text.replacen("fnb1.", "fnb2.", 1)),
            1 => Some(text[..end].to_owned()),
            2 => Some(format!("{}!{}", &text[..end], &text[end + 1..])),
            3 => Some(String::new()),
            _ => None,
        };
        // Which log it is about is forgotten with it.
        if self.logs[partition].all.len() > 1 {
            memo.memo = Some(text);
        }
    }

    /// Has the holders of a partition fetch, if they may and are not about to.
    pub(super) fn wake_fetcher(&mut self, partition: usize) {
        let place = self.place(partition);
        for worker in 0..self.workers.len() {
            let source = &mut self.workers[worker].source;
            let reads = |slot: &Slot| !slot.paused && !slot.draining;
            if source.desk.at(&place).is_some_and(reads) && source.fetching.insert(partition) {
                self.later(30, Happening::Fetch { worker, partition });
            }
        }
    }

    pub(super) fn fetch(&mut self, worker: usize, partition: usize) {
        let place = self.place(partition);
        let w = &mut self.workers[worker];
        w.source.fetching.remove(&partition);
        let Some(slot) = w.source.desk.at(&place).filter(|s| !s.paused && !s.draining) else {
            return;
        };
        if w.life == Life::Dead {
            return;
        }
        if w.source.inbox.len() >= MOST_SAID {
            w.source.fetching.insert(partition);
            return self.later(100, Happening::Fetch { worker, partition });
        }
        let (assignment, position, generation) = (slot.assignment, slot.position, slot.generation);
        let log = self.logs[partition].now();
        if position < log.start || position > log.next_offset {
            w.source.fetching.insert(partition);
            return self.later(100, Happening::FindLog { worker, assignment });
        }
        promise!(
            w.source.logs.get(&assignment) == Some(&log.incarnation),
            identity_is_stable,
            "{assignment:?} reads on in another log than it began in"
        );
        let at = log.at_or_behind(position);
        let most = self.rng.between(1, self.plan.fetch) as usize;
        let arrivals: Vec<Arrival> = log.entries[at..]
            .iter()
            .take(most)
            .map(|entry| Arrival {
                record: match generation {
                    0 => entry.record.clone(),
                    _ => std::sync::Arc::new(Record {
                        generation,
                        ..(*entry.record).clone()
                    }),
                },
                admission: entry.admission.clone(),
            })
            .collect();
        let Some(last) = arrivals.last() else { return };
        let next = last.record.offset + 1;
        if let Some(slot) = self.workers[worker].source.desk.get_mut(assignment) {
            slot.position = next;
        }
        self.workers[worker].source.fetching.insert(partition);
        self.later(30, Happening::Fetch { worker, partition });
        self.say(worker, vec![Said::Records { assignment, arrivals }]);
    }

    pub(super) fn found_log(&mut self, worker: usize, assignment: Assignment) {
        let source = &mut self.workers[worker].source;
        let Some(slot) = source.desk.get(assignment) else {
            source.fetching.clear();
            return (0..self.logs.len()).for_each(|partition| self.wake_fetcher(partition));
        };
        let (partition, position) = (slot.source.partition as usize, slot.position);
        source.fetching.remove(&partition);
        let log = self.logs[partition].now();
        let found = group::lost(position, log.start, log.next_offset);
        let mut said: Vec<Said> = Vec::new();
        source.desk.out_of_range(assignment, found, &mut said);
        self.say(worker, said);
        self.wake_fetcher(partition);
    }

    /// A source tells its task something.
    pub(super) fn say(&mut self, worker: usize, said: Vec<Said>) {
        for said in said {
            if let Said::Group(GroupEvent::Assigned {
                assignment,
                source,
                started,
                ..
            }) = &said
            {
                let logs = &self.logs[source.partition as usize];
                let log = match started {
                    Started::Committed => self.group_log(source.partition as usize),
                    Started::NewPartition | Started::OffsetsGone | Started::Recreated { .. } => logs.now().incarnation,
                };
                self.workers[worker].source.logs.insert(*assignment, log);
            }
            self.workers[worker].source.inbox.push_back(said);
            self.later(20, Happening::Hear { worker });
        }
    }

    /// Which log the committed offset of a partition is about.
    pub(super) fn group_log(&self, partition: usize) -> usize {
        let committed = self.group.committed[partition].as_ref();
        let memo = committed.and_then(|c| Memo::decode(c.memo.as_deref()?, c.offset).ok());
        memo.map_or(0, |memo| memo.generation as usize)
    }

    /// A topic was created anew, and the group does not show it yet.
    pub(super) fn is_unnoticed(&self, partition: usize) -> bool {
        self.group_log(partition) < self.logs[partition].now().incarnation
    }

    /// A task hears what its source said first.
    pub(super) fn hear(&mut self, worker: usize) {
        let w = &mut self.workers[worker];
        if w.life == Life::Dead {
            return;
        }
        match w.source.inbox.pop_front() {
            Some(Said::Group(told)) => self.hear_told(worker, told),
            Some(Said::Records { assignment, arrivals }) => self.hear_records(worker, assignment, arrivals),
            None => {}
        }
    }

    fn hear_records(&mut self, worker: usize, assignment: Assignment, arrivals: Vec<Arrival>) {
        let w = &mut self.workers[worker];
        let offsets: Rc<[i64]> = arrivals.iter().map(|a| a.record.offset).collect();
        if let Some(held) = w.held.get_mut(&assignment).filter(|held| held.deadline.is_none()) {
            for arrival in &arrivals {
                let offset = arrival.record.offset;
                held.position = held.position.max(offset + 1);
                held.arrived.insert(offset);
                let pass = arrival.admission == fnbridge_delivery::event::Admission::Pass;
                let entry = self.logs[held.partition].of(&arrival.record);
                if let Some(entry) = entry.filter(|_| pass && !held.settled_before.contains(&offset)) {
                    let lane = lane_of(w.settings.ordering, entry);
                    held.open.entry(lane).or_default().insert(offset);
                }
            }
        }
        self.note(Fact::Arrived {
            worker,
            assignment,
            offsets,
        });
        self.give(worker, Event::Arrived { assignment, arrivals });
    }

    fn hear_told(&mut self, worker: usize, told: GroupEvent) {
        match &told {
            GroupEvent::Assigned {
                assignment,
                source,
                position,
                memo,
                ..
            } => self.hold(
                worker,
                *assignment,
                source.partition as usize,
                *position,
                memo.as_deref(),
            ),
            GroupEvent::Revoked(assignments) => {
                let deadline = self.now + self.workers[worker].settings.drain_timeout.0;
                for assignment in assignments.iter().copied() {
                    if let Some(held) = self.workers[worker].held.get_mut(&assignment) {
                        held.deadline = Some(deadline);
                    }
                    self.note(Fact::Revoked {
                        worker,
                        assignment,
                        deadline,
                    });
                }
            }
            GroupEvent::Lost(assignments) => {
                for assignment in assignments.iter().copied() {
                    if let Some(held) = self.workers[worker].held.remove(&assignment) {
                        self.forgive(&held);
                    }
                    self.note(Fact::Lost { worker, assignment });
                }
                let w = &mut self.workers[worker];
                w.cut_off &= w.life == Life::Zombie || !w.held.is_empty();
            }
            GroupEvent::Overtaken { assignment, to, .. } => {
                let (assignment, to) = (*assignment, *to);
                if let Some(held) = self.workers[worker].held.get_mut(&assignment) {
                    held.position = held.position.max(to);
                }
                self.note(Fact::Overtaken { worker, assignment, to });
            }
            GroupEvent::Committed { outcomes } => {
                self.workers[worker].commit = None;
                for (assignment, outcome) in outcomes.clone() {
                    if let Some(held) = self.workers[worker].held.get_mut(&assignment) {
                        held.last_commit_refused = outcome.is_err();
                    }
                    let refused = outcome.err();
                    self.note(Fact::CommitTold {
                        worker,
                        assignment,
                        refused,
                    });
                }
            }
        }
        let events = told.events(&mut self.workers[worker].source.skips);
        for event in events {
            if let Event::Skip { source, from, to, .. } = &event {
                let (partition, from, to) = (source.partition as usize, *from, *to);
                self.expect_skip(worker, partition, from, to);
            }
            self.give(worker, event);
        }
    }

    fn hold(&mut self, worker: usize, assignment: Assignment, partition: usize, position: i64, text: Option<&str>) {
        let memo = text.and_then(|text| Memo::decode(text, position).ok());
        let log = self.workers[worker].source.logs[&assignment];
        if memo.is_none() {
            for entry in &mut self.logs[partition].all[log].entries {
                entry.fate.forgiven = entry.fate.charged;
            }
        }
        // What was given up so far is none of the new assignment's.
        self.perform_all(worker);
        let w = &mut self.workers[worker];
        let same = memo
            .as_ref()
            .is_some_and(|memo| memo.ordering == Some(w.settings.ordering));
        let held = Held::new((partition, log), position, memo.as_ref(), same, &mut self.origins);
        let before = held.settled_before.len() as u64;
        self.befell.settled_before += before;
        self.befell.settled_before_change += if same { 0 } else { before };
        w.held.insert(assignment, held);
        w.given_up_in_a_row = 0;
        self.assignments += 1;
        self.note(Fact::Assigned {
            worker,
            assignment,
            partition,
            log,
            position,
            memo: memo.map(Rc::new),
        });
    }

    /// A task tells its source something.
    pub(super) fn command(&mut self, worker: usize, command: Command) {
        self.workers[worker].source.line.push_back(command);
        self.later(10, Happening::Heed { worker });
    }

    pub(super) fn heed(&mut self, worker: usize) {
        let w = &mut self.workers[worker];
        if w.life == Life::Dead {
            return;
        }
        match w.source.line.pop_front() {
            Some(Command::Commit(entries)) => self.send_commit(worker, entries),
            Some(Command::Pause(assignment)) => self.set_paused(worker, assignment, true),
            Some(Command::Resume(assignment)) => self.set_paused(worker, assignment, false),
            Some(Command::Release(assignment)) => {
                if let Some(places) = w.source.desk.release(assignment) {
                    self.let_go(worker, &places);
                }
                self.leave_if_done(worker);
            }
            Some(Command::Close) => {
                w.source.closing = true;
                let mut said: Vec<Said> = Vec::new();
                w.source.desk.drain_all(&mut said);
                self.say(worker, said);
                self.leave_if_done(worker);
            }
            None => {}
        }
    }

    fn set_paused(&mut self, worker: usize, assignment: Assignment, paused: bool) {
        let Some(slot) = self.workers[worker].source.desk.get_mut(assignment) else {
            return;
        };
        slot.paused = paused;
        let partition = slot.source.partition as usize;
        self.wake_fetcher(partition);
    }

    fn send_commit(&mut self, worker: usize, entries: Vec<CommitEntry>) {
        let mut said: Vec<Said> = Vec::new();
        let source = &mut self.workers[worker].source;
        let held = source.commits.take(entries, &source.desk, &mut said);
        self.say(worker, said);
        if held.is_empty() {
            return;
        }
        let generation = self.group.members.get(&worker).copied().unwrap_or(0);
        let most = if self.rng.chance(self.faults.slow) { 3_000 } else { 50 };
        let entries = held;
        self.later(
            most,
            Happening::CommitDone {
                worker,
                generation,
                entries,
            },
        );
    }

    /// A commit reaches the coordinator, and its answer the worker, if that is still there.
    pub(super) fn commit_done(&mut self, worker: usize, generation: u64, entries: Vec<CommitEntry>) {
        let heard = self.group.hears(worker, generation);
        let mut refused = Vec::new();
        for entry in &entries {
            let unlucky = self.rng.chance(self.faults.commit_refused);
            // It may come through, and its acknowledgement not.
            if heard.is_ok() && !(unlucky && self.rng.chance(0.5)) {
                self.stands(worker, entry);
            }
            refused.push(unlucky.then(|| "NOT_COORDINATOR".to_owned()));
        }
        if self.workers[worker].life == Life::Dead {
            return;
        }
        let outcome = |place: &Place| match heard {
            Err(word) => Err(word.to_owned()),
            Ok(()) => {
                let at = entries.iter().position(|entry| entry.source.partition == place.1);
                at.and_then(|at| refused[at].clone()).map_or(Ok(()), Err)
            }
        };
        let mut said: Vec<Said> = Vec::new();
        let source = &mut self.workers[worker].source;
        source.commits.finish(&mut source.desk, &mut said, outcome);
        let mut gone = None;
        if heard == Err("UNKNOWN_MEMBER_ID") && source.desk.is_revoking() {
            gone = source.desk.lose_revoke(&mut said);
        }
        self.say(worker, said);
        if let Some(places) = gone {
            self.let_go(worker, &places);
        }
    }

    fn stands(&mut self, worker: usize, entry: &CommitEntry) {
        let partition = entry.source.partition as usize;
        promise!(
            self.group.owners[partition] == Some(worker),
            commits,
            "{} is committed by worker {worker}, who has let it go",
            entry.source
        );
        self.group.commit(entry);
        if let Ok(memo) = Memo::decode(&entry.memo, entry.offset) {
            self.note(Fact::Committed {
                worker,
                assignment: entry.assignment,
                offset: entry.offset,
                memo: Rc::new(memo),
            });
        }
    }

    /// Tells the group that partitions are free.
    pub(super) fn let_go(&mut self, worker: usize, places: &[Place]) {
        for (_, partition) in places {
            let partition = *partition as usize;
            if self.group.owners[partition] == Some(worker) {
                self.group.free(partition);
            }
        }
        self.nudge();
    }

    /// Who was told to close leaves once nothing is held.
    pub(super) fn leave_if_done(&mut self, worker: usize) {
        let w = &mut self.workers[worker];
        if w.life == Life::Dead || !w.source.closing || !w.source.desk.is_empty() {
            return;
        }
        w.life = Life::Dead;
        self.note(Fact::Leaves { worker });
        self.group.throw_out(worker);
        self.join();
        self.nudge();
    }
}

//! A world in one thread: a topic, a group, workers with real tasks, a function, sinks and a dead-letter topic.
//!
//! It is written from the promises, not from the core: it drives each task by what it asks for, and checks each thing
//! that it asks for against what is durable outside of it.

pub mod dice;
mod effects;
pub mod function;
mod group;
mod happenings;
pub mod history;
pub mod log;
pub mod plan;
mod rebalance;
mod settle;
mod skips;
pub mod worker;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fnbridge_delivery::event::{Admission, Assignment, CallId, Event, LetterId, Store, StoreId};
use fnbridge_delivery::identity::offset_ranges;
use fnbridge_delivery::memo::Memo;
use fnbridge_delivery::record::Record;
use fnbridge_delivery::time::{Moment, Now};

use dice::Rng;
use function::{Health, ILL};
use group::Group;
use history::History;
use log::Log;
use plan::Plan;
use worker::{LaneKey, Life, Worker};

/// The hour at which every world begins.
const EPOCH_MS: i64 = 1_764_000_000_000;

/// A partition with so many records behind its committed offset gets no more.
const MOST_BEHIND: usize = 3_000;

/// Something that comes to pass at its time.
#[derive(Debug)]
enum Happening {
    Fetch {
        worker: usize,
        assignment: Assignment,
    },
    Answer {
        worker: usize,
        call: CallId,
    },
    Receipts {
        worker: usize,
        store: StoreId,
    },
    LetterDone {
        worker: usize,
        letter: LetterId,
    },
    CommitDone {
        worker: usize,
    },
    Wake {
        worker: usize,
    },
    Advance {
        worker: usize,
    },
    /// An event that was a while on its way.
    Late {
        worker: usize,
        event: Event,
    },
    /// A request of a worker that is gone comes through late.
    Ghost {
        store: Store,
    },
    /// A worker that was thrown out learns of it.
    Notices {
        worker: usize,
    },
    /// What nobody holds is given out.
    HandOut,
    /// An outage ends.
    FunctionBack,
    SinkBack {
        sink: usize,
    },
    LettersBack,
    Unpause {
        worker: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SinkHealth {
    Well,
    Away,
    Blocked,
}

/// How often something happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Befell {
    pub crashes: u64,
    pub outages: u64,
    pub drains: u64,
    pub cut_off: u64,
    pub sink_troubles: u64,
    pub letters_refused: u64,
    pub called_again: u64,
    pub settled_before: u64,
    pub attempts_taken_over: u64,
    pub pauses: u64,
    /// How often a task stood at a limit on what may go a second.
    pub throttled: u64,
    /// Records that were passed over.
    pub skipped: u64,
}

pub struct World {
    pub plan: Plan,
    rng: Rng,
    now: u64,
    /// Events that tasks were given.
    pub steps: u64,
    pub logs: Vec<Log>,
    /// What an operator passes over, by partition: first and last offset.
    skips: Vec<Vec<(i64, i64)>>,
    group: Group,
    pub workers: Vec<Worker>,
    queue: BTreeMap<(u64, u64), Happening>,
    next_happening: u64,
    function: Health,
    sinks: Vec<SinkHealth>,
    sinks_refuse: bool,
    letters_well: bool,
    /// How far each sink has what stands first in each lane: an index into the log, or into the key's records.
    first_stored: HashMap<(u16, usize, LaneKey), usize>,
    by_key: HashMap<(usize, u64), Vec<usize>>,
    origins: u64,
    /// Dead letters of failed attempts that were written.
    pub letters_of_failures: u64,
    /// Assignments that were handed out.
    pub assignments: u64,
    pub late_discarded: u64,
    /// What befell it, so that a test can tell that it was tested.
    pub befell: Befell,
    history: History,
}

impl World {
    pub fn new(plan: Plan, history: History) -> World {
        history.say(|| format!("{plan:?}"));
        let mut world = World {
            rng: Rng::new(plan.seed ^ 0xfeed),
            now: 0,
            steps: 0,
            logs: (0..plan.partitions).map(Log::new).collect(),
            skips: vec![Vec::new(); plan.partitions],
            group: Group::new(plan.partitions),
            workers: Vec::new(),
            queue: BTreeMap::new(),
            next_happening: 0,
            function: Health::Well,
            sinks: vec![SinkHealth::Well; plan.settings[0].sinks],
            sinks_refuse: true,
            letters_well: true,
            first_stored: HashMap::new(),
            by_key: HashMap::new(),
            origins: 0,
            letters_of_failures: 0,
            assignments: 0,
            late_discarded: 0,
            befell: Befell::default(),
            history,
            plan,
        };
        for _ in 0..world.plan.workers {
            world.join();
        }
        world.rebalance();
        world
    }

    /// Runs until the tasks were given this many events.
    pub fn run(&mut self, steps: u64) {
        let until = self.steps + steps;
        // A task may stand still for good reason, and nothing comes to it any more.
        for _ in 0..steps * 4 {
            if self.steps >= until {
                break;
            }
            self.step();
        }
    }

    fn step(&mut self) {
        let faults = self.plan.faults.clone();
        if self.queue.is_empty() || self.rng.chance(0.05) {
            self.produce();
            self.now += self.rng.below(50);
        }
        if self.rng.chance(faults.rebalance) {
            let eager = self.rng.chance(faults.eager);
            self.history_now(|| format!("rebalance, eager: {eager}"));
            if eager {
                self.rebalance_eagerly()
            } else {
                self.rebalance()
            }
        }
        if self.rng.chance(faults.crash) {
            self.crash_one();
        }
        if self.rng.chance(faults.fence) {
            self.fence_one();
        }
        if self.rng.chance(faults.outage) {
            self.function = *self.rng.pick(&ILL);
            self.befell.outages += 1;
            self.history_now(|| "the function is ill".into());
            self.later(120_000, Happening::FunctionBack);
        }
        if self.rng.chance(faults.sink_outage) && !self.sinks.is_empty() {
            let sink = self.rng.below(self.sinks.len() as u64) as usize;
            self.sinks[sink] = *self.rng.pick(&[SinkHealth::Away, SinkHealth::Blocked]);
            self.history_now(|| format!("sink {sink} is away"));
            self.later(60_000, Happening::SinkBack { sink });
        }
        if self.rng.chance(faults.letter_outage) {
            self.letters_well = false;
            self.history_now(|| "the dead-letter topic is away".into());
            self.later(60_000, Happening::LettersBack);
        }
        if self.rng.chance(faults.pause) {
            self.pause_one();
        }
        if self.rng.chance(faults.expire) {
            self.expire();
        }
        if self.rng.chance(faults.skip) {
            self.skip_some();
        }
        if self.rng.chance(faults.reshare) {
            self.reshare_one();
        }
        self.happen();
    }

    fn produce(&mut self) {
        let partition = self.rng.below(self.logs.len() as u64) as usize;
        let log = &self.logs[partition];
        if log.entries.len() > log.at_or_behind(self.group.committed[partition].offset) + MOST_BEHIND {
            return;
        }
        for _ in 0..self.rng.between(1, self.plan.fetch * 2) {
            self.produce_to(partition);
        }
        self.wake_fetcher(partition);
    }

    /// Puts one record in a partition.
    pub fn produce_to(&mut self, partition: usize) {
        let log = &mut self.logs[partition];
        log.produce(&self.plan, &mut self.rng, EPOCH_MS + self.now as i64);
        if let Some(key) = log.entries.last().and_then(|entry| entry.key) {
            self.by_key
                .entry((partition, key))
                .or_default()
                .push(log.entries.len() - 1);
        }
    }

    /// Takes what comes next.
    fn happen(&mut self) {
        if let Some(((at, _), happening)) = self.queue.pop_first() {
            self.now = self.now.max(at);
            self.take(happening);
        }
    }

    fn at(&mut self, at: u64, happening: Happening) {
        self.next_happening += 1;
        self.queue.insert((at, self.next_happening), happening);
    }

    /// Within so many milliseconds.
    fn later(&mut self, most_ms: u64, happening: Happening) {
        let at = self.now + self.rng.between(1, most_ms);
        self.at(at, happening);
    }

    /// Soon, or, where things are slow, not so soon.
    fn in_a_while(&mut self, happening: Happening) {
        let most = if self.rng.chance(self.plan.faults.slow) {
            60_000
        } else {
            100
        };
        self.later(most, happening);
    }

    fn clock(&self) -> Now {
        Now {
            at: Moment(self.now),
            unix_ms: EPOCH_MS + self.now as i64,
        }
    }

    /// Gives a task an event; most often it then decides at once.
    fn give(&mut self, worker: usize, event: Event) {
        if self.workers[worker].life == Life::Dead {
            return;
        }
        self.steps += 1;
        self.history_now(|| format!("worker {worker} ← {}", brief(&event)));
        let now = self.clock();
        let rng = &mut self.rng;
        self.workers[worker].task.handle(event, now, &mut || rng.roll());
        if self.rng.chance(0.7) {
            self.advance(worker);
        } else if !self.workers[worker].dirty {
            self.workers[worker].dirty = true;
            self.at(self.now, Happening::Advance { worker });
        }
    }

    fn give_later(&mut self, worker: usize, event: Event) {
        self.later(1_000, Happening::Late { worker, event });
    }

    fn history_now(&self, line: impl FnOnce() -> String) {
        self.history.say(|| format!("{:>9} {}", self.now, line()));
    }

    /// Workers that are members of the group.
    fn live(&self) -> Vec<usize> {
        (0..self.workers.len())
            .filter(|w| self.workers[*w].life == Life::Live)
            .collect()
    }
}

/// An event in a line.
fn brief(event: &Event) -> String {
    match event {
        Event::Arrived { assignment, arrivals } => {
            let barred = arrivals.iter().filter(|a| a.admission != Admission::Pass);
            let (all, barred) = (
                ranges(arrivals.iter().map(|a| &a.record)),
                ranges(barred.map(|a| &a.record)),
            );
            format!("Arrived {assignment:?} {all}, not admitted {barred}")
        }
        Event::Assigned {
            assignment,
            source,
            position,
            memo,
        } => {
            let memo = memo
                .as_ref()
                .map(|text| Memo::decode(text, *position).map(|m| (m.ordering, m.batches, m.settled)));
            format!(
                "Assigned {assignment:?} {source}@{position} {}",
                shortened(&format!("{memo:?}"), 2000)
            )
        }
        Event::Answered { call, answer } => {
            let answer = format!("{answer:?}");
            format!("Answered {call:?} {}", shortened(&answer, 300))
        }
        other => shortened(&format!("{other:?}"), 400).to_owned(),
    }
}

/// Offsets as ranges.
fn ranges<'a>(records: impl Iterator<Item = &'a Arc<Record>>) -> String {
    let offsets: Vec<i64> = records.map(|record| record.offset).collect();
    shortened(&offset_ranges(&offsets), 200).to_owned()
}

fn shortened(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

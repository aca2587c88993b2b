//! A world in one thread: a topic, a group, workers with real tasks and real desks, a function, sinks and a dead-letter
//! topic.
//!
//! It is written from the promises, not from the core: it drives each task by what it asks for, and checks each thing
//! that it asks for against what is durable outside of it.

mod effects;
mod faults;
pub mod function;
mod group;
mod happenings;
pub mod log;
mod rebalance;
mod settle;
mod skips;
mod source;
mod transactions;
pub mod worker;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use fnbridge_delivery::event::{Assignment, CallId, CommitEntry, Event, LetterId, Store, StoreId};
use fnbridge_delivery::group::{CommittedOffset, Place};
use fnbridge_delivery::settings::TaskSettings;
use fnbridge_delivery::skips::SkipBook;
use fnbridge_delivery::time::{Moment, Now};

use crate::dice::Rng;
use crate::history::History;
use crate::history::facts::Fact;
use crate::plan::{Faults, Plan};
use faults::Strikes;
use function::Health;
use group::Group;
use log::{Entry, Logs};
use worker::{LaneKey, Life, Worker};

/// The hour at which every world begins.
const EPOCH_MS: i64 = 1_764_000_000_000;

/// Something that comes to pass at its time.
#[derive(Debug)]
enum Happening {
    /// The source of a worker reads on in a partition.
    Fetch {
        worker: usize,
        partition: usize,
    },
    /// It has found out where the partitions of an assignment begin.
    Resolve {
        worker: usize,
        ticket: u64,
        places: Vec<Place>,
    },
    /// It has found out where a log begins and ends.
    FindLog {
        worker: usize,
        assignment: Assignment,
    },
    /// A task hears what its source said.
    Hear {
        worker: usize,
    },
    /// A source heeds what its task said.
    Heed {
        worker: usize,
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
    /// A commit reaches the group's coordinator, from one who knew of this generation.
    CommitDone {
        worker: usize,
        generation: u64,
        entries: Vec<CommitEntry>,
    },
    /// Records of a transaction are with the brokers.
    Produced {
        key: u64,
    },
    /// A transaction's coordinator is told to commit it.
    Ends {
        key: u64,
    },
    /// Its coordinator aborts a transaction that nobody ended.
    TimesOut {
        key: u64,
    },
    /// A worker can't find out how its transaction ended.
    Undecided {
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
    /// Records settled ahead that an assignment with another ordering took over.
    pub settled_before_change: u64,
    pub attempts_taken_over: u64,
    pub pauses: u64,
    /// How often a task stood at a limit on what may go a second.
    pub throttled: u64,
    /// Records that were passed over.
    pub skipped: u64,
    /// Topics that took the place of others.
    pub recreated: u64,
    /// Results that a sink has twice.
    pub repeated: u64,
    /// Transactions that stand, those that came to nothing, and those whose end could not be known.
    pub transactions: u64,
    pub aborted: u64,
    pub undecided: u64,
}

pub struct World {
    pub plan: Plan,
    /// What goes wrong, until everything is healed.
    faults: Faults,
    rng: Rng,
    strikes: Strikes,
    now: u64,
    /// How far the wall clock is from where it should be.
    wall_ms: i64,
    /// Events that tasks were given.
    pub steps: u64,
    pub logs: Vec<Logs>,
    settings: Vec<Rc<TaskSettings>>,
    /// What an operator passes over, as the control plane has it.
    skips: SkipBook,
    group: Group,
    pub workers: Vec<Worker>,
    queue: BTreeMap<(u64, u64), Happening>,
    next_happening: u64,
    /// Transactions between beginning and end.
    open: BTreeMap<u64, transactions::Open>,
    next_open: u64,
    nudged: bool,
    function: Health,
    sinks: Vec<SinkHealth>,
    sinks_refuse: bool,
    letters_well: bool,
    /// How far each sink has what stands first in each lane: an index into the log, or into the key's records.
    first_stored: HashMap<(u16, (usize, usize), LaneKey), usize>,
    by_key: HashMap<((usize, usize), u64), Vec<usize>>,
    origins: u64,
    /// Dead letters of failed attempts that were written.
    pub letters_of_failures: u64,
    /// Assignments that were handed out.
    pub assignments: u64,
    pub late_discarded: u64,
    /// What befell it, so that a test can tell that it was tested.
    pub befell: Befell,
    pub history: History,
}

impl World {
    pub fn new(plan: Plan, history: History) -> World {
        let mut world = World {
            faults: plan.faults.clone(),
            rng: Rng::stream(plan.seed, 0),
            strikes: Strikes::new(plan.seed),
            now: 0,
            wall_ms: 0,
            steps: 0,
            logs: (0..plan.partitions).map(Logs::new).collect(),
            settings: plan.settings.iter().cloned().map(Rc::new).collect(),
            skips: SkipBook::default(),
            group: Group::new(plan.partitions),
            workers: Vec::new(),
            queue: BTreeMap::new(),
            next_happening: 0,
            open: BTreeMap::new(),
            next_open: 0,
            nudged: false,
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
        // `start` has been applied, unless these partitions are new to a group that has read others.
        if world.rng.chance(0.7) {
            let beginning = CommittedOffset { offset: 0, memo: None };
            world.group.committed.fill(Some(beginning));
        }
        world.rebalance();
        world
    }

    /// Runs until the tasks were given as many events as the plan says.
    pub fn run(&mut self) {
        // A task may stand still for good reason, and nothing comes to it any more.
        for _ in 0..self.plan.steps * 6 {
            if self.steps >= self.plan.steps {
                break;
            }
            self.step();
        }
    }

    fn step(&mut self) {
        if self.queue.is_empty() || self.rng.chance(0.05) {
            self.produce();
            self.now += self.rng.below(50);
        }
        self.strike();
        self.happen();
    }

    fn produce(&mut self) {
        let partition = self.rng.below(self.logs.len() as u64) as usize;
        let committed = self.group.committed_at(partition);
        let log = self.logs[partition].now();
        if log.entries.len() > log.at_or_behind(committed) + self.plan.behind {
            return;
        }
        for _ in 0..self.rng.between(1, self.plan.fetch * 2) {
            // Nobody could tell a log that was created anew from the old one once it is as long.
            let log = self.logs[partition].now();
            if self.is_unnoticed(partition) && log.next_offset + 10 >= committed {
                break;
            }
            self.produce_to(partition);
        }
        self.wake_fetcher(partition);
    }

    /// Puts one record in a partition.
    pub fn produce_to(&mut self, partition: usize) {
        let calm = self.is_unnoticed(partition);
        let log = self.logs[partition].now_mut();
        log.produce(&self.plan, calm, &mut self.rng, EPOCH_MS + self.now as i64);
        let of = (partition, log.incarnation);
        if let Some(key) = log.entries.last().and_then(|entry| entry.key) {
            self.by_key.entry((of, key)).or_default().push(log.entries.len() - 1);
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
        let most = if self.rng.chance(self.faults.slow) { 60_000 } else { 100 };
        self.later(most, happening);
    }

    fn clock(&self) -> Now {
        Now {
            at: Moment(self.now),
            unix_ms: EPOCH_MS + self.now as i64 + self.wall_ms,
        }
    }

    /// Gives a task an event; most often it then decides at once.
    fn give(&mut self, worker: usize, event: Event) {
        if self.workers[worker].life == Life::Dead {
            return;
        }
        self.steps += 1;
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

    fn note(&self, fact: Fact) {
        self.history.note(self.now, fact);
    }

    /// Workers that are members of the group, and mean to stay.
    fn live(&self) -> Vec<usize> {
        let stays = |w: &Worker| w.life == Life::Live && !w.source.closing;
        (0..self.workers.len()).filter(|w| stays(&self.workers[*w])).collect()
    }

    /// All records that ever stood in the topic.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        let logs = self.logs.iter().flat_map(|logs| &logs.all);
        logs.flat_map(|log| &log.entries)
    }
}

//! One worker: a task and the source that feeds it, and what the world knows of what it was given and what it asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use fnbridge_delivery::Task;
use fnbridge_delivery::event::{Arrival, Assignment, CallId, CommitEntry, Letter, LetterId, Store, StoreId};
use fnbridge_delivery::group::{Commits, Desk, GroupEvent};
use fnbridge_delivery::memo::Memo;
use fnbridge_delivery::record::Record;
use fnbridge_delivery::settings::{Ordering, TaskSettings};
use fnbridge_delivery::skips::SkipBook;

use super::log::Entry;

/// Records that must run one after another, as the model sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LaneKey {
    Partition,
    Key(u64),
    Own(i64),
}

pub fn lane_of(ordering: Ordering, entry: &Entry) -> LaneKey {
    match (ordering, entry.key) {
        (Ordering::Partition, _) => LaneKey::Partition,
        (Ordering::Key, Some(key)) => LaneKey::Key(key),
        (Ordering::Key, None) | (Ordering::None, _) => LaneKey::Own(entry.record.offset),
    }
}

pub type Owners = BTreeMap<usize, Assignment>;

/// What a source says to the task beside it.
#[derive(Debug)]
pub enum Said {
    Group(GroupEvent),
    Records {
        assignment: Assignment,
        arrivals: Vec<Arrival>,
    },
}

impl From<GroupEvent> for Said {
    fn from(event: GroupEvent) -> Said {
        Said::Group(event)
    }
}

/// What a task says to the source beside it.
#[derive(Debug)]
pub enum Command {
    Commit(Vec<CommitEntry>),
    Pause(Assignment),
    Resume(Assignment),
    Release(Assignment),
    Close,
}

/// The part of a worker that is a member of the group.
pub struct Source {
    pub desk: Desk,
    pub commits: Commits,
    pub skips: SkipBook,
    /// What was said, and has not been heard.
    pub inbox: VecDeque<Said>,
    pub line: VecDeque<Command>,
    /// Partitions that it is about to fetch.
    pub fetching: BTreeSet<usize>,
    /// It drains everything, and leaves after that.
    pub closing: bool,
    /// Which of the logs that had its partition's name an assignment reads.
    pub logs: BTreeMap<Assignment, usize>,
}

pub struct Worker {
    pub task: Task,
    pub source: Source,
    pub settings: Rc<TaskSettings>,
    pub life: Life,
    pub held: BTreeMap<Assignment, Held>,
    pub calls: HashMap<CallId, OutCall>,
    /// Requests to sinks, and whose the partitions were when they were made.
    pub stores: HashMap<StoreId, (Store, Owners)>,
    pub letters: HashMap<LetterId, Letter>,
    /// A commit that was asked for and has not been answered.
    pub commit: Option<Vec<CommitEntry>>,
    pub wake_at: Option<u64>,
    pub paused: bool,
    /// It was thrown out, and its task has not heard of it.
    pub cut_off: bool,
    /// What it may hold.
    pub share: usize,
    /// What it may hold until it has let go of what was above its share when that fell.
    pub allowed: usize,
    pub given_up_in_a_row: u32,
    pub failed_guard_told: bool,
    /// It has tripped since the last charges were counted.
    pub failed_guard_tripped: bool,
    /// Something was handled, and `advance` is still to come.
    pub dirty: bool,
    pub charged: Vec<((usize, usize), i64)>,
    /// First calls of late: when, how many records, how many bytes.
    pub first_calls: VecDeque<(u64, [u64; 2])>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Live,
    /// Thrown out of the group without knowing it.
    Zombie,
    Dead,
}

pub struct OutCall {
    pub assignment: Assignment,
    pub partition: usize,
    pub records: Vec<Arc<Record>>,
    pub abandoned: bool,
}

/// The records of the last call that a record was in.
pub struct Batch {
    pub offsets: Vec<i64>,
    /// It must be called again exactly so.
    pub again: std::cell::Cell<bool>,
    /// Names the batch that it came out of.
    pub origin: u64,
}

/// A partition that the worker holds.
pub struct Held {
    pub partition: usize,
    /// Which of the logs that had its name.
    pub log: usize,
    pub position: i64,
    pub deadline: Option<u64>,
    pub settled_before: BTreeSet<i64>,
    pub totals_before: u64,
    /// Arrived, and not yet below a commit that was asked for.
    pub arrived: BTreeSet<i64>,
    /// Records that arrived and are below a commit that was asked for, not counting `settled_before`.
    pub passed: u64,
    /// Arrived, and the function is not through with them.
    pub open: HashMap<LaneKey, BTreeSet<i64>>,
    pub on_wire: HashMap<LaneKey, CallId>,
    pub batches: HashMap<i64, Rc<Batch>>,
    /// Records whose lane stood still: their old batches are no more.
    pub unbound: BTreeSet<i64>,
    pub accepted: BTreeSet<i64>,
    pub stored: BTreeSet<(u16, i64, usize)>,
    pub asked: i64,
    pub last_commit_refused: bool,
    /// Ranges that it was told to pass over: first and last offset.
    pub skips: Vec<(i64, i64)>,
    /// Calls in this assignment.
    pub calls: u64,
}

impl Worker {
    pub fn new(settings: Rc<TaskSettings>, desk: Desk, skips: SkipBook) -> Worker {
        Worker {
            task: Task::new((*settings).clone()),
            source: Source {
                desk,
                commits: Commits::default(),
                skips,
                inbox: VecDeque::new(),
                line: VecDeque::new(),
                fetching: BTreeSet::new(),
                closing: false,
                logs: BTreeMap::new(),
            },
            life: Life::Live,
            held: BTreeMap::new(),
            calls: HashMap::new(),
            stores: HashMap::new(),
            letters: HashMap::new(),
            commit: None,
            wake_at: None,
            paused: false,
            cut_off: false,
            share: settings.in_flight_bytes,
            allowed: settings.in_flight_bytes,
            given_up_in_a_row: 0,
            failed_guard_told: false,
            failed_guard_tripped: false,
            dirty: false,
            charged: Vec::new(),
            first_calls: VecDeque::new(),
            settings,
        }
    }

    /// What it holds of a partition, if it was its owner then already.
    pub fn still_holds(&mut self, partition: usize, owners: &Owners) -> Option<&mut Held> {
        self.held.get_mut(owners.get(&partition)?)
    }

    /// What it holds of a partition.
    pub fn holds(&mut self, partition: usize) -> Option<&mut Held> {
        self.held.values_mut().find(|held| held.partition == partition)
    }
}

impl Held {
    pub fn new(
        (partition, log): (usize, usize),
        position: i64,
        memo: Option<&Memo>,
        same_ordering: bool,
        origins: &mut u64,
    ) -> Held {
        let mut batches = HashMap::new();
        for batch in memo.iter().filter(|_| same_ordering).flat_map(|memo| &memo.batches) {
            *origins += 1;
            for part in &batch.parts {
                let of = Rc::new(Batch {
                    offsets: part.offsets.clone(),
                    again: false.into(),
                    origin: *origins,
                });
                batches.extend(part.offsets.iter().map(|offset| (*offset, of.clone())));
            }
        }
        Held {
            partition,
            log,
            position,
            deadline: None,
            settled_before: memo.map(|m| m.settled.iter().copied().collect()).unwrap_or_default(),
            totals_before: memo.map_or(0, settled_in),
            arrived: BTreeSet::new(),
            passed: 0,
            open: HashMap::new(),
            on_wire: HashMap::new(),
            batches,
            unbound: BTreeSet::new(),
            accepted: BTreeSet::new(),
            stored: BTreeSet::new(),
            asked: position,
            last_commit_refused: false,
            skips: Vec::new(),
            calls: 0,
        }
    }

    pub fn close(&mut self, lane: LaneKey, offset: i64) {
        if let Some(open) = self.open.get_mut(&lane) {
            open.remove(&offset);
            if open.is_empty() {
                self.open.remove(&lane);
            }
        }
    }

    /// It was told to pass over a record.
    pub fn skips(&self, offset: i64) -> bool {
        self.skips.iter().any(|(from, to)| (*from..=*to).contains(&offset))
    }

    pub fn is_open(&self, lane: LaneKey, offset: i64) -> bool {
        self.open.get(&lane).is_some_and(|open| open.contains(&offset))
    }
}

/// Records that a memo's totals count, but for what retention removed.
pub fn settled_in(memo: &Memo) -> u64 {
    memo.totals[..5].iter().sum()
}

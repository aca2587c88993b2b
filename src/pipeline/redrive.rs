//! Dead letters go through their pipeline once more: a task of their own with the pipeline's rules, so that their trouble is not
//! the pipeline's, and calls out of the same slots, so that the function never sees more of them at once.
//!
//! The task sees each letter at a place of this run, numbered without gaps; the function, the sinks and the dead-letter topic see
//! the record that was given up, under its own name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use super::PipelineSettings;
use super::clock::{Clock, Jitter};
use super::effects::{Done, Hands};
use super::prepare::{Prepared, prepare};
use crate::deadletter::redriven;
use crate::delivery::Task;
use crate::delivery::event::{Admission, Arrival, Assignment, Call, CommitEntry, Effect, Event, Letter, Notice, Store};
use crate::delivery::memo::Memo;
use crate::delivery::rate::Rate;
use crate::delivery::record::{Output, Record, TopicPartition};
use crate::delivery::settings::{Delivery, GuardSettings, OnExhausted, TaskSettings};
use crate::delivery::time::Millis;
use crate::kafka::Health;
use crate::telemetry::{Outlet, PipelineTelemetry};

/// What became of letters is told so often.
const TELL_EVERY: Millis = Millis(50);
/// What it waits for is told so often.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Sends dead letters through a pipeline that runs here.
#[derive(Clone, Debug)]
pub struct Redriver {
    settings: Arc<PipelineSettings>,
    slots: Arc<Semaphore>,
}

/// A letter on its way.
#[derive(Clone, Debug)]
pub struct Redriven {
    /// Its dead-letter partition.
    pub place: TopicPartition,
    /// Its offset there.
    pub offset: i64,
    /// The record that was given up.
    pub record: Record,
    /// How often it was redriven, this time included.
    pub redrives: u32,
    /// What the function made of it is known, and goes to the sinks it names; `None`: the function is called.
    pub results: Option<Vec<Output>>,
}

/// What became of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its results are stored.
    Delivered,
    /// It was accepted, and there was nothing to store.
    Dropped,
    /// It was given up again: another letter says why.
    DeadLettered(String),
}

/// A letter that something became of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fated {
    /// Its dead-letter partition.
    pub place: TopicPartition,
    /// Its offset there.
    pub offset: i64,
    /// What became of it.
    pub fate: Fate,
}

/// What is told of letters on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Something became of these. No more is told before [`Redrive::kept`].
    Fated(Vec<Fated>),
    /// What it waits for, or that it goes on.
    Waits(Option<String>),
}

enum Order {
    Send(Vec<Redriven>),
    Kept,
    Close,
}

/// Letters on their way through a pipeline. Dropped, what is on the wire is cut off.
#[derive(Debug)]
pub struct Redrive {
    orders: mpsc::UnboundedSender<Order>,
    told: mpsc::UnboundedReceiver<Told>,
    running: tokio::task::JoinHandle<()>,
}

impl Redriver {
    /// Through a pipeline with slots of its own: those of a pipeline that runs here are had from that one.
    pub fn of(settings: PipelineSettings) -> Redriver {
        Redriver {
            slots: Arc::new(Semaphore::new(settings.task.max_in_flight)),
            settings: Arc::new(settings),
        }
    }

    /// The pipeline's settings.
    pub fn settings(&self) -> &Arc<PipelineSettings> {
        &self.settings
    }

    /// A call of its function takes one of these.
    pub(super) fn slots(&self) -> &Arc<Semaphore> {
        &self.slots
    }

    /// Starts, and sends at most so many letters a second. Must be called within a Tokio runtime.
    pub fn start(&self, rate: Option<Rate>) -> Redrive {
        let (orders, ordered) = mpsc::unbounded_channel();
        let (tell, told) = mpsc::unbounded_channel();
        let running = tokio::spawn(supervise(self.clone(), rate, ordered, tell));
        Redrive { orders, told, running }
    }
}

impl Redrive {
    /// Sends letters, behind those that were sent before. Those of one source partition keep their order.
    pub fn send(&self, letters: Vec<Redriven>) {
        // One that has ended has told so.
        let _ = self.orders.send(Order::Send(letters));
    }

    /// What was told of letters is kept durably.
    pub fn kept(&self) {
        let _ = self.orders.send(Order::Kept);
    }

    /// What is on the wire may come to its end, within the pipeline's `drain_timeout`; nothing else is called.
    pub fn close(&self) {
        let _ = self.orders.send(Order::Close);
    }

    /// What is told next; `None`: it has ended.
    pub async fn told(&mut self) -> Option<Told> {
        self.told.recv().await
    }
}

impl Drop for Redrive {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn supervise(
    redriver: Redriver,
    rate: Option<Rate>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    tell: mpsc::UnboundedSender<Told>,
) {
    let settings = &redriver.settings;
    let telemetry = PipelineTelemetry::open(&settings.name, &settings.sink_names());
    let waits = tell.clone();
    let preparing = prepare(settings, Delivery::AtLeastOnce, &telemetry, |reason| {
        let _ = waits.send(Told::Waits(Some(reason.to_owned())));
    });
    tokio::pin!(preparing);
    let mut waiting = Vec::new();
    let prepared = loop {
        tokio::select! {
            prepared = &mut preparing => break prepared,
            order = orders.recv() => match order {
                Some(Order::Send(letters)) => waiting.extend(letters),
                Some(Order::Kept) => {}
                Some(Order::Close) | None => return,
            },
        }
    };
    let _ = tell.send(Told::Waits(None));
    let mut run = Run::new(&redriver, rate, &telemetry, prepared, tell);
    run.send(waiting);
    run.run(orders).await;
}

/// The pipeline's rules for letters: at least once, since marks stand in no transaction; no guard, since whoever redrives watches how many fail; nothing is too old; and none stands in
/// the way of others.
fn rules(settings: &PipelineSettings, rate: Option<Rate>) -> TaskSettings {
    let mut task = settings.task.clone();
    let own = task.limits.records_per_second;
    task.limits.records_per_second = own.into_iter().chain(rate).min();
    task.delivery = Delivery::AtLeastOnce;
    task.guard = GuardSettings {
        failed: u32::MAX,
        refused: u32::MAX,
    };
    task.retry.max_age = None;
    task.on_exhausted = OnExhausted::DeadLetter;
    task.batch.linger = Millis::ZERO;
    task.commit_interval = TELL_EVERY;
    task
}

/// Letters of one dead-letter partition that came from one source partition.
#[derive(Debug, Default)]
struct Line {
    /// What is on its way, by its number in this run.
    sent: BTreeMap<i64, Sent>,
    next: i64,
}

#[derive(Debug)]
struct Sent {
    letter: Redriven,
    record: Arc<Record>,
    has_results: bool,
    given_up: Option<String>,
}

impl Sent {
    fn fated(self, has_sinks: bool) -> Fated {
        let fate = match self.given_up {
            Some(reason) => Fate::DeadLettered(reason),
            None if self.has_results || !has_sinks => Fate::Delivered,
            None => Fate::Dropped,
        };
        let Redriven { place, offset, .. } = self.letter;
        Fated { place, offset, fate }
    }
}

struct Run {
    settings: Arc<PipelineSettings>,
    task: Task,
    clock: Clock,
    dice: Jitter,
    hands: Hands,
    lines: Vec<Line>,
    by_source: HashMap<(TopicPartition, TopicPartition), usize>,
    /// What was told and is not kept yet.
    telling: Vec<Assignment>,
    blocked: Option<String>,
    /// Outlets whose clients wait an outage out, and why.
    away: BTreeMap<Outlet, String>,
    looked: Instant,
    waits: Option<String>,
    tell: mpsc::UnboundedSender<Told>,
    closing: bool,
}

/// Far from the numbers of the pipeline's own assignments, which its telemetry knows.
const FIRST_ASSIGNMENT: u64 = 1 << 62;

impl Run {
    fn new(
        redriver: &Redriver,
        rate: Option<Rate>,
        telemetry: &PipelineTelemetry,
        prepared: Prepared,
        tell: mpsc::UnboundedSender<Told>,
    ) -> Run {
        Run {
            task: Task::new(rules(&redriver.settings, rate)),
            clock: Clock::start(),
            dice: Jitter::default(),
            hands: Hands::new(redriver, telemetry, prepared),
            settings: redriver.settings.clone(),
            lines: Vec::new(),
            by_source: HashMap::new(),
            telling: Vec::new(),
            blocked: None,
            away: BTreeMap::new(),
            looked: Instant::now(),
            waits: None,
            tell,
            closing: false,
        }
    }

    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        while !(self.closing && self.task.is_idle()) {
            self.task.advance(self.clock.moment());
            while let Some(effect) = self.task.poll_effect() {
                self.perform(effect);
            }
            self.hands.pool.set(self.task.held_bytes(), self.task.in_flight_bytes());
            self.look();
            if self.closing && self.task.is_idle() {
                break;
            }
            let look = self.looked + LOOK_EVERY;
            let wakeup = self
                .task
                .next_wakeup()
                .map_or(look, |at| self.clock.instant(at).min(look));
            tokio::select! {
                order = orders.recv(), if !self.closing || !self.telling.is_empty() => self.obey(order),
                done = self.hands.next() => self.take_in(done),
                () = sleep_until(wakeup) => self.handle(Event::Tick),
            }
        }
    }

    fn handle(&mut self, event: Event) {
        self.task.handle(event, self.clock.now(), &mut self.dice);
    }

    fn take_in(&mut self, done: Done) {
        if let Some(event) = self.hands.take_in(done) {
            self.handle(event);
        }
    }

    fn obey(&mut self, order: Option<Order>) {
        match order {
            Some(Order::Send(letters)) if !self.closing => self.send(letters),
            Some(Order::Send(_)) => {}
            Some(Order::Kept) => {
                let kept = std::mem::take(&mut self.telling);
                let outcomes = kept.into_iter().map(|assignment| (assignment, Ok(()))).collect();
                self.handle(Event::Committed { outcomes });
            }
            Some(Order::Close) | None => {
                self.closing = true;
                let assignments = (0..self.lines.len()).map(assignment).collect();
                self.handle(Event::Revoked { assignments });
            }
        }
    }

    fn send(&mut self, letters: Vec<Redriven>) {
        for letter in letters {
            let at = self.line(&letter);
            let arrival = self.arrival(at, letter);
            let (assignment, arrivals) = (assignment(at), vec![arrival]);
            self.handle(Event::Arrived { assignment, arrivals });
        }
    }

    fn line(&mut self, letter: &Redriven) -> usize {
        let of = (letter.place.clone(), letter.record.source.clone());
        if let Some(at) = self.by_source.get(&of) {
            return *at;
        }
        let at = self.lines.len();
        self.lines.push(Line::default());
        self.by_source.insert(of, at);
        self.handle(Event::Assigned {
            assignment: assignment(at),
            source: place(&self.settings.dead_letter.topic, at),
            position: 0,
            memo: None,
        });
        at
    }

    fn arrival(&mut self, at: usize, letter: Redriven) -> Arrival {
        let line = &mut self.lines[at];
        let number = line.next;
        line.next += 1;
        let record = Arc::new(letter.record.clone());
        let admission = match &letter.results {
            Some(results) => Admission::Answered(results.clone()),
            None => self.settings.admit(&record),
        };
        let seen = Record {
            source: place(&self.settings.dead_letter.topic, at),
            offset: number,
            ..letter.record.clone()
        };
        line.sent.insert(
            number,
            Sent {
                letter,
                record,
                has_results: false,
                given_up: None,
            },
        );
        Arrival {
            record: Arc::new(seen),
            admission,
        }
    }

    /// What stands behind a record that the task speaks of.
    fn sent(&mut self, seen: &Record) -> Option<&mut Sent> {
        let at = usize::try_from(seen.source.partition).ok()?;
        self.lines.get_mut(at)?.sent.get_mut(&seen.offset)
    }

    fn named(&mut self, seen: &Arc<Record>) -> Arc<Record> {
        self.sent(seen).map_or_else(|| seen.clone(), |sent| sent.record.clone())
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Call(call) => {
                let records = call.records.iter().map(|record| self.named(record)).collect();
                self.hands.call(Call { records, ..call });
            }
            Effect::Abandon(call) => self.hands.abandon(call),
            Effect::Store(store) => self.store(store),
            Effect::WriteLetter(letter) => self.write_letter(letter),
            Effect::RecycleSinks => self.hands.recycle_sinks(),
            Effect::Commit(entries) => self.commit(&entries),
            Effect::Transact(transaction) => debug_assert!(false, "at least once, and asks for {:?}", transaction.id),
            // Whoever sends letters has bounds of its own.
            Effect::Pause(_) | Effect::Resume(_) | Effect::Release(_) => {}
            Effect::Notice(notice) => self.heed(&notice),
        }
    }

    fn store(&mut self, mut store: Store) {
        for item in &mut store.items {
            if let Some(sent) = self.sent(&item.record) {
                sent.has_results = true;
                item.record = sent.record.clone();
            }
        }
        self.hands.store(store);
    }

    fn write_letter(&mut self, mut letter: Letter) {
        if let Some(sent) = self.sent(&letter.record) {
            sent.given_up = Some(letter.facts.failure.reason.clone());
            letter.record = Arc::new(redriven(&sent.record, sent.letter.redrives));
        }
        self.hands.write_letter(&letter);
    }

    /// What the task would commit says which records are done with.
    fn commit(&mut self, entries: &[CommitEntry]) {
        let has_sinks = !self.settings.sinks.is_empty();
        let mut fated = Vec::new();
        for entry in entries {
            let line = &mut self.lines[index(entry.assignment)];
            let ahead = Memo::decode(&entry.memo, entry.offset).map(|memo| memo.settled);
            let open = line.sent.split_off(&entry.offset);
            let mut done: Vec<Sent> = std::mem::replace(&mut line.sent, open).into_values().collect();
            done.extend(
                ahead
                    .unwrap_or_default()
                    .iter()
                    .filter_map(|number| line.sent.remove(number)),
            );
            fated.extend(done.into_iter().map(|sent| sent.fated(has_sinks)));
        }
        self.telling = entries.iter().map(|entry| entry.assignment).collect();
        if fated.is_empty() {
            return self.obey(Some(Order::Kept));
        }
        // Nobody listens any more: the task waits, and is dropped.
        let _ = self.tell.send(Told::Fated(fated));
    }

    fn heed(&mut self, notice: &Notice) {
        match notice {
            Notice::SinkAway { failure, .. } | Notice::LettersBlocked { failure } => {
                self.blocked = Some(failure.reason.clone());
            }
            Notice::LaneBlocked { failure, .. } => {
                self.blocked = Some(format!("`responses: block` stopped it: {}", failure.reason));
            }
            Notice::SinkBack { .. } | Notice::LettersBack => self.blocked = None,
            _ => {}
        }
    }

    fn look(&mut self) {
        if self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked = Instant::now();
        for (outlet, health) in self.hands.changed_outlets() {
            match health {
                Health::Fine => drop(self.away.remove(&outlet)),
                Health::Away(reason) | Health::Blocked(reason) => drop(self.away.insert(outlet, reason)),
            }
        }
        let view = self.task.view();
        let breaker = view.breaker_reason.map(|failure| failure.reason);
        let waits = (breaker.or_else(|| self.blocked.clone())).or_else(|| self.away.values().next().cloned());
        if waits != self.waits {
            self.waits.clone_from(&waits);
            let _ = self.tell.send(Told::Waits(waits));
        }
    }
}

fn assignment(at: usize) -> Assignment {
    Assignment(FIRST_ASSIGNMENT + at as u64)
}

fn index(assignment: Assignment) -> usize {
    (assignment.0 - FIRST_ASSIGNMENT) as usize
}

fn place(topic: &str, at: usize) -> TopicPartition {
    TopicPartition {
        topic: topic.into(),
        partition: i32::try_from(at).unwrap_or(i32::MAX),
    }
}

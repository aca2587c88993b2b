//! A job, carried on by this worker: letters are read, sent, and marked with what became of them.
//!
//! Before letters are sent, the job's progress says up to where; what became of them is marked together with how far the job is,
//! under the condition that no other worker has written the progress since. So a worker that takes over knows which letters may
//! have been on their way, and one that was cut off finds out before it sends more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::board::{Board, Posted, progress_write};
use super::marks::{Block, Mark, Marks, stands};
use super::outlet::{Outlet, ToSource};
use super::reader::{Ranges, Read, read};
use crate::deadletter::{given_up, kept_result};
use crate::delivery::rate::Rate;
use crate::delivery::record::{Record, TopicPartition};
use crate::kafka::ClusterSettings;
use crate::letters::{Index, Letter, Marked, Standing};
use crate::pipeline::{Fate, Fated, Redriven, Redriver, Told};
use crate::redrive::{Became, Cursors, Job, Pipeline, Refused, State, To, Wanted, Way};
use crate::store::{CommitError, Revision};

/// Letters on their way at once, at most.
const MAX_WINDOW: usize = 1000;
/// What a look at whether all is well takes, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A job that waits for its function or a sink for so long, and gets no letter through, stops.
const PATIENCE: Duration = Duration::from_secs(600);
const STORE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Why a worker carries a job on no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All letters were looked at.
    Done,
    /// Somebody said so.
    Told,
    /// It stops by itself.
    Stopped(String),
    /// The pipeline is another by now: the job goes on with that.
    Again,
    /// Another worker has taken over.
    Lost,
}

/// What a job is carried on with.
pub(super) struct Tools {
    pub(super) board: Board,
    pub(super) marks: Marks,
    pub(super) worker: String,
    pub(super) cluster: Arc<ClusterSettings>,
    pub(super) redriver: Redriver,
    /// When the store was made, in milliseconds since the Unix epoch.
    pub(super) born_ms: i64,
    /// The index, where this worker is to keep it.
    pub(super) index: Box<dyn Fn() -> Option<Arc<Index>> + Send + Sync>,
    /// The pipeline, as it runs here now.
    pub(super) current: Box<dyn Fn() -> Option<Redriver> + Send + Sync>,
    /// Milliseconds since the Unix epoch.
    pub(super) now_ms: Box<dyn Fn() -> i64 + Send + Sync>,
}

/// Carries a job on until there is a reason not to.
pub(super) async fn run(tools: Tools, posted: Posted) -> End {
    let jobs = tools.board.store().watch("redrives");
    match Run::start(tools, posted).await {
        Ok(run) => run.run(jobs).await,
        Err(end) => end,
    }
}

struct Run {
    tools: Tools,
    posted: Posted,
    pipeline: Pipeline,
    cursors: Cursors,
    /// Letters before these may have been sent by a worker before.
    sent_before: BTreeMap<i32, i64>,
    /// The ids that were not met yet.
    missing: BTreeSet<(i32, i64)>,
    pending: VecDeque<Redriven>,
    under_way: BTreeMap<(i32, i64), usize>,
    under_way_bytes: usize,
    reads: Option<mpsc::Receiver<Read>>,
    outlet: Outlet,
    /// The progress says something that the store does not have.
    unsaved: bool,
    moved: Instant,
    closing: Option<End>,
}

impl Run {
    async fn start(tools: Tools, mut posted: Posted) -> Result<Run, End> {
        let settings = tools.redriver.settings().clone();
        let job = &posted.job;
        let rate = job.rate.and_then(|rate| Rate::from_thousandths((rate * 1000.0) as u64));
        let outlet = match job.to {
            To::Source => Outlet::Source(ToSource::start(settings.clone(), rate)),
            To::Pipeline | To::Function => Outlet::Pipeline(tools.redriver.start(rate)),
        };
        let progress = &mut posted.progress;
        let starts: BTreeMap<i32, i64> = (job.ranges.iter())
            .map(|(partition, (from, _))| {
                (
                    *partition,
                    progress.done.get(partition).map_or(*from, |done| *done.max(from)),
                )
            })
            .collect();
        let missing = match &job.wanted {
            Wanted::Ids(ids) => (ids.iter().copied())
                .filter(|(partition, offset)| starts.get(partition).is_some_and(|start| offset >= start))
                .collect(),
            Wanted::Matching(_) => BTreeSet::new(),
        };
        let ranges = (starts.iter())
            .filter_map(|(partition, start)| Some((*partition, (*start, job.ranges.get(partition)?.1))))
            .filter(|(_, (from, to))| from < to)
            .collect();
        let ranges = Ranges {
            topic: job.topic.as_str().into(),
            ranges,
        };
        let pipeline = Pipeline {
            name: settings.name.clone(),
            sinks: settings.sink_names(),
            max_redrives: settings.dead_letter.max_redrives,
        };
        progress.worker.clone_from(&tools.worker);
        progress.waits = None;
        if progress.began_ms == 0 {
            progress.began_ms = (tools.now_ms)();
        }
        let mut run = Run {
            sent_before: progress.sent.clone(),
            cursors: Cursors::at(&starts),
            reads: Some(read(tools.cluster.clone(), ranges)),
            tools,
            posted,
            pipeline,
            missing,
            pending: VecDeque::new(),
            under_way: BTreeMap::new(),
            under_way_bytes: 0,
            outlet,
            unsaved: true,
            moved: Instant::now(),
            closing: None,
        };
        // From here on, a worker that had it before is found out.
        run.save(BTreeMap::new()).await?;
        Ok(run)
    }

    async fn run(mut self, mut jobs: watch::Receiver<Revision>) -> End {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Err(end) = self.send().await {
                return end;
            }
            if self.closing.is_none() && self.has_all() {
                return match self.save(BTreeMap::new()).await {
                    Ok(()) => End::Done,
                    Err(end) => end,
                };
            }
            let wants_more = self.closing.is_none() && self.pending.is_empty();
            let step = tokio::select! {
                told = self.outlet.told() => match told {
                    Some(told) => self.hear(told).await,
                    None => Err(self.closing.take().unwrap_or(End::Again)),
                },
                read = next(&mut self.reads), if wants_more => self.take_in(read).await,
                Ok(()) = jobs.changed() => self.heed().await,
                _ = look.tick() => self.look().await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    fn job(&self) -> &Job {
        &self.posted.job
    }

    fn has_all(&self) -> bool {
        self.reads.is_none() && self.pending.is_empty() && self.under_way.is_empty()
    }

    /// How many letters may be on their way.
    fn window(&self) -> usize {
        let task = &self.tools.redriver.settings().task;
        let useful = task
            .max_in_flight
            .saturating_mul(task.batch.max_records)
            .saturating_mul(2);
        let a_second = self.job().rate.map_or(MAX_WINDOW, |rate| rate.ceil() as usize);
        MAX_WINDOW.min(useful).min(a_second).max(1)
    }

    /// Sends what may go by now.
    async fn send(&mut self) -> Result<(), End> {
        if self.closing.is_some() || self.pending.is_empty() {
            return Ok(());
        }
        let most_bytes = self.tools.redriver.settings().task.in_flight_bytes / 2;
        let mut letters = Vec::new();
        while self.under_way.len() < self.window() && (self.under_way_bytes < most_bytes || self.under_way.is_empty()) {
            let Some(letter) = self.pending.pop_front() else { break };
            let (partition, bytes) = (letter.place.partition, letter.record.payload_bytes());
            self.cursors.send(partition, letter.offset);
            self.under_way.insert((partition, letter.offset), bytes);
            self.under_way_bytes += bytes;
            let sent = self.posted.progress.sent.entry(partition).or_default();
            *sent = (*sent).max(letter.offset + 1);
            letters.push(letter);
        }
        if !letters.is_empty() {
            self.save(BTreeMap::new()).await?;
            self.outlet.send(letters);
        }
        Ok(())
    }

    async fn take_in(&mut self, read: Option<Read>) -> Result<(), End> {
        match read {
            None => self.reads = None,
            Some(Read::Waits(reason)) => self.wait_for(Some(reason)),
            Some(Read::Some { records, up_to }) => {
                let marks = self.marks_of(&records).await?;
                for record in records {
                    if !self.is_enough() {
                        self.decide(record, &marks);
                    }
                }
                for (partition, next) in up_to {
                    self.miss(partition, next);
                    if !self.pending.iter().any(|letter| letter.place.partition == partition) {
                        self.cursors.read_up_to(partition, next);
                    }
                }
                if self.is_enough() {
                    self.reads = None;
                }
            }
        }
        Ok(())
    }

    /// As many letters as may be sent are sent or about to be.
    fn is_enough(&self) -> bool {
        let begun = self.posted.progress.counts.sent() + (self.pending.len() + self.under_way.len()) as u64;
        self.job().max.is_some_and(|max| begun >= max)
    }

    async fn marks_of(&self, records: &[Record]) -> Result<BTreeMap<i32, Block>, End> {
        let mut spans: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
        for record in records {
            let span = spans
                .entry(record.source.partition)
                .or_insert((record.offset, record.offset));
            span.1 = record.offset;
        }
        let mut marks = BTreeMap::new();
        for (partition, (first, last)) in spans {
            let place = self.place(partition);
            let block = loop {
                match self.tools.marks.of(&place, first..=last).await {
                    Ok(block) => break block,
                    Err(_) => sleep(STORE_AGAIN_AFTER).await,
                }
            };
            marks.insert(partition, block);
        }
        Ok(marks)
    }

    /// What is to be done with a letter.
    fn decide(&mut self, record: Record, marks: &BTreeMap<i32, Block>) {
        let mut letter = Letter::of(&record, Some(&self.posted.job.pipeline));
        let partition = letter.place.partition;
        self.missing.remove(&(partition, letter.offset));
        if !self.job().is_about(&letter) {
            return;
        }
        let mark = marks.get(&partition).and_then(|block| block.get(&letter.offset));
        letter.stands = stands(&letter, mark, self.tools.born_ms);
        // What this job has done, and what was done before it was asked for, is none of its letters any more.
        let is_old = |mark: &Mark| mark.job.as_ref() == Some(&self.job().id) || mark.at_ms < self.job().at_ms;
        if !letter.stands.standing.is_open()
            && mark.is_some_and(is_old)
            && matches!(self.job().wanted, Wanted::Matching(_))
        {
            return;
        }
        if mark.is_some_and(|mark| mark.job.as_ref() == Some(&self.job().id)) {
            return;
        }
        let way = self.job().ask().way(&letter, &self.pipeline);
        let redriven = way.and_then(|way| self.redriven(&letter, record, way));
        match redriven {
            Ok(redriven) => {
                if (self.sent_before.get(&partition)).is_some_and(|sent| letter.offset < *sent) {
                    self.posted.progress.repeat(letter.id());
                }
                self.pending.push_back(redriven);
            }
            Err(refused) => self.count(&letter.id(), &Became::Refused(refused)),
        }
    }

    fn redriven(&self, letter: &Letter, record: Record, way: Way) -> Result<Redriven, Refused> {
        let results = match way {
            Way::Sink(sink) => Some(vec![kept_result(&record, sink).map_err(Refused::NoResult)?]),
            Way::Function | Way::Source => None,
        };
        let mut sent = Record {
            generation: self.job().generation,
            ..given_up(record)
        };
        if let Some(edit) = &self.job().edit {
            let value = edit.value_base64.as_ref().and_then(|text| STANDARD.decode(text).ok());
            sent.value = value.map(Into::into);
        }
        Ok(Redriven {
            place: letter.place.clone(),
            offset: letter.offset,
            record: sent,
            redrives: letter.told.redrives + 1,
            results,
        })
    }

    /// Ids that were read over are no longer there.
    fn miss(&mut self, partition: i32, next: i64) {
        let gone: Vec<(i32, i64)> = self
            .missing
            .range((partition, i64::MIN)..(partition, next))
            .copied()
            .collect();
        for (partition, offset) in gone {
            self.missing.remove(&(partition, offset));
            let id = format!("{}/{offset}", self.place(partition));
            self.count(&id, &Became::Refused(Refused::Gone));
        }
    }

    fn count(&mut self, id: &str, became: &Became) {
        self.posted.progress.count(|| id.to_owned(), became);
        self.unsaved = true;
    }

    fn place(&self, partition: i32) -> TopicPartition {
        TopicPartition {
            topic: self.job().topic.as_str().into(),
            partition,
        }
    }

    async fn hear(&mut self, told: Told) -> Result<(), End> {
        match told {
            Told::Waits(reason) => self.wait_for(reason),
            Told::Fated(fated) => {
                self.moved = Instant::now();
                let mut marks: BTreeMap<TopicPartition, Block> = BTreeMap::new();
                for Fated { place, offset, fate } in fated {
                    let mark = self.settle(&place, offset, fate);
                    marks.entry(place).or_default().insert(offset, mark);
                }
                self.save(marks).await?;
                self.outlet.kept();
                if self.closing.is_none()
                    && let Some(reason) = self.posted.progress.stops(&self.posted.job)
                {
                    self.close(End::Stopped(reason));
                }
            }
        }
        Ok(())
    }

    /// Something became of a letter: how it stands from now on.
    fn settle(&mut self, place: &TopicPartition, offset: i64, fate: Fate) -> Mark {
        let became = match fate {
            Fate::Delivered if self.job().to == To::Source => Became::ToSource,
            Fate::Delivered => Became::Delivered,
            Fate::Dropped => Became::Dropped,
            Fate::DeadLettered(reason) => Became::DeadLettered(reason),
        };
        if let Some(bytes) = self.under_way.remove(&(place.partition, offset)) {
            self.under_way_bytes -= bytes;
            self.posted.progress.bytes += bytes as u64;
        }
        self.cursors.settle(place.partition, offset);
        let id = format!("{place}/{offset}");
        self.count(&id, &became);
        Mark {
            standing: match self.job().edit {
                Some(_) => Standing::Edited,
                None => Standing::Redriven,
            },
            at_ms: (self.tools.now_ms)(),
            by: self.job().by.clone(),
            job: Some(self.job().id.clone()),
            result: Some(became.name().to_owned()),
            why: match became {
                Became::DeadLettered(reason) => Some(reason.chars().take(200).collect()),
                _ => None,
            },
        }
    }

    fn wait_for(&mut self, reason: Option<String>) {
        if self.posted.progress.waits != reason {
            self.posted.progress.waits = reason;
            self.unsaved = true;
        }
    }

    /// Somebody may have said something of the job.
    async fn heed(&mut self) -> Result<(), End> {
        // Where the store is away, the job goes on until its next change can't be written.
        if let Ok(Some(posted)) = self.tools.board.get(&self.job().id).await {
            self.posted.job = posted.job;
            if self.job().state != State::Running {
                self.close(End::Told);
            }
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<(), End> {
        let is_same = |now: Redriver| Arc::ptr_eq(now.settings(), self.tools.redriver.settings());
        if self.closing.is_none() && !(self.tools.current)().is_some_and(is_same) {
            self.close(End::Again);
        }
        if let Some(reason) = self.posted.progress.waits.clone() {
            if self.closing.is_none() && self.moved.elapsed() >= PATIENCE {
                let minutes = PATIENCE.as_secs() / 60;
                self.close(End::Stopped(format!(
                    "no letter went through for {minutes} minutes: {reason}"
                )));
            }
        } else {
            self.moved = Instant::now();
        }
        if self.unsaved {
            self.save(BTreeMap::new()).await?;
        }
        Ok(())
    }

    /// What is on the wire may come to its end; nothing else is sent.
    fn close(&mut self, end: End) {
        if self.closing.is_none() {
            self.closing = Some(end);
            self.pending.clear();
            self.reads = None;
            self.outlet.close();
        }
    }

    async fn save(&mut self, marks: BTreeMap<TopicPartition, Block>) -> Result<(), End> {
        loop {
            let now_ms = (self.tools.now_ms)();
            let progress = &mut self.posted.progress;
            progress.at_ms = now_ms;
            progress.done = self.cursors.done();
            match self.tools.marks.set(&marks, progress_write(&self.posted)).await {
                Ok(revision) => {
                    self.posted.progress_at = Some(revision);
                    self.unsaved = false;
                    self.show(&marks).await;
                    return Ok(());
                }
                Err(CommitError::Conflict { .. }) => return Err(End::Lost),
                Err(CommitError::Store(_)) => sleep(STORE_AGAIN_AFTER).await,
            }
        }
    }

    async fn show(&self, marks: &BTreeMap<TopicPartition, Block>) {
        let Some(index) = (self.tools.index)().filter(|_| !marks.is_empty()) else {
            return;
        };
        let marked: Vec<Marked> = (marks.iter())
            .flat_map(|(place, block)| block.iter().map(move |(offset, mark)| mark.marked(place, *offset)))
            .collect();
        // The index is a cache: whoever keeps it is told of these by the store as well.
        let _ = index.mark(&marked).await;
    }
}

/// The next that is read; one that has ended says so once.
async fn next(reads: &mut Option<mpsc::Receiver<Read>>) -> Option<Read> {
    match reads {
        Some(reads) => reads.recv().await,
        None => std::future::pending().await,
    }
}

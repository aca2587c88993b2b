//! Audits under way, and those that have just ended: counting takes as long as the logs are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::checkpoints::{of, take};
use super::count::{Begin, LastLetters, Logs, count};
use crate::audit::{Account, Checkpoint, Point, account};
use crate::control::redrives::Marks;
use crate::delivery::record::TopicPartition;
use crate::letters::{CLOCKS_DIFFER_MS, Standing};
use crate::pipeline::PipelineSettings;
use crate::sink::SinkSettings;
use crate::store::Store;

/// What has ended is kept for so long, for whoever asks again.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// What is asked for: a pipeline, and from and until when, in milliseconds since the Unix epoch.
pub type Audit = (String, Option<i64>, Option<i64>);

/// The outcome of an audit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Audited {
    /// When the range begins: at a checkpoint, or with the pipeline.
    pub from_ms: Option<i64>,
    /// When the range ends.
    pub to_ms: i64,
    /// Each partition.
    pub partitions: BTreeMap<TopicPartition, Account>,
    /// Partitions that can't be accounted for, and why.
    pub left_out: Vec<(String, String)>,
    /// What became of the letters of records in the range, by how the last one of each record stands.
    pub fates: BTreeMap<Standing, u64>,
    /// Sinks whose results can't be counted.
    pub not_countable: Vec<String>,
    /// Records that were read for it.
    pub read: u64,
}

/// How far an audit is.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// So many records were read.
    Counting(u64),
    /// It has ended; the error says why it can't tell.
    Done(Result<Audited, String>),
}

type Outcome = Option<Result<Audited, String>>;

#[derive(Clone, Debug)]
struct Running {
    read: Arc<AtomicU64>,
    outcome: watch::Receiver<Outcome>,
    asked: Instant,
}

/// Audits under way.
#[derive(Clone, Debug, Default)]
pub struct Audits(Arc<Mutex<BTreeMap<Audit, Running>>>);

impl Audits {
    /// Starts an audit, or goes on with the one that was asked for before; waits for its end for so long.
    pub async fn ask(
        &self,
        audit: Audit,
        settings: PipelineSettings,
        store: Arc<dyn Store>,
        now_ms: i64,
        patience: Duration,
    ) -> Progress {
        let mut running = self.start_or_find(audit.clone(), settings, store, now_ms);
        let ended = tokio::time::timeout(patience, running.outcome.wait_for(Option::is_some)).await;
        let done = match ended {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or_else(|| Err("it came to nothing".to_owned())),
            Ok(Err(_)) => Err("it ended in a panic; the worker's log has more".to_owned()),
            Err(_) => return Progress::Counting(running.read.load(Ordering::Relaxed)),
        };
        self.lock().remove(&audit);
        Progress::Done(done)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Audit, Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_or_find(&self, audit: Audit, settings: PipelineSettings, store: Arc<dyn Store>, now_ms: i64) -> Running {
        let mut running = self.lock();
        // Nobody came back for these.
        running.retain(|_, one| one.outcome.borrow().is_none() || one.asked.elapsed() < KEPT_FOR);
        if let Some(known) = running.get_mut(&audit) {
            known.asked = Instant::now();
            return known.clone();
        }
        let read: Arc<AtomicU64> = Arc::default();
        let (tell, outcome) = watch::channel(None);
        let counted = read.clone();
        let (_, from_ms, to_ms) = audit.clone();
        tokio::spawn(async move {
            let done = run(
                &settings,
                &*store,
                (from_ms, to_ms),
                now_ms,
                counted,
                Marks::new(store.clone()),
            )
            .await;
            tell.send_replace(Some(done));
        });
        let one = Running {
            read,
            outcome,
            asked: Instant::now(),
        };
        running.insert(audit, one.clone());
        one
    }
}

async fn run(
    settings: &PipelineSettings,
    store: &dyn Store,
    (from_ms, to_ms): (Option<i64>, Option<i64>),
    now_ms: i64,
    read: Arc<AtomicU64>,
    marks: Marks,
) -> Result<Audited, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let known = of(store, &settings.name).await.map_err(|error| said(&error))?;
    let now = take(&settings.source, now_ms).await.map_err(|error| said(&error))?;
    let to = to_ms
        .and_then(|to_ms| known.iter().find(|checkpoint| checkpoint.at_ms >= to_ms))
        .unwrap_or(&now);
    let from = from_ms.and_then(|from_ms| known.iter().rev().find(|checkpoint| checkpoint.at_ms <= from_ms));
    let mut audited = Audited {
        from_ms: from.map(|from| from.at_ms),
        to_ms: to.at_ms,
        ..Audited::default()
    };
    if to.partitions.is_empty() {
        return Err("the pipeline has committed nothing yet".to_owned());
    }
    let mut points = points(from, to, &mut audited.left_out);
    let mut sinks = Vec::new();
    for (name, sink) in &settings.sinks {
        match sink {
            SinkSettings::Kafka(kafka) => sinks.push((kafka.cluster.clone(), kafka.topic.clone())),
            SinkSettings::Http(_) | SinkSettings::Stdout => audited.not_countable.push(name.clone()),
        }
    }
    let counts_results = !sinks.is_empty() && audited.not_countable.is_empty();
    let begin = |from: &Point, to: &Point| match *from == to.beginning() {
        true => Begin::Before(to.offset, to.passed()),
        false => Begin::At(from.offset),
    };
    let starts = points
        .iter()
        .map(|(place, (from, to))| (place.clone(), begin(from, to)))
        .collect();
    let logs = Logs {
        source: (settings.source.cluster.clone(), starts),
        sinks,
        letters: (settings.dead_letter.cluster.clone(), settings.dead_letter.topic.clone()),
    };
    let counting = read.clone();
    let counted = tokio::task::spawn_blocking(move || count(&logs, &counting)).await;
    let (held, last) = counted.map_err(|error| said(&error))?.map_err(|error| said(&error))?;
    for (place, (from, to)) in &mut points {
        if let Some(held) = held.get(place) {
            // What gaps of the log hid before it was read.
            if *from == to.beginning()
                && let Ok(offset) = held.back_from(to.offset, to.passed())
            {
                from.offset = offset;
            }
            audited
                .partitions
                .insert(place.clone(), account(from, to, held, counts_results));
        }
    }
    audited.fates = fates(&audited.partitions, &last, &marks)
        .await
        .map_err(|error| said(&error))?;
    audited.read = read.load(Ordering::Relaxed);
    Ok(audited)
}

/// Where each partition's account begins and ends. A partition that has no checkpoint then begins where its totals say that the
/// pipeline did.
fn points(
    from: Option<&Checkpoint>,
    to: &Checkpoint,
    left_out: &mut Vec<(String, String)>,
) -> BTreeMap<TopicPartition, (Point, Point)> {
    let mut points = BTreeMap::new();
    for (name, end) in &to.partitions {
        let place = name.rsplit_once('/').and_then(|(topic, partition)| {
            Some(TopicPartition {
                topic: topic.into(),
                partition: partition.parse().ok()?,
            })
        });
        let Some(place) = place else { continue };
        let start = from.and_then(|from| from.partitions.get(name)).cloned();
        let start = start.unwrap_or_else(|| end.beginning());
        if start.generation != end.generation || end.generation > 0 && from.is_none() {
            let why =
                "offsets were moved, or the topic was made anew, in this time: ask for the time after that with --from";
            left_out.push((name.clone(), why.to_owned()));
            continue;
        }
        points.insert(place, (start, end.clone()));
    }
    points
}

/// How the last letter of each record in the range stands.
async fn fates(
    accounts: &BTreeMap<TopicPartition, Account>,
    last: &LastLetters,
    marks: &Marks,
) -> Result<BTreeMap<Standing, u64>, crate::store::StoreError> {
    let mut fates: BTreeMap<Standing, u64> = BTreeMap::new();
    let mut by_place: BTreeMap<&TopicPartition, BTreeMap<i64, i64>> = BTreeMap::new();
    for ((source, offset), (place, at, at_ms)) in last {
        if accounts
            .get(source)
            .is_some_and(|account| (account.from..account.to).contains(offset))
        {
            by_place.entry(place).or_default().insert(*at, *at_ms);
        }
    }
    for (place, letters) in by_place {
        let (Some((first, _)), Some((end, _))) = (letters.first_key_value(), letters.last_key_value()) else {
            continue;
        };
        let block = marks.of(place, *first..=*end).await?;
        for (offset, at_ms) in letters {
            let mark = block.get(&offset).filter(|mark| mark.at_ms + CLOCKS_DIFFER_MS >= at_ms);
            *fates
                .entry(mark.map_or(Standing::Open, |mark| mark.standing))
                .or_default() += 1;
        }
    }
    Ok(fates)
}

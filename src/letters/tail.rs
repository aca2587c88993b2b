//! Reading dead-letter topics into the index, as they grow. One client a cluster does it for the whole fleet, as a member of
//! no group.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Index, Letter, Standing};
use crate::delivery::record::{Record, TopicPartition};
use crate::kafka::{ClusterSettings, KafkaError, LogReader};
use crate::telemetry::WorkerTelemetry;

/// How often partitions, and what retention has removed of them, are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The same while a topic is not there yet.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// After trouble, it goes on from what the index has.
const GO_ON_AFTER: Duration = Duration::from_secs(2);
/// How long records are waited for, and how many are taken at once.
const WAIT: Duration = Duration::from_millis(200);
const AT_ONCE: usize = 2_000;
/// A letter that is older than this was there before.
const NEWS_FOR: Duration = Duration::from_secs(300);

/// The topics that are read, each with the pipeline whose it is; others' topics are no pipeline's.
pub type Tailed = BTreeMap<String, Option<String>>;

/// Reads the dead-letter topics of one cluster, for as long as it is kept.
#[derive(Debug)]
pub struct Tail {
    running: JoinHandle<()>,
}

impl Tail {
    /// Reads these topics, and those that are told later. Must be called within a Tokio runtime.
    ///
    /// Of letters that are older than `born_ms`, in milliseconds since the Unix epoch, nobody knows what was done about them.
    pub fn start(
        cluster: Arc<ClusterSettings>,
        index: Arc<Index>,
        topics: watch::Receiver<Tailed>,
        born_ms: i64,
    ) -> Tail {
        let running = tokio::spawn(async move {
            let mut topics = topics;
            let mut said = String::new();
            loop {
                let Err(trouble) = follow(&cluster, &index, &mut topics, born_ms).await;
                if said != trouble {
                    WorkerTelemetry.warned(&format_args!(
                        "dead letters of cluster `{}` are not indexed, and are tried again: {trouble}",
                        cluster.name
                    ));
                }
                said = trouble;
                tokio::time::sleep(GO_ON_AFTER).await;
            }
        });
        Tail { running }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.running.abort();
    }
}

enum Never {}

/// Goes on until something is in the way, and says what.
async fn follow(
    cluster: &Arc<ClusterSettings>,
    index: &Index,
    topics: &mut watch::Receiver<Tailed>,
    born_ms: i64,
) -> Result<Never, String> {
    let told = |error: KafkaError| error.to_string();
    let mut reader = Some(LogReader::tail(cluster, "fnbridge-dead-letters").map_err(told)?);
    let mut positions = index.read_up_to().await.map_err(|error| error.to_string())?;
    let mut looked: Option<Instant> = None;
    let mut assigned: BTreeMap<TopicPartition, i64> = BTreeMap::new();
    loop {
        let has_changed = topics.has_changed().unwrap_or(false);
        let wanted = topics.borrow_and_update().clone();
        let is_there = |topic: &String| assigned.keys().any(|place: &TopicPartition| *place.topic == **topic);
        let pause = match wanted.keys().all(is_there) {
            true => LOOK_EVERY,
            false => LOOK_AGAIN,
        };
        let is_due = has_changed || looked.is_none_or(|at| at.elapsed() >= pause);
        let names: Vec<String> = wanted.keys().cloned().collect();
        let known = positions.clone();
        let mut taken = reader.take().ok_or("the reader is gone")?;
        let before = std::mem::take(&mut assigned);
        // Kafka's client waits on the thread that asks.
        let round = move || {
            let places = is_due.then(|| places(&taken, &names, &known)).transpose();
            let places = places.map_err(told)?;
            let now = match &places {
                Some(places) => starts(places),
                None => before.clone(),
            };
            // What is read already goes on where it is.
            let goes_on = |(place, start)| before.contains_key(place) && known.get(place) == Some(start);
            if before.len() != now.len() || (places.is_some() && !now.iter().all(goes_on)) {
                taken.read_from(&now).map_err(told)?;
            }
            let records = taken.take(AT_ONCE, WAIT).map_err(told)?;
            Ok::<_, String>((taken, places, records, now))
        };
        let (taken, places, records, now) = tokio::task::spawn_blocking(round)
            .await
            .map_err(|error| error.to_string())??;
        reader = Some(taken);
        assigned = now;
        if let Some(places) = places {
            looked = Some(Instant::now());
            settle(index, places, &mut positions).await?;
        }
        if !records.is_empty() {
            take_in(index, &records, &wanted, &mut positions, born_ms).await?;
        }
        if wanted.is_empty() {
            // Nothing is assigned: nothing arrives.
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = topics.changed() => {}
            }
        }
    }
}

/// A partition of a dead-letter topic.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    place: TopicPartition,
    /// Where reading goes on.
    start: i64,
    /// The log's first offset.
    low: i64,
    /// What the index has is of another log: the topic was made anew.
    is_anew: bool,
}

fn places(
    reader: &LogReader,
    topics: &[String],
    known: &BTreeMap<TopicPartition, i64>,
) -> Result<Vec<Place>, KafkaError> {
    let mut found = Vec::new();
    for topic in topics {
        for place in reader.partitions(topic)? {
            let (low, high) = reader.watermarks(&place)?;
            let read = known.get(&place).copied().unwrap_or(low);
            let is_anew = read > high;
            found.push(Place {
                start: if is_anew { low } else { read.max(low) },
                place,
                low,
                is_anew,
            });
        }
    }
    Ok(found)
}

fn starts(places: &[Place]) -> BTreeMap<TopicPartition, i64> {
    places.iter().map(|found| (found.place.clone(), found.start)).collect()
}

/// What is gone from the logs goes from the index.
async fn settle(
    index: &Index,
    places: Vec<Place>,
    positions: &mut BTreeMap<TopicPartition, i64>,
) -> Result<(), String> {
    let there: BTreeSet<&TopicPartition> = places.iter().map(|found| &found.place).collect();
    let gone: Vec<TopicPartition> = positions
        .keys()
        .filter(|place| !there.contains(place))
        .cloned()
        .collect();
    for place in gone {
        index.forget(&place, None).await.map_err(|error| error.to_string())?;
        positions.remove(&place);
    }
    for found in places {
        let before = (!found.is_anew).then_some(found.low);
        if found.is_anew || found.low > 0 {
            let forgotten = index.forget(&found.place, before).await;
            forgotten.map_err(|error| error.to_string())?;
        }
        positions.insert(found.place, found.start);
    }
    Ok(())
}

async fn take_in(
    index: &Index,
    records: &[Record],
    owners: &Tailed,
    positions: &mut BTreeMap<TopicPartition, i64>,
    born_ms: i64,
) -> Result<(), String> {
    let mut letters: Vec<Letter> = records
        .iter()
        .map(|record| Letter::of(record, owners.get(&*record.source.topic).and_then(Option::as_deref)))
        .collect();
    for letter in letters.iter_mut().filter(|letter| letter.at_ms < born_ms) {
        letter.stands.standing = Standing::Unknown;
    }
    let mut read = BTreeMap::new();
    for record in records {
        read.insert(record.source.clone(), record.offset + 1);
    }
    let new = index.add(&letters, &read).await.map_err(|error| error.to_string())?;
    tell(&letters, &new);
    positions.extend(read);
    Ok(())
}

/// Tells of letters that were written just now; what is read again, for an index that was lost, is no news.
fn tell(letters: &[Letter], first_of_their_groups: &[&Letter]) {
    let since = SystemTime::now() - NEWS_FOR;
    let since_ms = since.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let is_news = |letter: &Letter| u128::try_from(letter.at_ms).is_ok_and(|at_ms| at_ms >= since_ms);
    let name = |letter: &Letter| letter.told.pipeline.clone().unwrap_or_default();
    for letter in letters.iter().filter(|letter| is_news(letter)) {
        WorkerTelemetry.letter_arrived(&name(letter), &letter.told.stage, &letter.told.fingerprint);
    }
    for letter in first_of_their_groups.iter().filter(|letter| is_news(letter)) {
        let told = &letter.told;
        WorkerTelemetry.new_group(
            &name(letter),
            &told.stage,
            &told.fingerprint,
            &letter.id(),
            &told.reason,
        );
    }
}

//! Questions to the cluster that take time, on a thread of their own: what exists, what is committed, where a log begins
//! and ends. The poll thread goes on meanwhile.

mod begin;
mod resolve;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::Client;
use super::events::{SourceSettings, Topics, Trouble, TroubleKind};
use super::native;
use super::trouble::of_error;
use crate::delivery::event::Assignment;
use crate::delivery::group::{CommittedOffset, Place, Resolved};
use crate::kafka::admin;
use crate::kafka::error::{KafkaError, Kind, Resource, Right};

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is asked.
pub(super) enum Job {
    /// May this pipeline use the group, which topics are there, and, once, where does it start.
    Begin,
    /// Which topics are there now.
    Look,
    /// Where do these partitions begin.
    Resolve(u64, Vec<Place>),
    /// Where does this partition's log begin and end, now that an offset is not in it.
    FindLog(Assignment, Place),
    /// Where do these partitions' logs begin and end, which nobody fetches from.
    Watermarks(Vec<(Assignment, Place)>),
    /// Anything, of the leaders of these partitions: a request is what wakes the client's threads, which would look at
    /// partitions that were resumed only within a second.
    Wake(Vec<Place>),
}

/// What was found out.
pub(super) enum Finding {
    /// Reading may begin.
    Ready {
        /// The topics that are there.
        topics: Vec<String>,
        /// The topics that the group still knows this member by, from before it went away.
        before: Vec<String>,
    },
    /// The topics that are there, and what is wrong with the others.
    Topics(Vec<String>, Vec<Trouble>),
    /// Where the partitions of a ticket begin.
    Resolved(u64, Vec<Resolved>),
    /// Where a log begins and ends.
    Log(Assignment, i64, i64),
    /// The same, to be told on.
    Watermarks(Vec<(Assignment, i64, i64)>),
    /// Something is in the way. It is tried again, unless it is fatal.
    Trouble(Trouble),
}

/// The thread that asks.
pub(super) struct Scout {
    jobs: mpsc::Sender<Job>,
    stop: Arc<Stop>,
}

/// What the thread works with.
struct Worker {
    client: Arc<Client>,
    settings: Arc<SourceSettings>,
    tell: Box<dyn Fn(Finding) + Send>,
    stop: Arc<Stop>,
    /// The group of a pipeline that has run had no offset when it was looked at first.
    offsets_are_gone: Cell<bool>,
}

/// A wait that can be cut short.
#[derive(Default)]
struct Stop(Mutex<bool>, Condvar);

/// The topics of the source that are there, with their partitions, and what is wrong with the others.
struct Sight {
    there: Vec<(String, i32)>,
    troubles: Vec<Trouble>,
    /// One of them may not be seen.
    denied: Option<KafkaError>,
}

impl Scout {
    /// Starts the thread. It ends when the scout is dropped, after the question it is at.
    pub(super) fn start(
        client: Arc<Client>,
        settings: Arc<SourceSettings>,
        tell: impl Fn(Finding) + Send + 'static,
    ) -> std::io::Result<Scout> {
        let (jobs, todo) = mpsc::channel();
        let stop = Arc::new(Stop::default());
        let worker = Worker {
            client,
            settings,
            tell: Box::new(tell),
            stop: Arc::clone(&stop),
            offsets_are_gone: Cell::new(false),
        };
        std::thread::Builder::new()
            .name("fnb-scout".into())
            .spawn(move || todo.iter().for_each(|job| worker.work(job)))?;
        Ok(Scout { jobs, stop })
    }

    /// Asks; what is found comes in its own time.
    pub(super) fn ask(&self, job: Job) {
        // The thread only ends after the scout.
        let _ = self.jobs.send(job);
    }
}

impl Drop for Scout {
    fn drop(&mut self) {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.1.notify_all();
    }
}

impl Worker {
    fn work(&self, job: Job) {
        if self.stopping() {
            return;
        }
        match job {
            Job::Begin => self.begin(),
            Job::Look => match self.look() {
                Ok(sight) => {
                    let names = sight.there.into_iter().map(|(name, _)| name).collect();
                    (self.tell)(Finding::Topics(names, sight.troubles));
                }
                Err(error) => (self.tell)(Finding::Trouble(of_error(&error))),
            },
            Job::Resolve(ticket, places) => self.resolve(ticket, &places),
            Job::FindLog(assignment, place) => {
                if let Some((low, high)) = self.insist(|| self.log_of(&place)) {
                    (self.tell)(Finding::Log(assignment, low, high));
                }
            }
            Job::Watermarks(wanted) => self.watermarks(&wanted),
            Job::Wake(places) => drop(self.offsets(&places, Offset::End)),
        }
    }

    /// Tries until it works; `None` when there is no more time for it. What only passes is said once it has lasted.
    fn insist<T>(&self, attempt: impl Fn() -> Result<T, KafkaError>) -> Option<T> {
        const LASTING: Duration = Duration::from_secs(15);
        let began = Instant::now();
        let mut wait = Duration::from_millis(50);
        loop {
            match attempt() {
                Ok(found) => return Some(found),
                Err(error) if error.kind == Kind::GroupInUse => {
                    let kind = TroubleKind::GroupTaken;
                    (self.tell)(Finding::Trouble(Trouble { kind, text: error.text }));
                    return None;
                }
                Err(error) => {
                    if error.kind != Kind::Passing || began.elapsed() > LASTING {
                        (self.tell)(Finding::Trouble(of_error(&error)));
                    }
                    if !self.wait(wait) {
                        return None;
                    }
                    wait = (wait * 2).min(Duration::from_secs(2));
                }
            }
        }
    }

    fn look(&self) -> Result<Sight, KafkaError> {
        match &self.settings.topics {
            Topics::Named(names) => self.look_for(names),
            Topics::Pattern(pattern) => {
                let metadata = (self.client.fetch_metadata(None, PATIENCE))
                    .map_err(|e| KafkaError::from_client(&e, "list the cluster's topics", None))?;
                let counts: HashMap<&str, usize> = (metadata.topics().iter())
                    .map(|t| (t.name(), t.partitions().len()))
                    .collect();
                let named = pattern.resolve(counts.keys().copied(), &self.settings.never);
                let there = named.into_iter().map(|name| (count(counts[name.as_str()]), name));
                let sight = Sight {
                    there: there.filter(|(n, _)| *n > 0).map(|(n, name)| (name, n)).collect(),
                    troubles: Vec::new(),
                    denied: None,
                };
                Ok(sight.or_missing(|| format!("no topic that may be read matches `{}` yet", pattern.as_str())))
            }
        }
    }

    fn look_for(&self, names: &[String]) -> Result<Sight, KafkaError> {
        let mut sight = Sight {
            there: Vec::new(),
            troubles: Vec::new(),
            denied: None,
        };
        let mut missing = Vec::new();
        for name in names {
            match admin::describe(self.client.client(), name) {
                Ok(Some(facts)) => sight.there.push((name.clone(), facts.partitions)),
                Ok(None) => missing.push(name.as_str()),
                Err(error) if error.kind == Kind::Denied(Resource::Topic) => {
                    let right = Some(Right::ReadTopic(name.clone()));
                    sight.denied = Some(KafkaError { right, ..error });
                }
                Err(error) => return Err(error),
            }
        }
        sight.troubles.extend(sight.denied.as_ref().map(of_error));
        if !missing.is_empty() {
            let cluster = &self.settings.cluster.name;
            let text = format!(
                "topic `{}` does not exist on cluster `{cluster}`, or may not be seen: create it, or grant Describe",
                missing.join("`, `")
            );
            let kind = TroubleKind::TopicMissing;
            sight.troubles.push(Trouble { kind, text });
        }
        Ok(sight)
    }

    /// What the group has committed, on each of the partitions.
    fn committed(&self, places: &[Place]) -> Result<HashMap<Place, Option<CommittedOffset>>, KafkaError> {
        let group = &self.settings.group;
        let doing = format!("see what group `{group}` has committed");
        let topic = places.first().map(|(topic, _)| topic.as_str());
        let answers = native::committed(&self.client, places, PATIENCE).map_err(|e| {
            let error = KafkaError::from_client(&e, &doing, Some(Right::UseGroup(group.clone())));
            match error.kind {
                // Offsets in a transaction that has not ended are not told, and are asked for again and again.
                Kind::Away if self.client.fetch_metadata(topic, PATIENCE).is_ok() => KafkaError {
                    kind: Kind::Passing,
                    text: format!(
                        "{}; a transaction with offsets of the group may not have ended yet",
                        error.text
                    ),
                    ..error
                },
                _ => error,
            }
        })?;
        let one = |(place, answer): (Place, Result<_, Code>)| match answer {
            Ok(offset) => Ok((place, offset)),
            Err(code) => {
                let right = match Kind::of(code) {
                    Kind::Denied(Resource::Topic) => Right::ReadTopic(place.0),
                    _ => Right::UseGroup(group.clone()),
                };
                Err(KafkaError::from_code(code, &doing, Some(right)))
            }
        };
        answers.into_iter().map(one).collect()
    }

    fn log_of(&self, place: &Place) -> Result<(i64, i64), KafkaError> {
        let places = std::slice::from_ref(place);
        let (lows, highs) = (
            self.offsets(places, Offset::Beginning)?,
            self.offsets(places, Offset::End)?,
        );
        match (lows.get(place), highs.get(place)) {
            (Some(Ok(low)), Some(Ok(high))) => Ok((*low, *high)),
            (Some(Err(code)), _) | (_, Some(Err(code))) => {
                let doing = format!("see where {}/{} begins and ends", place.0, place.1);
                Err(KafkaError::from_code(
                    *code,
                    &doing,
                    Some(Right::ReadTopic(place.0.clone())),
                ))
            }
            _ => Err(KafkaError::new(
                Kind::Passing,
                "the cluster's answer lacks the partition",
            )),
        }
    }

    /// The offset of each partition for a time, or for the log's beginning or end.
    fn offsets(&self, places: &[Place], at: Offset) -> Result<HashMap<Place, Result<i64, Code>>, KafkaError> {
        let failed = |e| KafkaError::from_client(&e, "see where the source's partitions begin and end", None);
        if places.is_empty() {
            return Ok(HashMap::new());
        }
        let mut list = TopicPartitionList::with_capacity(places.len());
        for (topic, partition) in places {
            list.add_partition_offset(topic, *partition, at).map_err(failed)?;
        }
        let list = self.client.offsets_for_times(list, PATIENCE).map_err(failed)?;
        let answer = |e: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
            let offset = match (e.error(), e.offset()) {
                (Err(error), _) => Err(error.rdkafka_error_code().unwrap_or(Code::Unknown)),
                (Ok(()), Offset::Offset(offset)) => Ok(offset),
                (Ok(()), Offset::End) => Ok(-1),
                (Ok(()), _) => Err(Code::OffsetNotAvailable),
            };
            ((e.topic().to_owned(), e.partition()), offset)
        };
        Ok(list.elements().iter().map(answer).collect())
    }

    fn watermarks(&self, wanted: &[(Assignment, Place)]) {
        let places: Vec<Place> = wanted.iter().map(|(_, place)| place.clone()).collect();
        // What does not answer now is asked again soon, and is said by others.
        let (Ok(lows), Ok(highs)) = (
            self.offsets(&places, Offset::Beginning),
            self.offsets(&places, Offset::End),
        ) else {
            return;
        };
        let known = wanted
            .iter()
            .filter_map(|(assignment, place)| match (lows.get(place), highs.get(place)) {
                (Some(Ok(low)), Some(Ok(high))) => Some((*assignment, *low, *high)),
                _ => None,
            });
        (self.tell)(Finding::Watermarks(known.collect()));
    }

    fn stopping(&self) -> bool {
        *self.stop.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False: it is time to stop.
    fn wait(&self, time: Duration) -> bool {
        let stopping = self.stop.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (stopping, _) = (self.stop.1)
            .wait_timeout_while(stopping, time, |s| !*s)
            .unwrap_or_else(PoisonError::into_inner);
        !*stopping
    }
}

impl Sight {
    fn or_missing(mut self, text: impl FnOnce() -> String) -> Sight {
        if self.there.is_empty() {
            let (kind, text) = (TroubleKind::TopicMissing, text());
            self.troubles.push(Trouble { kind, text });
        }
        self
    }

    fn places(&self) -> Vec<Place> {
        let partitions = |(topic, count): &(String, i32)| (0..*count).map(|p| (topic.clone(), p)).collect::<Vec<_>>();
        self.there.iter().flat_map(partitions).collect()
    }
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

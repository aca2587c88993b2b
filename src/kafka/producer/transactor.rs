//! Transactions: records and offsets that become visible together, or not at all. One at a time, on a thread of its own,
//! since each step waits for the cluster.
//!
//! Each has one of three ends. Committed and aborted are certain. Whatever can't be found out, because the cluster stays
//! away or another has taken this producer's place, is undecided, and this producer does nothing any more: the next one
//! by the same `transactional.id` ends what is left, before anybody reads what is committed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::deliveries::{Place, Request};
use super::transact::{Failed, Transactional};
use super::{Client, Health, HealthReport, Outgoing, ProducerSettings, SendError, TransactionSettings};
use crate::delivery::event::CommitEntry;
use crate::kafka::error::{KafkaError, Kind, Right, said};
use crate::kafka::native::Membership;
use crate::kafka::source::commit;

/// How often a window that stays full is tried.
const WINDOW_PAUSE: Duration = Duration::from_millis(5);
/// How long one call of the library waits, before it is made again.
const STEP: Duration = Duration::from_secs(5);
/// How long partition counts are taken for granted.
const COUNT_KNOWN_FOR: Duration = Duration::from_secs(30);

/// What a transaction holds.
pub trait Load: Send {
    /// How many records there are.
    fn records(&self) -> usize;

    /// The topics whose number of partitions has to be known.
    fn topics(&self) -> Vec<String>;

    /// Hands out the records in the order in which they are produced. `counts` has the partitions of those topics that are
    /// there.
    fn each(&self, counts: &HashMap<String, i32>, hand: &mut dyn FnMut(Outgoing<'_>));

    /// Offsets and what stands beside them.
    fn offsets(&self) -> &[CommitEntry];

    /// The membership that the offsets are committed by, asked for as late as possible. This may block.
    ///
    /// # Errors
    /// Why they can't be committed now, as a sentence.
    fn membership(&self) -> Result<Membership, String>;
}

/// How a transaction ended.
#[derive(Debug)]
pub enum Ended {
    /// All of it stands.
    Committed,
    /// None of it does.
    Aborted {
        /// What became of each record until then; what was only thrown away is [`SendError::Purged`].
        records: Vec<Result<(), SendError>>,
        /// What is known of the cause beside these.
        cause: Option<Cause>,
    },
    /// It can't be found out, or was taken out of our hands; why.
    Undecided(String),
}

/// What undid a transaction, beside its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The group does not take the offsets.
    Offsets(String),
    /// A topic's partitions can't be seen.
    Topic(String, KafkaError),
    /// Something else.
    Cluster(String),
}

/// A transactional producer. Dropped, it ends after what it is at.
pub struct Transactor {
    jobs: mpsc::Sender<Job>,
    health: watch::Receiver<Health>,
}

enum Job {
    Init(oneshot::Sender<Result<(), KafkaError>>),
    Run(Box<dyn Load>, oneshot::Sender<Ended>),
}

struct Worker {
    client: Arc<Client>,
    calls: Transactional,
    settings: TransactionSettings,
    cluster: String,
    counts: HashMap<String, (i32, Instant)>,
    /// It has to be opened anew.
    broken: Option<String>,
}

impl Transactor {
    /// Opens a producer by the settings' `transactions`. This does not wait for the cluster.
    ///
    /// # Errors
    /// Settings that can't work, or no thread.
    pub fn open(settings: ProducerSettings) -> Result<Transactor, KafkaError> {
        let cluster = settings.cluster.name.clone();
        let Some(transactions) = settings.transactions.clone() else {
            return Err(KafkaError::new(
                Kind::Settings,
                "could not open a producer: it has no transactional id",
            ));
        };
        let health = Arc::new(HealthReport::new(cluster.clone()));
        let client = Client::open(&settings, &health)?;
        // SAFETY: the worker owns the client.
        let calls = unsafe { Transactional::of(client.native_ptr()) };
        let (jobs, todo) = mpsc::channel();
        let mut worker = Worker {
            client,
            calls,
            settings: transactions,
            cluster,
            counts: HashMap::new(),
            broken: None,
        };
        let no_thread = |e| KafkaError::new(Kind::Other, format!("no thread for a transactional producer: {e}"));
        (std::thread::Builder::new().name("fnb-transact".into()))
            .spawn(move || todo.iter().for_each(|job| worker.work(job)))
            .map_err(no_thread)?;
        let health = health.subscribe();
        Ok(Transactor { jobs, health })
    }

    /// Ends what is left of whoever had the same `transactional.id` before. Comes first, and once.
    ///
    /// # Errors
    /// The cluster's; one that is retriable may be asked again.
    pub async fn init(&self) -> Result<(), KafkaError> {
        let (done, ended) = oneshot::channel();
        let _ = self.jobs.send(Job::Init(done));
        let gone = || KafkaError::new(Kind::Other, "the transactional producer has ended");
        ended.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Runs a transaction, behind those before.
    pub fn run(&self, load: Box<dyn Load>) -> impl Future<Output = Ended> + Send + use<> {
        let (done, ended) = oneshot::channel();
        let _ = self.jobs.send(Job::Run(load, done));
        async move { (ended.await).unwrap_or_else(|_| Ended::Undecided("its producer has ended".to_owned())) }
    }

    /// Whether the cluster takes what is sent; changes wake the receiver.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.clone()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.client.retire();
    }
}

impl Worker {
    fn work(&mut self, job: Job) {
        match job {
            // Whoever does not wait any more has gone on without the answer.
            Job::Init(done) => drop(done.send(self.init())),
            Job::Run(load, done) => {
                let ended = match self.broken.clone() {
                    Some(reason) => Ended::Undecided(reason),
                    None => self.run_and_find(&*load),
                };
                if let Ended::Undecided(reason) = &ended {
                    self.broken = Some(reason.clone());
                }
                drop(done.send(ended));
            }
        }
    }

    fn init(&self) -> Result<(), KafkaError> {
        let id = &self.settings.id;
        self.calls.init(2 * STEP).map_err(|failed| {
            let doing = format!("begin transactions as `{id}` on cluster `{}`", self.cluster);
            let error = KafkaError::from_code(failed.code, &doing, Some(Right::UseTransactions(id.clone())));
            match failed.code {
                // The library says there what it waited for.
                _ if error.right.is_none() => KafkaError {
                    text: format!("{}: {}", error.text, failed.reason),
                    ..error
                },
                _ => error,
            }
        })
    }

    /// A broker refuses a batch of records as a whole. Where that undid a transaction, it is run once more, with each of
    /// them alone, so that only the one is found that can't stand.
    fn run_and_find(&mut self, load: &dyn Load) -> Ended {
        let ended = self.run(load, &HashSet::new());
        let Ended::Aborted { records, .. } = &ended else {
            return ended;
        };
        let too_large =
            |(at, result): (usize, &Result<(), SendError>)| matches!(result, Err(SendError::TooLarge(_))).then_some(at);
        let suspects: HashSet<usize> = records.iter().enumerate().filter_map(too_large).collect();
        match suspects.len() {
            0 | 1 => ended,
            _ => self.run(load, &suspects),
        }
    }

    fn run(&mut self, load: &dyn Load, alone: &HashSet<usize>) -> Ended {
        let until = Instant::now() + self.settings.timeout;
        let counts = match self.counts_of(load.topics()) {
            Ok(counts) => counts,
            Err(cause) => return nothing(load, cause),
        };
        if let Err(failed) = self.calls.begin() {
            return match failed.fatal {
                true => Ended::Undecided(undecided(&failed)),
                false => nothing(load, Cause::Cluster(failed.reason)),
            };
        }
        let (request, deliveries) = Request::new(load.records());
        let (mut place, mut refused) = (0, false);
        load.each(&counts, &mut |out| {
            let flushed = |at: usize| alone.contains(&at).then(|| self.calls.flush(STEP));
            flushed(place);
            refused |= !self.produce(out, Place::new(&request, place), until);
            flushed(place);
            place += 1;
        });
        let ended = match refused {
            true => self.abort(None),
            false => self.finish(load, until),
        };
        match ended {
            Outcome::Committed => Ended::Committed,
            Outcome::Aborted(cause) => Ended::Aborted {
                records: deliveries.wait(),
                cause,
            },
            Outcome::Undecided(reason) => Ended::Undecided(reason),
        }
    }

    /// Hands a record to the library, waiting for room. False: it was not taken, which is reported.
    fn produce(&self, out: Outgoing<'_>, place: Place, until: Instant) -> bool {
        let mut place = Box::new(place);
        loop {
            match self.client.offer(out, place) {
                Ok(()) => return true,
                Err((SendError::Full, back)) if Instant::now() < until => {
                    place = back;
                    std::thread::sleep(WINDOW_PAUSE);
                }
                Err((error, back)) => {
                    back.report(Err(error));
                    return false;
                }
            }
        }
    }

    /// Offsets, then the commit.
    fn finish(&self, load: &dyn Load, until: Instant) -> Outcome {
        let offsets = match commit::list(load.offsets()) {
            Ok(offsets) => offsets,
            Err(error) => return self.abort(Some(Cause::Offsets(error.to_string()))),
        };
        loop {
            let membership = match load.membership() {
                Ok(membership) => membership,
                Err(reason) => return self.abort(Some(Cause::Offsets(reason))),
            };
            match self.calls.send_offsets(&offsets, &membership, STEP) {
                Ok(()) => break,
                Err(failed) if failed.fatal => return Outcome::Undecided(undecided(&failed)),
                Err(failed) if failed.retriable && Instant::now() < until => {}
                Err(failed) => return self.abort(Some(cause_of(&failed))),
            }
        }
        let certain_by = until + self.settings.timeout;
        loop {
            match self.calls.commit(STEP) {
                Ok(()) => return Outcome::Committed,
                Err(failed) if failed.fatal => return Outcome::Undecided(undecided(&failed)),
                Err(failed) if failed.retriable && Instant::now() < certain_by => {}
                Err(failed) if failed.retriable => return Outcome::Undecided(undecided(&failed)),
                Err(failed) => return self.abort(Some(cause_of(&failed))),
            }
        }
    }

    fn abort(&self, cause: Option<Cause>) -> Outcome {
        let certain_by = Instant::now() + 2 * self.settings.timeout;
        loop {
            match self.calls.abort(STEP) {
                Ok(()) => return Outcome::Aborted(cause),
                Err(failed) if failed.retriable && !failed.fatal && Instant::now() < certain_by => {}
                Err(failed) => return Outcome::Undecided(undecided(&failed)),
            }
        }
    }

    fn counts_of(&mut self, topics: Vec<String>) -> Result<HashMap<String, i32>, Cause> {
        self.counts.retain(|_, (_, asked)| asked.elapsed() < COUNT_KNOWN_FOR);
        let mut counts = HashMap::new();
        for topic in topics {
            let known = self.counts.get(&topic).map(|(count, _)| *count);
            let count = match known {
                Some(count) => Some(count),
                None => match self.client.partition_count(&topic) {
                    Ok(count) => Some(count),
                    // Sending to it makes the topic, where the broker does that; else the broker says that there is none.
                    Err(error) if error.kind == Kind::Missing => None,
                    Err(error) => return Err(Cause::Topic(topic, error)),
                },
            };
            if let Some(count) = count {
                self.counts.entry(topic.clone()).or_insert((count, Instant::now()));
                counts.insert(topic, count);
            }
        }
        Ok(counts)
    }
}

enum Outcome {
    Committed,
    Aborted(Option<Cause>),
    Undecided(String),
}

/// It was not begun.
fn nothing(load: &dyn Load, cause: Cause) -> Ended {
    Ended::Aborted {
        records: vec![Err(SendError::Purged); load.records()],
        cause: Some(cause),
    }
}

fn undecided(failed: &Failed) -> String {
    format!("{} ({:?})", failed.reason, failed.code)
}

fn cause_of(failed: &Failed) -> Cause {
    let text = match failed.reason.is_empty() {
        true => said(failed.code),
        false => failed.reason.clone(),
    };
    match Kind::of(failed.code) {
        Kind::NotMember => Cause::Offsets(text),
        _ if failed.code == rdkafka::error::RDKafkaErrorCode::RebalanceInProgress => Cause::Offsets(text),
        _ => Cause::Cluster(text),
    }
}

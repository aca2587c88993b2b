//! Transactions: records and offsets that become visible together, or not at all. One at a time, on a thread of its own,
//! since each step waits for the cluster.
//!
//! Each has one of three ends. Committed and aborted are certain. Whatever can't be found out, because the cluster stays
//! away or another has taken this producer's place, is undecided, and this producer does nothing any more: the next one
//! by the same `transactional.id` ends what is left, before anybody reads what is committed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode as Code;
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
/// A call of the library that has not returned after so long never will: one that waits for a coordinator that died can lose
/// its answer, and then heeds no time-out.
const STUCK: Duration = Duration::from_secs(20);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(1);
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
    /// The numbers of records that were sent had a gap, which the abort has mended.
    Gap(String),
    /// Something else.
    Cluster(String),
}

/// A transactional producer. Dropped, it ends after what it is at.
pub struct Transactor {
    jobs: mpsc::Sender<Job>,
    health: watch::Receiver<Health>,
    at_work: AtWork,
}

/// Since when the library has been at a call.
#[derive(Clone, Default)]
struct AtWork(Arc<Mutex<Option<Instant>>>);

impl AtWork {
    fn during<T>(&self, call: impl FnOnce() -> T) -> T {
        *self.since() = Some(Instant::now());
        let done = call();
        *self.since() = None;
        done
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn stuck(self) {
        while self.since().is_none_or(|since| since.elapsed() < STUCK) {
            tokio::time::sleep(LOOK).await;
        }
    }
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
    at_work: AtWork,
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
        let at_work = AtWork::default();
        let mut worker = Worker {
            client,
            calls,
            settings: transactions,
            cluster,
            counts: HashMap::new(),
            at_work: at_work.clone(),
            broken: None,
        };
        let no_thread = |e| KafkaError::new(Kind::Other, format!("no thread for a transactional producer: {e}"));
        (std::thread::Builder::new().name("fnb-transact".into()))
            .spawn(move || todo.iter().for_each(|job| worker.work(job)))
            .map_err(no_thread)?;
        let health = health.subscribe();
        Ok(Transactor { jobs, health, at_work })
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

    /// Runs a transaction, behind those before. Where the library does not come back, it is undecided, and the thread is left
    /// to itself.
    pub fn run(&self, load: Box<dyn Load>) -> impl Future<Output = Ended> + Send + use<> {
        let (done, ended) = oneshot::channel();
        let _ = self.jobs.send(Job::Run(load, done));
        let stuck = self.at_work.clone().stuck();
        let undecided = |reason: &str| Ended::Undecided(reason.to_owned());
        async move {
            tokio::select! {
                ended = ended => ended.unwrap_or_else(|_| undecided("its producer has ended")),
                () = stuck => undecided("the client library does not come back from a call"),
            }
        }
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
                    None => self.run_until_known(&*load),
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

    /// Runs it until its end says something of it. A broker refuses a batch of records as a whole, so that those are sent
    /// alone next; and what a broker refused leaves a gap in the numbers of what follows, which only another abort mends.
    fn run_until_known(&mut self, load: &dyn Load) -> Ended {
        const MOST_RUNS: usize = 5;
        let mut alone = HashSet::new();
        let mut ended = self.run(load, &alone);
        for _ in 1..MOST_RUNS {
            let Ended::Aborted { records, cause } = &ended else {
                break;
            };
            let suspects = too_large(records);
            if suspects.len() > 1 && alone.is_empty() {
                alone = suspects;
            } else if !matches!(cause, Some(Cause::Gap(_))) || !suspects.is_empty() {
                break;
            }
            ended = self.run(load, &alone);
        }
        ended
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
        let (mut place, mut taken) = (0, Taken::Whole);
        load.each(&counts, &mut |out| {
            let flushed = |at: usize| alone.contains(&at).then(|| self.calls.flush(STEP));
            flushed(place);
            taken = taken.max(self.produce(out, Place::new(&request, place), until));
            flushed(place);
            place += 1;
        });
        let ended = match taken {
            Taken::Refused => self.abort(None),
            Taken::Whole | Taken::InPart => self.finish(load, taken == Taken::Whole, until),
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

    /// Hands a record to the library, waiting for room.
    fn produce(&self, out: Outgoing<'_>, place: Place, until: Instant) -> Taken {
        let mut place = Box::new(place);
        loop {
            match self.client.offer(out, place) {
                Ok(()) => return Taken::Whole,
                Err((SendError::Full, back)) if Instant::now() < until => {
                    place = back;
                    std::thread::sleep(WINDOW_PAUSE);
                }
                Err((error, back)) => {
                    let undone = error == SendError::Purged;
                    back.report(Err(error));
                    return if undone { Taken::InPart } else { Taken::Refused };
                }
            }
        }
    }

    /// Offsets, then the commit. One that was not taken as a whole is undone already, and the offsets are told why.
    fn finish(&self, load: &dyn Load, whole: bool, until: Instant) -> Outcome {
        let offsets = match commit::list(load.offsets()) {
            Ok(offsets) => offsets,
            Err(error) => return self.abort(Some(Cause::Offsets(error.to_string()))),
        };
        loop {
            let membership = match load.membership() {
                Ok(membership) => membership,
                Err(reason) => return self.abort(Some(Cause::Offsets(reason))),
            };
            let send = || self.calls.send_offsets(&offsets, &membership, STEP);
            match self.at_work.during(send) {
                Ok(()) if whole => break,
                Ok(()) => return self.abort(None),
                Err(failed) if failed.fatal => return Outcome::Undecided(undecided(&failed)),
                Err(failed) if failed.retriable && Instant::now() < until => {}
                Err(failed) => return self.abort(Some(cause_of(&failed))),
            }
        }
        let certain_by = until + self.settings.timeout;
        loop {
            match self.at_work.during(|| self.calls.commit(STEP)) {
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
            match self.at_work.during(|| self.calls.abort(STEP)) {
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

/// How much of a transaction the library has taken, from best to worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Taken {
    Whole,
    /// It was undone before all was handed over.
    InPart,
    /// It refused a record itself.
    Refused,
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

/// Records that the broker said are too large, or stood in a batch with one.
fn too_large(records: &[Result<(), SendError>]) -> HashSet<usize> {
    let records = records.iter().enumerate();
    let said = records.filter(|(_, result)| matches!(result, Err(SendError::TooLarge(_))));
    said.map(|(at, _)| at).collect()
}

fn undecided(failed: &Failed) -> String {
    format!("{} ({:?})", failed.reason, failed.code)
}

fn cause_of(failed: &Failed) -> Cause {
    let text = match failed.reason.is_empty() {
        true => said(failed.code),
        false => failed.reason.clone(),
    };
    match failed.code {
        Code::RebalanceInProgress => Cause::Offsets(text),
        Code::OutOfOrderSequenceNumber | Code::UnknownProducerId => Cause::Gap(text),
        code if Kind::of(code) == Kind::NotMember => Cause::Offsets(text),
        _ => Cause::Cluster(text),
    }
}

//! Reading as a member of a group: one thread a consumer polls, hands records over in batches, and says what the group
//! gives and takes.
//!
//! [`Source`] is told, [`SourceEvents`] says. Records of an assignment only come between its [`GroupEvent::Assigned`] and
//! its [`GroupEvent::Revoked`] or [`GroupEvent::Lost`].

pub(in crate::kafka) mod commit;
mod events;
mod inbox;
mod native;
mod poll;
mod routes;
mod scout;
mod trouble;

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::KafkaError as ClientError;

use self::inbox::Inbox;
use self::native::Queue;
use self::poll::{Command, Poller};
use crate::delivery::event::{Assignment, CommitEntry};
#[cfg(doc)]
use crate::delivery::group::GroupEvent;
use crate::kafka::error::{KafkaError, Kind};
use crate::kafka::native::Membership;

pub use self::events::{Isolation, Leave, SourceEvent, SourceSettings, Start, Topics, Trouble, TroubleKind};
pub use self::inbox::SourceEvents;

/// A consumer, told what to do. Dropping it leaves the group at once, to come back, without a drain;
/// [`close`](Source::close) drains.
pub struct Source {
    line: Arc<Line>,
}

/// Vouches for partitions: whoever commits for them outside of the source has to ask first.
#[derive(Clone)]
pub struct Voucher {
    line: Arc<Line>,
}

/// How commands reach the poll thread.
struct Line {
    commands: Mutex<Vec<Command>>,
    /// `None`: the thread has ended, or never was.
    queue: Mutex<Option<Arc<Queue<Quiet>>>>,
}

type Client = BaseConsumer<Quiet>;

impl Source {
    /// Starts reading. What can't work, such as a wrong property, is said as a fatal [`Trouble`].
    pub fn start(settings: SourceSettings) -> (Source, SourceEvents) {
        let (inbox, events) = Inbox::new(settings.inbox_bytes);
        let line = Arc::new(Line {
            commands: Mutex::new(Vec::new()),
            queue: Mutex::new(None),
        });
        if let Err(error) = spawn(settings, &line, &inbox) {
            inbox.put(&mut vec![SourceEvent::Trouble(trouble::of_error(&error))]);
            inbox.end();
        }
        (Source { line }, events)
    }

    /// Commits, and answers with one [`GroupEvent::Committed`]. Entries of assignments that are not held are answered
    /// with an error. The caller sees to it that one commit is in flight at a time.
    pub fn commit(&self, entries: Vec<CommitEntry>) {
        self.line.tell(Command::Commit(entries));
    }

    /// Fetches no more of these partitions. What is on its way to the inbox still comes.
    pub fn pause(&self, assignments: &[Assignment]) {
        self.line.tell(Command::Pause(assignments.to_vec()));
    }

    /// Fetches these partitions again.
    pub fn resume(&self, assignments: &[Assignment]) {
        self.line.tell(Command::Resume(assignments.to_vec()));
    }

    /// A revoked partition is drained and can be let go. For one that was lost meanwhile, this does nothing.
    pub fn release(&self, assignment: Assignment) {
        self.line.tell(Command::Release(assignment));
    }

    /// Who vouches for what is held.
    pub fn voucher(&self) -> Voucher {
        Voucher {
            line: Arc::clone(&self.line),
        }
    }

    /// Leaves the group: what is held is revoked, and once all of it is released, the events end.
    pub fn close(&self, leave: Leave) {
        self.line.tell(Command::Close(leave));
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.line.tell(Command::Abandon);
    }
}

impl Voucher {
    /// The membership under which offsets of these assignments can be committed, if all of them are held. The poll thread
    /// says so, which is the only one that lets a partition go: while it holds one, this member joins no generation in
    /// which another may have it. This blocks: not for the async runtime's own threads.
    ///
    /// # Errors
    /// Why it can't be said, as a sentence.
    pub fn vouch(&self, assignments: Vec<Assignment>) -> Result<Membership, String> {
        const PATIENCE: Duration = Duration::from_secs(10);
        let (answer, answered) = mpsc::sync_channel(1);
        self.line.tell(Command::Vouch(assignments, answer));
        let no_answer = |_| Err("the group's member has ended, or does not answer".to_owned());
        answered.recv_timeout(PATIENCE).unwrap_or_else(no_answer)
    }

    /// Offsets of these assignments stand committed, by another way than the source's own.
    pub fn committed(&self, assignments: Vec<Assignment>) {
        self.line.tell(Command::Committed(assignments));
    }
}

impl Line {
    fn tell(&self, command: Command) {
        self.commands
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(command);
        if let Some(queue) = &*self.queue.lock().unwrap_or_else(PoisonError::into_inner) {
            queue.wake();
        }
    }

    fn take(&self) -> Vec<Command> {
        std::mem::take(&mut *self.commands.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn spawn(settings: SourceSettings, line: &Arc<Line>, inbox: &Arc<Inbox>) -> Result<(), KafkaError> {
    let doing = format!("read as group `{}`", settings.group);
    let failed = |e: ClientError| KafkaError::from_client(&e, &doing, None);
    let client = Arc::new(Client::from_config_and_context(&config(&settings), Quiet).map_err(failed)?);
    let queue = Queue::of(Arc::clone(&client));
    let queue = queue.ok_or_else(|| KafkaError::new(Kind::Settings, format!("could not {doing}: it has no name")))?;
    let queue = Arc::new(queue);
    *line.queue.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&queue));
    let no_thread = |e| KafkaError::new(Kind::Settings, format!("could not {doing}: no thread for it: {e}"));
    let poller = Poller::new(settings, client, queue, Arc::clone(line), Arc::clone(inbox)).map_err(no_thread)?;
    (std::thread::Builder::new().name("fnb-poll".into()))
        .spawn(move || poller.run())
        .map(drop)
        .map_err(no_thread)
}

fn config(settings: &SourceSettings) -> rdkafka::ClientConfig {
    let prefetch_kib = (settings.prefetch_bytes / 1024).clamp(64, 2_097_151);
    let mut defaults = vec![
        ("fetch.min.bytes", "1".to_owned()),
        ("fetch.wait.max.ms", "250".to_owned()),
        ("fetch.message.max.bytes", (256 << 10).to_string()),
        (
            "fetch.max.bytes",
            settings.prefetch_bytes.clamp(1 << 20, 50 << 20).to_string(),
        ),
        ("fetch.queue.backoff.ms", "20".to_owned()),
        ("fetch.error.backoff.ms", "200".to_owned()),
        ("queued.max.messages.kbytes", prefetch_kib.to_string()),
        ("socket.nagle.disable", "true".to_owned()),
    ];
    // The newer group protocol leaves both to the broker, and takes neither.
    if settings.cluster.has_classic_groups() {
        defaults.push(("partition.assignment.strategy", "cooperative-sticky".to_owned()));
        // Members learn of a rebalance from their heartbeats: partitions that were given up lie idle so long.
        defaults.push(("heartbeat.interval.ms", "1000".to_owned()));
    }
    let mut config = settings.cluster.config(&defaults);
    let ours = [
        ("client.id", client_id(settings)),
        ("group.id", settings.group.clone()),
        ("isolation.level", settings.isolation.name().to_owned()),
        ("enable.auto.commit", "false".to_owned()),
        ("enable.auto.offset.store", "false".to_owned()),
        ("auto.offset.reset", "error".to_owned()),
        ("enable.partition.eof", "false".to_owned()),
    ];
    for (name, value) in ours {
        config.set(name, value);
    }
    if is_static(settings) {
        config.set("group.instance.id", &settings.worker);
    }
    config
}

/// The name by which members of one pipeline know each other.
fn client_id(settings: &SourceSettings) -> String {
    format!("fnbridge/{}/{}", settings.pipeline, settings.worker)
}

/// Whether the group knows the member by its worker's id. Under the newer group protocol, the client library has no way for
/// such a member to leave for good, which one that is taken elsewhere has to.
fn is_static(settings: &SourceSettings) -> bool {
    settings.is_static && settings.cluster.has_classic_groups() && !settings.cluster.embedded
}

/// The queue is polled by [`native`], so that nothing arrives here but what the client says while it is destroyed.
struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: ClientError, _: &str) {}
}

impl ConsumerContext for Quiet {}

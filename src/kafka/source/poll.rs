//! The poll thread: the only one that polls, assigns and lets go.

mod flow;
mod membership;
mod topics;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::commit::Commits;
use super::events::{Leave, SourceEvent, SourceSettings, Trouble, TroubleKind};
use super::inbox::Inbox;
use super::native::{Polled, Queue};
use super::routes::Routes;
use super::scout::{Finding, Job, Scout};
use super::trouble::{Troubles, of_error, of_event};
use super::{Client, Line, Quiet};
use crate::delivery::event::{Assignment, CommitEntry};
use crate::delivery::group::{Desk, Place};
use crate::kafka::error::{KafkaError, Kind, without_times};
use crate::kafka::native::Membership;

/// How long a poll waits for records. Commands wake it.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long it waits where somebody has to be looked after.
const SHORT_PATIENCE: Duration = Duration::from_millis(20);
/// What is handed over at once, at most.
const ROUND_RECORDS: usize = 2000;
const ROUND_BYTES: usize = 512 << 10;
/// How long a full inbox is waited for before fetching pauses.
const STARVED_AFTER: Duration = Duration::from_millis(100);
/// How often topics are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// A topic that a pattern found before is believed to be gone after so many looks without it.
const LOOKS_WITHOUT: u32 = 2;
/// How long a group that is being joined is waited for, before it is left: a member that leaves in the middle is only
/// missed when its session is over.
const JOIN_WITHIN: Duration = Duration::from_secs(5);
/// How long leaving the group may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);

/// Assignments are numbered through the whole process, so that no number comes twice whatever is restarted.
fn next_assignment() -> Assignment {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Assignment(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// What the poll thread is told.
pub(super) enum Command {
    Commit(Vec<CommitEntry>),
    Pause(Vec<Assignment>),
    Resume(Vec<Assignment>),
    Release(Assignment),
    Committed(Vec<Assignment>),
    Vouch(Vec<Assignment>, SyncSender<Result<Membership, String>>),
    Close(Leave),
    Abandon,
    Found(Finding),
}

/// The poll thread's state.
pub(super) struct Poller {
    settings: Arc<SourceSettings>,
    client: Arc<Client>,
    queue: Arc<Queue<Quiet>>,
    line: Arc<Line>,
    inbox: Arc<Inbox>,
    scout: Scout,
    desk: Desk,
    routes: Routes,
    commits: Commits,
    events: Vec<SourceEvent>,
    troubles: Troubles,
    /// The topics that are subscribed to, and in how many looks each was missing.
    subscribed: Vec<(String, u32)>,
    /// To be subscribed to once the group has given what a static member had before it went away.
    subscribe_next: Option<Vec<String>>,
    phase: Phase,
    /// The group has given something, were it nothing, since it was subscribed to.
    joined: bool,
    looking: bool,
    next_look: Instant,
    /// Partitions that the client has stopped, and that are to be read on.
    restarts: Vec<Place>,
    next_watermarks: Instant,
    /// Fetching pauses because nobody receives.
    starved: bool,
    /// Fetching was refused for want of a right; only a record proves the contrary.
    fetch_denied: bool,
    /// What the client said when it last could not reach a broker.
    last_failure: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Reading,
    /// What is held is being drained; the group is left after that. Since when.
    Closing(Instant, Leave),
    /// A static member takes its leave of the group, which closing alone does not do. Until when.
    Resigning(Instant),
    /// The client is being closed. Until when.
    Leaving(Instant),
    Ended,
}

impl Poller {
    pub(super) fn new(
        settings: SourceSettings,
        client: Arc<Client>,
        queue: Arc<Queue<Quiet>>,
        line: Arc<Line>,
        inbox: Arc<Inbox>,
    ) -> std::io::Result<Poller> {
        let settings = Arc::new(settings);
        let told = Arc::clone(&line);
        let scout = Scout::start(Arc::clone(&client), Arc::clone(&settings), move |f| {
            told.tell(Command::Found(f))
        })?;
        let now = Instant::now();
        Ok(Poller {
            commits: Commits::new(&settings.group),
            settings,
            client,
            queue,
            line,
            inbox,
            scout,
            desk: Desk::new(next_assignment),
            routes: Routes::default(),
            events: Vec::new(),
            troubles: Troubles::default(),
            subscribed: Vec::new(),
            subscribe_next: None,
            phase: Phase::Reading,
            joined: false,
            looking: true,
            next_look: now,
            restarts: Vec::new(),
            next_watermarks: now,
            starved: false,
            fetch_denied: false,
            last_failure: "no connection could be made".to_owned(),
        })
    }

    pub(super) fn run(mut self) {
        self.scout.ask(Job::Begin);
        while self.phase != Phase::Ended {
            for command in self.line.take() {
                self.obey(command);
            }
            self.keep_time(Instant::now());
            self.hand_over();
            self.make_room();
            let emptied = self.fetch();
            self.hand_over();
            if emptied && self.phase == Phase::Reading {
                self.restart();
            }
        }
        // Commands go nowhere from here on, and the client is destroyed on this thread.
        *self.line.queue.lock().unwrap_or_else(PoisonError::into_inner) = None;
        drop(self.line.take());
        self.inbox.end();
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Commit(entries) => {
                self.commits
                    .send(&self.queue, entries, &mut self.desk, &mut self.events);
            }
            Command::Pause(assignments) => self.set_paused(&assignments, true),
            Command::Resume(assignments) => self.set_paused(&assignments, false),
            Command::Release(assignment) => {
                if let Some(places) = self.desk.release(assignment) {
                    self.let_go(&places);
                }
                self.routes.clear();
            }
            Command::Committed(assignments) => assignments.into_iter().for_each(|a| self.desk.committed(a)),
            Command::Vouch(assignments, answer) => {
                // Whoever does not wait any more has given up.
                let _ = answer.send(self.vouch(&assignments));
            }
            Command::Close(leave) if self.phase == Phase::Reading => {
                self.phase = Phase::Closing(Instant::now(), leave);
                self.desk.drain_all(&mut self.events);
                self.routes.clear();
                self.pause_fetching();
            }
            Command::Close(_) => {}
            Command::Abandon => self.abandon(),
            Command::Found(finding) => self.learn(finding),
        }
    }

    fn learn(&mut self, finding: Finding) {
        match finding {
            Finding::Ready { topics, before } => {
                self.looking = false;
                self.next_look = Instant::now() + if self.troubles.any() { LOOK_AGAIN } else { LOOK_EVERY };
                self.well(&[
                    TroubleKind::ClusterAway,
                    TroubleKind::Unauthenticated,
                    TroubleKind::Other,
                ]);
                self.subscribe_anew(topics, &before);
            }
            Finding::Topics(topics, troubles) => self.looked(&topics, troubles),
            Finding::Resolved(ticket, resolved) if self.phase == Phase::Reading => {
                if let Some(begins) = self.desk.resolved(ticket, resolved, &mut self.events) {
                    self.take_up(&begins);
                }
            }
            // Whoever leaves takes nothing up; leaving tells the group so.
            Finding::Resolved(..) => {}
            Finding::Log(assignment, low, high) => self.found_log(assignment, low, high),
            Finding::Watermarks(known) => {
                for (assignment, low, high) in known {
                    self.events.push(SourceEvent::Watermarks { assignment, low, high });
                }
            }
            Finding::Trouble(trouble) => {
                self.looking &= trouble.kind.fatal();
                self.trouble(trouble);
            }
        }
    }

    /// One round: waits for the first record or event, then takes what is there.
    ///
    /// True: there was nothing more, and so no event that waits to be seen.
    fn fetch(&mut self) -> bool {
        let queue = Arc::clone(&self.queue);
        let busy = self.starved || !self.restarts.is_empty() || self.phase != Phase::Reading || self.desk.is_revoking();
        let mut patience = if busy { SHORT_PATIENCE } else { PATIENCE };
        let (mut records, mut bytes) = (0, 0);
        while records < ROUND_RECORDS && bytes < ROUND_BYTES {
            match queue.poll(patience) {
                None => return true,
                Some(Polled::Record(raw)) => {
                    bytes += self.routes.add(&raw, &self.desk);
                    records += 1;
                }
                Some(event) => {
                    // What came before an event is said before it.
                    self.flush();
                    self.happened(event);
                    if self.phase == Phase::Ended {
                        return false;
                    }
                }
            }
            patience = Duration::ZERO;
        }
        false
    }

    fn happened(&mut self, event: Polled<'_>) {
        match event {
            Polled::Record(_) | Polled::Nothing => {}
            Polled::Assign(places) => self.assigned(places),
            Polled::Revoke(places) => self.revoked(places),
            Polled::Committed(whole, parts) => {
                // A commit that says so during a drain is the only word of it: the group waits for nothing any more.
                match self.commits.answered(whole, parts, &mut self.desk, &mut self.events) {
                    Some(code) if Kind::of(code) == Kind::NotMember && self.desk.is_revoking() => self.lose_revoke(),
                    Some(code) => self.went_wrong(code, &code.to_string(), None, false),
                    None => self.well(&[TroubleKind::GroupDenied]),
                }
            }
            Polled::Error {
                code,
                reason,
                at,
                fatal,
            } => self.went_wrong(code, &reason, at, fatal),
        }
    }

    fn keep_time(&mut self, now: Instant) {
        if self.inbox.deserted() {
            self.abandon();
        }
        match self.phase {
            Phase::Reading => self.look_around(now),
            Phase::Closing(since, leave) if self.desk.is_empty() && self.may_leave(since, now) => {
                self.leave(leave, now)
            }
            Phase::Closing(..) => {}
            Phase::Resigning(until) => {
                if !self.queue.is_member() || now >= until {
                    self.close(now);
                }
            }
            Phase::Leaving(until) => {
                if self.client.closed() || now >= until {
                    self.phase = Phase::Ended;
                }
            }
            Phase::Ended => {}
        }
    }

    fn flush(&mut self) {
        if self.routes.flush(&mut self.desk, &mut self.events) && self.troubles.any() {
            self.well(&[TroubleKind::ClusterAway, TroubleKind::Other]);
            if std::mem::take(&mut self.fetch_denied) {
                self.well(&[TroubleKind::TopicDenied]);
            }
        }
    }

    fn hand_over(&mut self) {
        self.flush();
        self.inbox.put(&mut self.events);
    }

    fn went_wrong(&mut self, code: Code, reason: &str, at: Option<(Place, i64)>, fatal: bool) {
        if fatal {
            let text = format!("the client can't go on and is closed: {reason}");
            self.trouble(Trouble {
                kind: TroubleKind::ClientBroken,
                text,
            });
            return;
        }
        let slot = at.as_ref().and_then(|(place, _)| self.desk.at(place));
        if let (Kind::OutOfRange, Some(slot), Some((place, _))) = (Kind::of(code), slot, &at) {
            self.scout.ask(Job::FindLog(slot.assignment, place.clone()));
            return;
        }
        let reason = without_times(reason);
        // Whether nobody answers at all is found out by asking, unless nobody ever did: an idle connection that closes says
        // the same.
        match Kind::of(code) {
            Kind::Away if code != Code::AllBrokersDown => reason.clone_into(&mut self.last_failure),
            Kind::Away if self.subscribed.is_empty() => self.trouble(Trouble {
                kind: TroubleKind::ClusterAway,
                text: reason.to_owned(),
            }),
            Kind::Away | Kind::Missing => self.next_look = Instant::now(),
            _ => {}
        }
        let topic = at.as_ref().map(|((topic, _), _)| topic.as_str());
        let (group, cluster) = (&self.settings.group, &self.settings.cluster.name);
        if let Some(trouble) = of_event(code, reason, topic, group, cluster) {
            self.fetch_denied |= trouble.kind == TroubleKind::TopicDenied;
            self.trouble(trouble);
        }
    }

    fn trouble(&mut self, mut trouble: Trouble) {
        if trouble.kind == TroubleKind::ClusterAway {
            // A broker that does not know us hangs up, and a group that may not be used has no coordinator: no other trouble.
            let known = [TroubleKind::Unauthenticated, TroubleKind::GroupDenied];
            if known.iter().any(|kind| self.troubles.stands(*kind)) {
                return;
            }
            let cluster = &self.settings.cluster;
            trouble.text = format!(
                "cluster `{}` ({}) does not answer: {}",
                cluster.name, cluster.bootstrap_servers, self.last_failure
            );
        }
        let fatal = trouble.kind.fatal();
        if let Some(trouble) = self.troubles.rise(trouble, Instant::now()) {
            self.events.push(SourceEvent::Trouble(trouble));
        }
        self.next_look = self.next_look.min(Instant::now() + LOOK_AGAIN);
        if fatal {
            self.abandon();
        }
    }

    /// The client and the group no longer agree on what is held: only a new client is sure to read everything.
    fn broken(&mut self, error: &ClientError, doing: &str) {
        let text = KafkaError::from_client(error, doing, None).text;
        let kind = TroubleKind::ClientBroken;
        self.trouble(Trouble { kind, text });
    }

    fn client_error(&mut self, error: &ClientError, doing: &str) {
        let error = KafkaError::from_client(error, doing, None);
        let kind = TroubleKind::Other;
        self.trouble(Trouble {
            kind,
            ..of_error(&error)
        });
    }

    fn well(&mut self, kinds: &[TroubleKind]) {
        let fallen = kinds.iter().filter_map(|kind| self.troubles.fall(*kind));
        self.events.extend(fallen.map(SourceEvent::Recovered));
    }
}

fn list<'a>(places: impl Iterator<Item = (&'a Place, Offset)>) -> Result<TopicPartitionList, ClientError> {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in places {
        list.add_partition_offset(topic, *partition, offset)?;
    }
    Ok(list)
}

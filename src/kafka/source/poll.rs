//! The poll thread: the only one that polls, assigns and lets go.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer, RebalanceProtocol};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::commit::Commits;
use super::desk::{Desk, Slot};
use super::events::{SourceEvent, SourceSettings, Topics, Trouble, TroubleKind};
use super::inbox::Inbox;
use super::native::{Place, Polled, Queue, cached_watermarks};
use super::routes::Routes;
use super::scout::{Finding, Job, Scout};
use super::trouble::{Troubles, of_error, of_event};
use super::{Client, Line, Quiet};
use crate::delivery::event::{Assignment, CommitEntry};
use crate::kafka::error::{KafkaError, Kind};
use crate::kafka::start::lost;

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
/// How long leaving the group may take.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);

/// What the poll thread is told.
pub(super) enum Command {
    Commit(Vec<CommitEntry>),
    Pause(Vec<Assignment>),
    Resume(Vec<Assignment>),
    Release(Assignment),
    Close,
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
    phase: Phase,
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
    /// What is held is being drained; the group is left after that.
    Closing,
    /// The group is being left.
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
            desk: Desk::default(),
            routes: Routes::default(),
            events: Vec::new(),
            troubles: Troubles::default(),
            subscribed: Vec::new(),
            phase: Phase::Reading,
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
        self.inbox.end();
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Commit(entries) => self.commits.send(&self.queue, entries, &self.desk, &mut self.events),
            Command::Pause(assignments) => self.set_paused(&assignments, true),
            Command::Resume(assignments) => self.set_paused(&assignments, false),
            Command::Release(assignment) => {
                if let Some(places) = self.desk.release(assignment) {
                    self.let_go(&places);
                }
                self.routes.clear();
            }
            Command::Close if self.phase == Phase::Reading => {
                self.phase = Phase::Closing;
                self.desk.drain_all(&mut self.events);
                self.routes.clear();
            }
            Command::Close => {}
            Command::Abandon => self.abandon(),
            Command::Found(finding) => self.learn(finding),
        }
    }

    fn learn(&mut self, finding: Finding) {
        match finding {
            Finding::Ready(topics) => {
                self.looking = false;
                self.next_look = Instant::now() + if self.troubles.any() { LOOK_AGAIN } else { LOOK_EVERY };
                self.well(&[
                    TroubleKind::ClusterAway,
                    TroubleKind::Unauthenticated,
                    TroubleKind::Other,
                ]);
                self.subscribe_to(&topics);
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
                if self.commits.answered(whole, parts, &mut self.events) && self.desk.is_revoking() {
                    self.lose_revoke();
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

    fn assigned(&mut self, places: Vec<Place>) {
        self.well(&[TroubleKind::GroupDenied, TroubleKind::ClusterAway, TroubleKind::Other]);
        match self.phase {
            Phase::Reading => {
                let ticket = self.desk.assign(places.clone());
                if places.is_empty() {
                    self.desk.resolved(ticket, Vec::new(), &mut self.events);
                    self.take_up(&[]);
                } else {
                    self.scout.ask(Job::Resolve(ticket, places));
                }
            }
            // The group is being left, which answers this one too.
            Phase::Closing => {
                self.desk.assign(places);
            }
            Phase::Leaving(_) | Phase::Ended => self.let_all_go(),
        }
    }

    fn revoked(&mut self, places: Vec<Place>) {
        if let Phase::Leaving(_) | Phase::Ended = self.phase {
            self.let_all_go();
        } else if self.client.assignment_lost() {
            self.desk.lose(&places, &mut self.events);
            self.let_go(&places);
        } else if let Some(places) = self.desk.revoke(places, &mut self.events) {
            self.let_go(&places);
        }
        self.routes.clear();
    }

    fn lose_revoke(&mut self) {
        if let Some(places) = self.desk.lose_revoke(&mut self.events) {
            self.let_go(&places);
        }
        self.routes.clear();
    }

    /// Begins to fetch what was assigned, from where it begins.
    fn take_up(&mut self, begins: &[(Place, i64)]) {
        self.routes.clear();
        let taken = list(begins.iter().map(|(place, at)| (place, Offset::Offset(*at)))).and_then(|list| {
            match self.client.rebalance_protocol() {
                RebalanceProtocol::Cooperative => self.client.incremental_assign(&list),
                RebalanceProtocol::Eager | RebalanceProtocol::None => self.client.assign(&list),
            }
        });
        if let Err(error) = taken {
            let places: Vec<Place> = begins.iter().map(|(place, _)| place.clone()).collect();
            self.desk.lose(&places, &mut self.events);
            self.client_error(&error, "take up an assignment");
        } else if self.starved {
            self.pause_fetching();
        }
        self.wake_fetchers();
    }

    /// Tells the group that these are free.
    fn let_go(&mut self, places: &[Place]) {
        let freed = match self.client.rebalance_protocol() {
            RebalanceProtocol::Cooperative => list(places.iter().map(|place| (place, Offset::Invalid)))
                .and_then(|list| self.client.incremental_unassign(&list)),
            RebalanceProtocol::Eager | RebalanceProtocol::None => self.client.unassign(),
        };
        if let Err(error) = freed {
            self.client_error(&error, "let an assignment go");
        }
        self.wake_fetchers();
    }

    /// The same while leaving, where the library takes every answer as this one.
    fn let_all_go(&mut self) {
        let _ = self.client.unassign();
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

    fn found_log(&mut self, assignment: Assignment, low: i64, high: i64) {
        let Some(position) = self.desk.get(assignment).map(|s| s.position) else {
            return;
        };
        let Some((place, to)) = self
            .desk
            .out_of_range(assignment, lost(position, low, high), &mut self.events)
        else {
            return;
        };
        self.routes.clear();
        debug_assert!(
            self.desk.at(&place).is_some_and(|s| s.position == to),
            "the desk says where reading goes on"
        );
        self.restarts.push(place);
    }

    /// Reads on where an offset was not in the log. The client stops such a partition, and only starts it again when it
    /// is given anew; but not while the group waits for an answer, which this would be taken for.
    fn restart(&mut self) {
        if self.restarts.is_empty() || self.desk.is_assigning() || self.desk.is_revoking() {
            return;
        }
        let mut places = std::mem::take(&mut self.restarts);
        places.retain(|place| self.desk.at(place).is_some_and(|slot| !slot.draining));
        let eager = !matches!(self.client.rebalance_protocol(), RebalanceProtocol::Cooperative);
        if eager && !places.is_empty() {
            places = self.desk.places();
        }
        let held: Vec<(Place, &Slot)> = places
            .iter()
            .filter_map(|p| Some((p.clone(), self.desk.at(p)?)))
            .collect();
        let begins: Vec<(Place, i64)> = held
            .iter()
            .map(|(place, slot)| (place.clone(), slot.position))
            .collect();
        let paused: Vec<Place> = held
            .into_iter()
            .filter(|(_, s)| s.paused)
            .map(|(place, _)| place)
            .collect();
        if begins.is_empty() {
            return;
        }
        if !eager {
            self.let_go(&places);
        }
        self.take_up(&begins);
        self.fetch_of(&paused, false);
    }

    fn set_paused(&mut self, assignments: &[Assignment], paused: bool) {
        let mut places = Vec::new();
        for assignment in assignments {
            if let Some(slot) = self.desk.get_mut(*assignment).filter(|s| s.paused != paused) {
                slot.paused = paused;
                places.push((slot.source.topic.to_string(), slot.source.partition));
            }
        }
        // A starved source fetches nothing anyway, and resumes what is not paused when it is fed again.
        if !self.starved {
            self.fetch_of(&places, !paused);
        }
    }

    fn fetch_of(&mut self, places: &[Place], fetch: bool) {
        if places.is_empty() {
            return;
        }
        let done = list(places.iter().map(|place| (place, Offset::Invalid))).and_then(|list| match fetch {
            true => self.client.resume(&list),
            false => self.client.pause(&list),
        });
        if let Err(error) = done {
            self.client_error(&error, "pause or resume fetching");
        } else if fetch {
            self.scout.ask(Job::Wake(places.to_vec()));
        }
    }

    /// What is kept was not fetched while the group moved; it is again, and at once.
    fn wake_fetchers(&self) {
        let kept = self.unpaused();
        if !kept.is_empty() {
            self.scout.ask(Job::Wake(kept));
        }
    }

    /// A full inbox is waited for, for a moment. Callbacks are served all the same: after that, fetching pauses and polling
    /// goes on.
    fn make_room(&mut self) {
        if self.starved && self.inbox.is_half_empty() {
            self.starved = false;
            self.fetch_of(&self.unpaused(), true);
        } else if !self.starved && !self.inbox.has_room() && !self.inbox.wait_for_room(STARVED_AFTER) {
            self.starved = true;
            self.pause_fetching();
        }
    }

    fn pause_fetching(&mut self) {
        self.fetch_of(&self.unpaused(), false);
    }

    fn unpaused(&self) -> Vec<Place> {
        let unpaused = self.desk.slots().filter(|s| !s.paused);
        unpaused
            .map(|s| (s.source.topic.to_string(), s.source.partition))
            .collect()
    }

    fn keep_time(&mut self, now: Instant) {
        if self.inbox.deserted() {
            self.abandon();
        }
        match self.phase {
            Phase::Reading => self.look_around(now),
            Phase::Closing if self.desk.is_empty() => self.leave(now),
            Phase::Closing => {}
            Phase::Leaving(until) => {
                if self.client.closed() || now >= until {
                    self.phase = Phase::Ended;
                }
            }
            Phase::Ended => {}
        }
    }

    fn look_around(&mut self, now: Instant) {
        if now >= self.next_look && !self.looking {
            self.looking = true;
            self.scout.ask(Job::Look);
        }
        if self.desk.is_revoking() && self.client.assignment_lost() {
            self.lose_revoke();
        }
        if now >= self.next_watermarks {
            self.next_watermarks = now + self.settings.watermarks_every;
            self.tell_watermarks();
        }
    }

    fn tell_watermarks(&mut self) {
        let mut unknown = Vec::new();
        for slot in self.desk.slots().filter(|s| !s.draining) {
            let (topic, partition) = (&*slot.source.topic, slot.source.partition);
            let fetched = !slot.paused && !self.starved;
            match cached_watermarks(&self.client, topic, partition).filter(|_| fetched) {
                Some((low, high)) => self.events.push(SourceEvent::Watermarks {
                    assignment: slot.assignment,
                    low,
                    high,
                }),
                // Nobody fetches it, so that nothing brings them along.
                None => unknown.push((slot.assignment, (topic.to_owned(), partition))),
            }
        }
        if !unknown.is_empty() && !self.looking {
            self.scout.ask(Job::Watermarks(unknown));
        }
    }

    fn leave(&mut self, now: Instant) {
        self.phase = Phase::Leaving(now + LEAVE_WITHIN);
        if let Err(error) = self.client.close_queue() {
            self.client_error(&error, "leave the group");
            self.phase = Phase::Ended;
        }
        if self.desk.is_assigning() || self.desk.is_revoking() {
            self.let_all_go();
        }
    }

    /// Leaves at once, and drains nothing.
    fn abandon(&mut self) {
        if let Phase::Reading | Phase::Closing = self.phase {
            self.flush();
            let places = self.desk.places();
            self.desk.lose(&places, &mut self.events);
            self.routes.clear();
            self.leave(Instant::now());
        }
    }

    fn looked(&mut self, topics: &[String], troubles: Vec<Trouble>) {
        self.looking = false;
        self.well(&[TroubleKind::ClusterAway, TroubleKind::Unauthenticated]);
        let standing: BTreeSet<TroubleKind> = troubles.iter().map(|t| t.kind).collect();
        if !standing.contains(&TroubleKind::TopicMissing) {
            self.well(&[TroubleKind::TopicMissing]);
        }
        if !standing.contains(&TroubleKind::TopicDenied) && !self.fetch_denied {
            self.well(&[TroubleKind::TopicDenied]);
        }
        for trouble in troubles {
            self.trouble(trouble);
        }
        self.subscribe_to(topics);
        self.next_look = Instant::now() + if self.troubles.any() { LOOK_AGAIN } else { LOOK_EVERY };
    }

    /// Subscribes to what is there. A topic that can't be seen just now stays: the client gets over that by itself.
    fn subscribe_to(&mut self, topics: &[String]) {
        if self.phase != Phase::Reading {
            return;
        }
        let before = self.subscribed.len();
        for (name, missed) in &mut self.subscribed {
            *missed = if topics.contains(name) { 0 } else { *missed + 1 };
        }
        if let Topics::Pattern(_) = self.settings.topics {
            self.subscribed.retain(|(_, missed)| *missed <= LOOKS_WITHOUT);
        }
        let new = topics
            .iter()
            .filter(|t| !self.subscribed.iter().any(|(name, _)| name == *t));
        let new: Vec<_> = new.map(|t| (t.clone(), 0)).collect();
        let changed = before != self.subscribed.len() || !new.is_empty();
        self.subscribed.extend(new);
        if !changed {
            return;
        }
        let names: Vec<&str> = self.subscribed.iter().map(|(name, _)| name.as_str()).collect();
        let done = match names.is_empty() {
            true => {
                self.client.unsubscribe();
                Ok(())
            }
            false => self.client.subscribe(&names),
        };
        if let Err(error) = done {
            self.client_error(&error, "subscribe to the topics");
        }
    }

    fn trouble(&mut self, mut trouble: Trouble) {
        if trouble.kind == TroubleKind::ClusterAway {
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
}

fn list<'a>(places: impl Iterator<Item = (&'a Place, Offset)>) -> Result<TopicPartitionList, ClientError> {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in places {
        list.add_partition_offset(topic, *partition, offset)?;
    }
    Ok(list)
}

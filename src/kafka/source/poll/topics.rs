//! Which topics there are, looked for again and again, and the subscription that follows them.

use std::collections::BTreeSet;
use std::time::Instant;

use rdkafka::consumer::Consumer;

use super::{LOOK_AGAIN, LOOK_EVERY, LOOKS_WITHOUT, Phase, Poller};
use crate::delivery::group::Place;
use crate::kafka::source::events::{Topics, Trouble, TroubleKind};
use crate::kafka::source::scout::Job;

impl Poller {
    pub(super) fn look_around(&mut self, now: Instant) {
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

    pub(super) fn looked(&mut self, topics: &[String], troubles: Vec<Trouble>) {
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

    /// The broker takes a static member that comes back as the one that went, whatever it subscribes to now. So one that has
    /// other topics than before first comes back as it was, and then changes its mind: that makes the group share out anew.
    pub(super) fn subscribe_anew(&mut self, topics: Vec<String>, before: &[String]) {
        let (now, then): (BTreeSet<&String>, BTreeSet<&String>) = (topics.iter().collect(), before.iter().collect());
        if before.is_empty() || now == then {
            return self.subscribe_to(&topics);
        }
        self.subscribe_to(before);
        self.subscribe_next = Some(topics);
    }

    /// What waited for the group to give something is subscribed to instead of what was before; of what it gave, that alone
    /// is taken up.
    pub(super) fn change_mind(&mut self, places: &mut Vec<Place>) {
        if let Some(topics) = self.subscribe_next.take() {
            places.retain(|(topic, _)| topics.contains(topic));
            self.subscribed = topics.into_iter().map(|topic| (topic, 0)).collect();
            self.subscribe();
        }
    }

    /// Subscribes to what is there. A topic that can't be seen just now stays: the client gets over that by itself.
    pub(super) fn subscribe_to(&mut self, topics: &[String]) {
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
        if changed {
            self.subscribe();
        }
    }

    fn subscribe(&mut self) {
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
}

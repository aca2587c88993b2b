//! Fetching, paused and resumed: by the pipeline for a partition, by a full inbox for all.

use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::Offset;

use super::{Poller, STARVED_AFTER, list};
use crate::delivery::event::Assignment;
use crate::delivery::group::Place;
use crate::kafka::source::events::SourceEvent;
use crate::kafka::source::native::cached_watermarks;
use crate::kafka::source::scout::Job;

impl Poller {
    pub(super) fn set_paused(&mut self, assignments: &[Assignment], paused: bool) {
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

    pub(super) fn fetch_of(&mut self, places: &[Place], fetch: bool) {
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
    pub(super) fn wake_fetchers(&self) {
        let kept = self.unpaused();
        if !kept.is_empty() {
            self.scout.ask(Job::Wake(kept));
        }
    }

    /// A full inbox is waited for, for a moment. Callbacks are served all the same: after that, fetching pauses and polling
    /// goes on.
    pub(super) fn make_room(&mut self) {
        if self.starved && self.inbox.is_half_empty() {
            self.starved = false;
            self.fetch_of(&self.unpaused(), true);
        } else if !self.starved && !self.inbox.has_room() && !self.inbox.wait_for_room(STARVED_AFTER) {
            self.starved = true;
            self.pause_fetching();
        }
    }

    pub(super) fn pause_fetching(&mut self) {
        self.fetch_of(&self.unpaused(), false);
    }

    pub(super) fn unpaused(&self) -> Vec<Place> {
        let unpaused = self.desk.slots().filter(|s| !s.paused);
        unpaused
            .map(|s| (s.source.topic.to_string(), s.source.partition))
            .collect()
    }

    pub(super) fn tell_watermarks(&mut self) {
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
}

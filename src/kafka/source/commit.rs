//! Commits: offset and memo in one request, and each entry's own outcome.

use std::collections::HashMap;

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::Quiet;
use super::desk::Desk;
use super::events::SourceEvent;
use super::native::{Place, Queue};
use crate::delivery::event::{Assignment, CommitEntry};
use crate::kafka::error::{Kind, Resource, Right, said};

/// The commit in flight.
#[derive(Default)]
pub(super) struct Commits {
    waiting: Vec<(Place, Assignment)>,
    refused: Vec<(Assignment, Result<(), String>)>,
    group: String,
}

impl Commits {
    pub(super) fn new(group: &str) -> Commits {
        Commits {
            group: group.to_owned(),
            ..Commits::default()
        }
    }

    /// Sends what is held; if nothing can be sent, the answer is there at once.
    pub(super) fn send(
        &mut self,
        queue: &Queue<Quiet>,
        entries: Vec<CommitEntry>,
        desk: &Desk,
        events: &mut Vec<SourceEvent>,
    ) {
        if !self.waiting.is_empty() {
            let busy = "another commit of this source is in flight".to_owned();
            let outcomes = entries.iter().map(|e| (e.assignment, Err(busy.clone()))).collect();
            events.push(SourceEvent::Committed { outcomes });
            return;
        }
        let (held, gone): (Vec<_>, Vec<_>) = entries.into_iter().partition(|e| desk.get(e.assignment).is_some());
        let not_held = |e: CommitEntry| (e.assignment, Err(format!("{} is not held any more", e.source)));
        self.refused = gone.into_iter().map(not_held).collect();
        self.waiting = held
            .iter()
            .map(|e| ((e.source.topic.to_string(), e.source.partition), e.assignment))
            .collect();
        if held.is_empty() {
            self.finish(events, |_| Ok(()));
            return;
        }
        let sent = list(&held).and_then(|list| queue.commit(&list).map_err(ClientError::ConsumerCommit));
        if let Err(error) = sent {
            self.finish(events, |_| Err(error.to_string()));
        }
    }

    /// The broker's answer; the error, if there is one.
    pub(super) fn answered(
        &mut self,
        whole: Result<(), Code>,
        parts: Vec<(Place, Result<(), Code>)>,
        events: &mut Vec<SourceEvent>,
    ) -> Option<Code> {
        if self.waiting.is_empty() {
            return None;
        }
        let parts: HashMap<Place, Result<(), Code>> = parts.into_iter().collect();
        let of = |place: &Place| parts.get(place).copied().unwrap_or(Ok(())).and(whole);
        let error = self.waiting.iter().find_map(|(place, _)| of(place).err());
        let group = self.group.clone();
        self.finish(events, |place| of(place).map_err(|code| refusal(code, place, &group)));
        error
    }

    fn finish(&mut self, events: &mut Vec<SourceEvent>, outcome: impl Fn(&Place) -> Result<(), String>) {
        let mut outcomes = std::mem::take(&mut self.refused);
        outcomes.extend(
            self.waiting
                .drain(..)
                .map(|(place, assignment)| (assignment, outcome(&place))),
        );
        events.push(SourceEvent::Committed { outcomes });
    }
}

/// Offsets, each with its memo.
pub(in crate::kafka) fn list(entries: &[CommitEntry]) -> Result<TopicPartitionList, ClientError> {
    let mut list = TopicPartitionList::with_capacity(entries.len());
    for entry in entries {
        let (topic, partition) = (&entry.source.topic, entry.source.partition);
        list.add_partition_offset(topic, partition, Offset::Offset(entry.offset))?;
        if let Some(mut added) = list.find_partition(topic, partition) {
            added.set_metadata(&entry.memo);
        }
    }
    Ok(list)
}

fn refusal(code: Code, (topic, _): &Place, group: &str) -> String {
    match Kind::of(code) {
        Kind::Denied(Resource::Topic) => format!("{}; grant {}", said(code), Right::ReadTopic(topic.clone())),
        Kind::Denied(_) => format!("{}; grant {}", said(code), Right::UseGroup(group.to_owned())),
        _ => said(code),
    }
}

//! Commits: offset and memo in one request, and each entry's own outcome.

use std::collections::HashMap;

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::Quiet;
use super::events::SourceEvent;
use super::native::Queue;
use crate::delivery::event::CommitEntry;
use crate::delivery::group::{self, Desk, Place};
use crate::kafka::error::{Kind, Resource, Right, said};

/// The commit in flight.
pub(super) struct Commits {
    entries: group::Commits,
    group: String,
}

impl Commits {
    pub(super) fn new(group: &str) -> Commits {
        Commits {
            entries: group::Commits::default(),
            group: group.to_owned(),
        }
    }

    /// Sends what is held; if nothing can be sent, the answer is there at once.
    pub(super) fn send(
        &mut self,
        queue: &Queue<Quiet>,
        entries: Vec<CommitEntry>,
        desk: &mut Desk,
        events: &mut Vec<SourceEvent>,
    ) {
        let held = self.entries.take(entries, desk, events);
        if held.is_empty() {
            return;
        }
        let sent = list(&held).and_then(|list| queue.commit(&list).map_err(ClientError::ConsumerCommit));
        if let Err(error) = sent {
            self.entries.finish(desk, events, |_| Err(error.to_string()));
        }
    }

    /// The broker's answer; the error, if there is one.
    pub(super) fn answered(
        &mut self,
        whole: Result<(), Code>,
        parts: Vec<(Place, Result<(), Code>)>,
        desk: &mut Desk,
        events: &mut Vec<SourceEvent>,
    ) -> Option<Code> {
        if !self.entries.in_flight() {
            return None;
        }
        let parts: HashMap<Place, Result<(), Code>> = parts.into_iter().collect();
        let of = |place: &Place| parts.get(place).copied().unwrap_or(Ok(())).and(whole);
        let error = self.entries.places().find_map(|place| of(place).err());
        let group = &self.group;
        self.entries.finish(desk, events, |place| {
            of(place).map_err(|code| refusal(code, place, group))
        });
        error
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

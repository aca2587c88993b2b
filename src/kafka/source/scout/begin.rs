//! Before the first record: is the group ours, and where does a pipeline start that has never run.

use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::{Finding, Sight, Worker};
use crate::delivery::group::Place;
use crate::kafka::admin::{self, GroupMember};
use crate::kafka::error::{KafkaError, Kind, Resource, Right};
use crate::kafka::source::events::Start;
use crate::kafka::source::{client_id, is_static};

impl Worker {
    pub(super) fn begin(&self) {
        let begun = self.insist(|| {
            // In this order: asked without metadata, the client library may sleep a second over a group's members.
            let mut sight = self.look()?;
            // A topic that is there and may not be read is one that `start` will apply to.
            if let Some(denied) = sight.denied.take() {
                return Err(denied);
            }
            let before = self.refuse_strangers()?;
            self.start_once(&sight)?;
            Ok((sight, before))
        });
        if let Some((sight, before)) = begun {
            for trouble in sight.troubles {
                (self.tell)(Finding::Trouble(trouble));
            }
            let topics = sight.there.into_iter().map(|(name, _)| name).collect();
            (self.tell)(Finding::Ready { topics, before });
        }
    }

    /// A group belongs to one pipeline: two that share one would take each other's records. What is found are the topics that
    /// a static member subscribed to before it went away.
    fn refuse_strangers(&self) -> Result<Vec<String>, KafkaError> {
        let (group, pipeline) = (&self.settings.group, &self.settings.pipeline);
        let members = match admin::group_members(self.client.client(), group) {
            Ok(members) => members,
            // Who may not look finds out when joining whether the group may be used.
            // So does one whose broker does not know the question, as the embedded one.
            Err(error) if matches!(error.kind, Kind::Denied(_) | Kind::Refused) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let ours = format!("fnbridge/{pipeline}/");
        match members.iter().find(|m| !m.client_id.starts_with(&ours)) {
            None => Ok(self.subscribed_before(members)),
            Some(stranger) => Err(KafkaError::new(
                Kind::GroupInUse,
                format!(
                    "group `{group}` has a member that is not of pipeline `{pipeline}`: client `{}` at {}; \
                     stop it, or give the pipeline a group of its own",
                    stranger.client_id, stranger.host
                ),
            )),
        }
    }

    fn subscribed_before(&self, members: Vec<GroupMember>) -> Vec<String> {
        let ours = client_id(&self.settings);
        let before = (members.into_iter()).find(|member| is_static(&self.settings) && member.client_id == ours);
        before.map(|member| member.topics).unwrap_or_default()
    }

    /// `start` applies once: where the group has no offset on any partition of the source, all of them are resolved and
    /// committed before anybody reads. A pipeline that has run before starts at the beginning: its offsets have expired, and
    /// what is not settled is somewhere in the log.
    fn start_once(&self, sight: &Sight) -> Result<(), KafkaError> {
        let places = sight.places();
        if places.is_empty() || self.committed(&places)?.values().any(Option::is_some) {
            return Ok(());
        }
        if self.settings.has_run {
            self.offsets_are_gone.set(true);
            return Ok(());
        }
        let offsets = self.start_offsets(&places)?;
        match self.commit_offsets(&offsets) {
            // Somebody has joined meanwhile, who has done the same before: look again.
            Err(error) if error.kind == Kind::NotMember => {
                Err(KafkaError::new(Kind::Passing, format!("{}; looking again", error.text)))
            }
            other => other,
        }
    }

    fn start_offsets(&self, places: &[Place]) -> Result<Vec<(Place, i64)>, KafkaError> {
        let at = match self.settings.start {
            Start::Earliest => Offset::Beginning,
            Start::Latest => Offset::End,
            Start::At(ms) => Offset::Offset(ms.max(0)),
        };
        let mut answers = self.offsets(places, at)?;
        // After the last record of that time stands the end.
        let ends: Vec<Place> = places
            .iter()
            .filter(|p| answers.get(*p) == Some(&Ok(-1)))
            .cloned()
            .collect();
        answers.extend(self.offsets(&ends, Offset::End)?);
        let offset = |place: &Place| match answers.get(place) {
            Some(Ok(offset)) => Ok((place.clone(), *offset)),
            Some(Err(code)) => {
                let doing = format!("see where {}/{} starts", place.0, place.1);
                Err(KafkaError::from_code(
                    *code,
                    &doing,
                    Some(Right::ReadTopic(place.0.clone())),
                ))
            }
            None => Err(KafkaError::new(Kind::Passing, "the cluster's answer lacks a partition")),
        };
        places.iter().map(offset).collect()
    }

    /// Commits and waits, without a memo.
    pub(super) fn commit_offsets(&self, offsets: &[(Place, i64)]) -> Result<(), KafkaError> {
        let group = &self.settings.group;
        let doing = format!("commit where group `{group}` starts");
        let failed = |e: ClientError| {
            let right = match e.rdkafka_error_code().map(Kind::of) {
                Some(Kind::Denied(Resource::Topic)) => Right::ReadTopic(topics(offsets)),
                _ => Right::UseGroup(group.clone()),
            };
            KafkaError::from_client(&e, &doing, Some(right))
        };
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for ((topic, partition), offset) in offsets {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))
                .map_err(failed)?;
        }
        self.client.commit(&list, CommitMode::Sync).map_err(failed)
    }
}

/// The topics' names, for a sentence.
fn topics(offsets: &[(Place, i64)]) -> String {
    let mut names: Vec<&str> = offsets.iter().map(|((topic, _), _)| topic.as_str()).collect();
    names.dedup();
    names.join("`, `")
}

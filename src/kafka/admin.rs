//! What a pipeline asks of a cluster beside reading and writing: does a topic exist, how is it kept, create it, who is in
//! a group.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::Client;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

use super::cluster::ClusterSettings;
use super::embedded;
use super::error::{KafkaError, Kind, Resource, Right, without_times};
use super::native::RawQueue;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client for questions. Cloning is cheap; the methods wait on threads of their own, not on the caller's.
#[derive(Clone)]
pub struct Admin {
    inner: Arc<Inner>,
    cluster: Arc<ClusterSettings>,
}

struct Inner {
    /// First, for it has to go before its client. Nobody else reads what the client says of its connections.
    errors: RawQueue,
    client: AdminClient<Quiet>,
}

/// A topic that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFacts {
    /// How many partitions it has.
    pub partitions: i32,
    /// On how many brokers each is kept.
    pub replication: i32,
}

/// How a topic is kept, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// `cleanup.policy`: `delete`, `compact`, or both, separated by a comma.
    pub cleanup_policy: String,
    /// `retention.ms`; -1 is for ever.
    pub retention_ms: i64,
    /// `max.message.bytes`.
    pub max_message_bytes: usize,
    /// `message.timestamp.after.max.ms`: how far ahead of its broker's clock a record may be. Brokers before 3.6 do not ask.
    pub max_ahead_ms: Option<i64>,
}

/// A topic to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPlan {
    /// Its name.
    pub name: String,
    /// How many partitions.
    pub partitions: i32,
    /// On how many brokers each is kept; `None` is the cluster's default.
    pub replication: Option<i32>,
    /// Settings by Kafka's names, such as `cleanup.policy`.
    pub config: Vec<(String, String)>,
    /// Only asks whether it could be created.
    pub dry_run: bool,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// What it calls itself.
    pub client_id: String,
    /// Where it runs, as the broker sees it.
    pub host: String,
    /// The topics that it subscribes to, as far as the broker tells.
    pub topics: Vec<String>,
}

impl Admin {
    /// Opens a client. This does not wait for the cluster; it only fails on settings that can't work.
    ///
    /// # Errors
    /// [`Kind::Settings`], with the property that is wrong.
    pub fn open(cluster: Arc<ClusterSettings>, client_id: &str) -> Result<Admin, KafkaError> {
        let mut config = cluster.client_config();
        config.set("client.id", client_id);
        let client = AdminClient::from_config_and_context(&config, Quiet).map_err(|e| {
            let doing = format!("open a client of cluster `{}`", cluster.name);
            KafkaError::from_client(&e, &doing, None)
        })?;
        Ok(Admin {
            // SAFETY: it is dropped before the client.
            inner: Arc::new(Inner {
                errors: unsafe { RawQueue::of_main(client.inner().native_ptr()) },
                client,
            }),
            cluster,
        })
    }

    /// A topic's partitions and replication; `None` where it does not exist.
    ///
    /// # Errors
    /// [`Kind::Denied`] where it may not be seen, [`Kind::Away`] after 10 s without an answer.
    pub async fn describe_topic(&self, topic: &str) -> Result<Option<TopicFacts>, KafkaError> {
        let topic = topic.to_owned();
        self.blocking(move |client| describe(client, &topic)).await
    }

    /// How a topic is kept.
    ///
    /// # Errors
    /// [`Kind::Missing`] where it does not exist, and as [`describe_topic`](Self::describe_topic).
    pub async fn topic_config(&self, topic: &str) -> Result<TopicConfig, KafkaError> {
        if self.cluster.embedded {
            return Ok(embedded::topic_config());
        }
        let doing = format!("see the settings of topic `{topic}`");
        let needs = || Some(Right::DescribeTopic(topic.to_owned()));
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let answers = (self.inner.client)
            .describe_configs(&[ResourceSpecifier::Topic(topic)], &options)
            .await
            .map_err(|e| self.explain(KafkaError::from_client(&e, &doing, needs())))?;
        let resource = match answers.into_iter().next() {
            Some(Ok(resource)) => resource,
            Some(Err(code)) => return Err(KafkaError::from_code(code, &doing, needs())),
            None => {
                return Err(KafkaError::new(
                    Kind::Other,
                    format!("could not {doing}: an empty answer"),
                ));
            }
        };
        if resource.entries.is_empty() {
            return Err(KafkaError {
                right: needs(),
                ..KafkaError::new(
                    Kind::Denied(Resource::Topic),
                    format!("could not {doing}: the cluster shows none"),
                )
            });
        }
        let value = |name: &str| resource.get(name).and_then(|entry| entry.value.clone());
        let number = |name: &str| value(name).and_then(|v| v.parse::<i64>().ok());
        let (Some(cleanup_policy), Some(retention_ms), Some(max_message_bytes)) = (
            value("cleanup.policy"),
            number("retention.ms"),
            number("max.message.bytes").and_then(|n| usize::try_from(n).ok()),
        ) else {
            let text = format!("could not {doing}: the answer lacks cleanup.policy, retention.ms or max.message.bytes");
            return Err(KafkaError::new(Kind::Other, text));
        };
        Ok(TopicConfig {
            cleanup_policy,
            retention_ms,
            max_message_bytes,
            max_ahead_ms: number("message.timestamp.after.max.ms"),
        })
    }

    /// Creates a topic. True: it was created (or could be); false: it was there already.
    ///
    /// # Errors
    /// [`Kind::Denied`] with the right that is missing, [`Kind::Refused`] where the cluster's policy says no.
    pub async fn create_topic(&self, plan: &TopicPlan) -> Result<bool, KafkaError> {
        if self.cluster.embedded {
            return embedded::refuse_to_create(&plan.name);
        }
        let doing = format!("create topic `{}`", plan.name);
        let needs = || Some(Right::CreateTopic(plan.name.clone()));
        let mut topic = NewTopic::new(
            &plan.name,
            plan.partitions,
            TopicReplication::Fixed(plan.replication.unwrap_or(-1)),
        );
        for (name, value) in &plan.config {
            topic = topic.set(name, value);
        }
        let options = (AdminOptions::new().request_timeout(Some(PATIENCE)))
            .operation_timeout(Some(PATIENCE))
            .validate_only(plan.dry_run);
        let answers = (self.inner.client.create_topics([&topic], &options).await)
            .map_err(|e| self.explain(KafkaError::from_client(&e, &doing, needs())))?;
        match answers.into_iter().next() {
            Some(Ok(_)) => Ok(true),
            Some(Err((_, Code::TopicAlreadyExists))) => Ok(false),
            Some(Err((_, code))) => Err(KafkaError::from_code(code, &doing, needs())),
            None => Err(KafkaError::new(
                Kind::Other,
                format!("could not {doing}: an empty answer"),
            )),
        }
    }

    /// The log's first offset and the one after its last.
    ///
    /// # Errors
    /// As [`describe_topic`](Self::describe_topic).
    pub async fn watermarks(&self, topic: &str, partition: i32) -> Result<(i64, i64), KafkaError> {
        let topic = topic.to_owned();
        let ask = move |client: &Client<Quiet>| {
            let doing = format!("see where {topic}/{partition} begins and ends");
            (client.fetch_watermarks(&topic, partition, PATIENCE))
                .map_err(|e| KafkaError::from_client(&e, &doing, Some(Right::DescribeTopic(topic.clone()))))
        };
        self.blocking(ask).await
    }

    /// Who is in a group now.
    ///
    /// # Errors
    /// As [`describe_topic`](Self::describe_topic).
    pub async fn group_members(&self, group: &str) -> Result<Vec<GroupMember>, KafkaError> {
        let group = group.to_owned();
        self.blocking(move |client| group_members(client, &group)).await
    }

    /// The groups whose members read a topic now, as far as the cluster tells.
    ///
    /// # Errors
    /// As [`describe_topic`](Self::describe_topic).
    pub async fn readers(&self, topic: &str) -> Result<Vec<String>, KafkaError> {
        let topic = topic.to_owned();
        self.blocking(move |client| readers(client, &topic)).await
    }

    /// Deletes a group with its offsets; one that is not there is gone already.
    ///
    /// # Errors
    /// [`Kind::GroupInUse`] while it has members; [`Kind::Denied`] with the right that is missing.
    pub async fn delete_group(&self, group: &str) -> Result<(), KafkaError> {
        let doing = format!("delete group `{group}`");
        let needs = || Some(Right::UseGroup(group.to_owned()));
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let answers = (self.inner.client.delete_groups(&[group], &options).await)
            .map_err(|e| self.explain(KafkaError::from_client(&e, &doing, needs())))?;
        match answers.into_iter().next() {
            Some(Ok(_) | Err((_, Code::GroupIdNotFound))) | None => Ok(()),
            Some(Err((_, code))) => Err(KafkaError::from_code(code, &doing, needs())),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Client<Quiet>) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, KafkaError> {
        let inner = Arc::clone(&self.inner);
        let answer = tokio::task::spawn_blocking(move || ask(inner.client.inner())).await;
        let name = &self.cluster.name;
        let answer = answer.unwrap_or_else(|e| {
            let text = format!("cluster `{name}` was not asked: {e}");
            Err(KafkaError::new(Kind::Other, text))
        });
        answer.map_err(|error| self.explain(error))
    }

    /// A question that nobody answers does not say why; the client's connections have said it meanwhile.
    fn explain(&self, error: KafkaError) -> KafkaError {
        let (name, servers) = (&self.cluster.name, &self.cluster.bootstrap_servers);
        let mut away = None;
        while let Some(event) = self.inner.errors.poll(Duration::ZERO) {
            let reason = event.reason();
            let reason = without_times(&reason);
            match Kind::of(event.code()) {
                _ if error.kind != Kind::Away => {}
                Kind::Unauthenticated => {
                    let text = format!("cluster `{name}` does not accept user and password: {reason}");
                    return KafkaError::new(Kind::Unauthenticated, text);
                }
                Kind::Away if event.code() != Code::AllBrokersDown => {
                    let text = format!("cluster `{name}` ({servers}) does not answer: {reason}");
                    away = Some(KafkaError::new(Kind::Away, text));
                }
                _ => {}
            }
        }
        away.unwrap_or(error)
    }
}

/// A topic's partitions and replication; `None` where it does not exist. Blocks.
pub(crate) fn describe<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<Option<TopicFacts>, KafkaError> {
    let doing = format!("see topic `{topic}`");
    let needs = || Some(Right::DescribeTopic(topic.to_owned()));
    let metadata =
        (client.fetch_metadata(Some(topic), PATIENCE / 2)).map_err(|e| KafkaError::from_client(&e, &doing, needs()))?;
    let Some(found) = metadata.topics().iter().find(|t| t.name() == topic) else {
        return Ok(None);
    };
    if let Some(error) = found.error() {
        return match Code::from(error) {
            code if Kind::of(code) == Kind::Missing => Ok(None),
            code => Err(KafkaError::from_code(code, &doing, needs())),
        };
    }
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let partitions = count(found.partitions().len());
    let replication = found.partitions().iter().map(|p| count(p.replicas().len())).max();
    // Right after its creation, a topic may be known and have no partitions yet.
    Ok((partitions > 0).then(|| TopicFacts {
        partitions,
        replication: replication.unwrap_or(1),
    }))
}

/// How many partitions a topic has. Blocks.
pub(crate) fn partition_count<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<i32, KafkaError> {
    match describe(client, topic)? {
        Some(facts) => Ok(facts.partitions),
        None => Err(KafkaError::new(
            Kind::Missing,
            format!("topic `{topic}` does not exist: create it, or name another"),
        )),
    }
}

/// Who is in a group now. Blocks.
pub(crate) fn group_members<C: ClientContext>(client: &Client<C>, group: &str) -> Result<Vec<GroupMember>, KafkaError> {
    let doing = format!("see who is in group `{group}`");
    let needs = || Some(Right::UseGroup(group.to_owned()));
    let list = (client.fetch_group_list(Some(group), PATIENCE / 2))
        .map_err(|e| KafkaError::from_client(&e, &doing, needs()))?;
    let groups = list.groups().iter().filter(|g| g.name() == group);
    let member = |m: &rdkafka::groups::GroupMemberInfo| GroupMember {
        client_id: m.client_id().to_owned(),
        host: m.client_host().to_owned(),
        topics: m.metadata().map(subscribed).unwrap_or_default(),
    };
    Ok(groups.flat_map(|g| g.members().iter().map(member)).collect())
}

/// The topics of a subscription of the consumer protocol, as far as they can be read: a version, a count, and names, each
/// behind its length. <https://kafka.apache.org/protocol#The_Messages_ConsumerProtocolSubscription>
fn subscribed(metadata: &[u8]) -> Vec<String> {
    fn cut<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
        let (part, left) = rest.split_at_checked(len)?;
        *rest = left;
        Some(part)
    }
    let mut rest = metadata;
    let count = (|| {
        cut(&mut rest, 2)?;
        cut(&mut rest, 4)?.try_into().ok().map(u32::from_be_bytes)
    })();
    let names = std::iter::from_fn(|| {
        let len = cut(&mut rest, 2)?.try_into().ok().map(u16::from_be_bytes)?;
        cut(&mut rest, len.into()).map(|name| String::from_utf8_lossy(name).into_owned())
    });
    names.take(count.unwrap_or(0) as usize).collect()
}

/// The groups whose members are assigned partitions of a topic. Blocks.
///
/// An assignment of the consumer protocol holds each topic's name behind its length, in two bytes:
/// <https://kafka.apache.org/protocol#The_Messages_ConsumerProtocolAssignment>.
fn readers<C: ClientContext>(client: &Client<C>, topic: &str) -> Result<Vec<String>, KafkaError> {
    let list = client.fetch_group_list(None, PATIENCE);
    let list = list.map_err(|e| KafkaError::from_client(&e, "see which groups there are", None))?;
    let length = u16::try_from(topic.len()).unwrap_or(u16::MAX).to_be_bytes();
    let named: Vec<u8> = length.into_iter().chain(topic.bytes()).collect();
    let reads = |member: &rdkafka::groups::GroupMemberInfo| {
        let assigned = member.assignment().unwrap_or_default();
        assigned.windows(named.len()).any(|part| part == named)
    };
    let groups = list.groups().iter().filter(|group| group.members().iter().any(reads));
    Ok(groups.map(|group| group.name().to_owned()).collect())
}

/// What goes wrong comes back with the answers; nothing is logged beside them.
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: ClientError, _: &str) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_tells_its_topics_and_what_is_cut_off_tells_no_more_than_it_holds() {
        let whole = b"\0\x03\0\0\0\x02\0\x06orders\0\x04bids\xff\xff\xff\xff";
        assert_eq!(subscribed(whole), ["orders", "bids"]);
        for len in 0..whole.len() {
            let topics = subscribed(&whole[..len]);
            assert!(
                ["orders".to_owned(), "bids".to_owned()].starts_with(&topics),
                "{topics:?}"
            );
        }
        assert!(subscribed(b"\0\0\xff\xff\xff\xff\xff\xffa").is_empty());
    }
}

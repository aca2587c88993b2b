//! One error type for everything that a cluster can refuse, and what each of its codes means here.

use std::fmt;

use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};

/// Something that a cluster, or the client in front of it, did not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaError {
    /// What it means.
    pub kind: Kind,
    /// The right that is missing, where one is.
    pub right: Option<Right>,
    /// One sentence: what was tried, and what was said.
    pub text: String,
}

/// What an error means to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No broker answers: connection, name, TLS, time-out.
    Away,
    /// The cluster answers, but something there is on the move: leaders, coordinator, quotas, transactions.
    Passing,
    /// User or password are not accepted.
    Unauthenticated,
    /// A right is missing: on the topic, the group or the cluster.
    Denied(Resource),
    /// There is no such topic, or no such partition of it.
    Missing,
    /// It is there already.
    Exists,
    /// The group has gone on without this member.
    NotMember,
    /// The group has members.
    GroupInUse,
    /// The offset is not, or no longer, in the log.
    OutOfRange,
    /// A record is larger than the topic or the client allows.
    TooLarge,
    /// The broker does not take this record or request, and never will.
    Refused,
    /// The producer's window is full.
    Full,
    /// Thrown away unsent, on our own order.
    Purged,
    /// The client can't go on, and must be opened again.
    Fatal,
    /// The settings of the cluster are wrong.
    Settings,
    /// None of these.
    Other,
}

/// What a right is held on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// A topic.
    Topic,
    /// A consumer group.
    Group,
    /// The cluster.
    Cluster,
    /// A transactional id.
    Transactions,
}

/// A right that a principal needs, in the words of Kafka's own ACLs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// To read a topic.
    ReadTopic(String),
    /// To write a topic.
    WriteTopic(String),
    /// To create a topic.
    CreateTopic(String),
    /// To see a topic and its settings.
    DescribeTopic(String),
    /// To read as a group, and commit for it.
    UseGroup(String),
    /// To write idempotently (brokers before 3.0 ask for it).
    IdempotentWrite,
    /// To send transactions by this id.
    UseTransactions(String),
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Right::ReadTopic(topic) => write!(f, "Read on topic `{topic}`"),
            Right::WriteTopic(topic) => write!(f, "Write on topic `{topic}`"),
            Right::CreateTopic(topic) => write!(f, "Create on topic `{topic}`"),
            Right::DescribeTopic(topic) => write!(f, "Describe and DescribeConfigs on topic `{topic}`"),
            Right::UseGroup(group) => write!(f, "Read on group `{group}`"),
            Right::IdempotentWrite => write!(f, "IdempotentWrite on the cluster"),
            Right::UseTransactions(id) => write!(f, "Write and Describe on transactional id `{id}`"),
        }
    }
}

impl fmt::Display for KafkaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match &self.right {
            Some(right) => write!(f, "; grant {right}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for KafkaError {}

impl KafkaError {
    /// An error of a kind, in its own words.
    pub(crate) fn new(kind: Kind, text: impl Into<String>) -> KafkaError {
        KafkaError {
            kind,
            right: None,
            text: text.into(),
        }
    }

    /// `doing` says what was tried, as in "could not …"; `needs` is the right that it takes.
    pub(crate) fn from_code(code: Code, doing: &str, needs: Option<Right>) -> KafkaError {
        let kind = Kind::of(code);
        KafkaError {
            kind,
            right: needs.filter(|_| matches!(kind, Kind::Denied(_))),
            text: format!("could not {doing}: {}", said(code)),
        }
    }

    /// The same, from the client library's error type.
    pub(crate) fn from_client(error: &ClientError, doing: &str, needs: Option<Right>) -> KafkaError {
        match (error, error.rdkafka_error_code()) {
            (ClientError::ClientConfig(_, what, name, value), _) => KafkaError::new(
                Kind::Settings,
                format!("could not {doing}: property `{name}` = `{value}`: {what}"),
            ),
            (ClientError::ClientCreation(what), _) => {
                KafkaError::new(Kind::Settings, format!("could not {doing}: {what}"))
            }
            (_, Some(code)) => KafkaError::from_code(code, doing, needs),
            (other, None) => KafkaError::new(Kind::Other, format!("could not {doing}: {other}")),
        }
    }
}

impl Kind {
    /// Trying the same again, later, may work without anybody's doing.
    pub fn retriable(self) -> bool {
        match self {
            Kind::Away | Kind::Passing | Kind::Full => true,
            Kind::Unauthenticated | Kind::Denied(_) | Kind::Missing | Kind::Exists | Kind::NotMember => false,
            Kind::GroupInUse | Kind::OutOfRange | Kind::TooLarge | Kind::Refused | Kind::Purged => false,
            Kind::Fatal | Kind::Settings | Kind::Other => false,
        }
    }

    /// What a code means.
    pub fn of(code: Code) -> Kind {
        match code {
            Code::BrokerTransportFailure | Code::AllBrokersDown | Code::Resolve | Code::SSL => Kind::Away,
            Code::OperationTimedOut | Code::TimedOutQueue | Code::MessageTimedOut => Kind::Away,
            Code::RequestTimedOut | Code::NetworkException | Code::BrokerNotAvailable => Kind::Away,
            Code::BrokerDestroy | Code::DestroyBroker | Code::UnknownBroker => Kind::Away,

            Code::WaitingForCoordinator | Code::CoordinatorLoadInProgress => Kind::Passing,
            Code::CoordinatorNotAvailable | Code::NotCoordinator | Code::NotController => Kind::Passing,
            Code::LeaderNotAvailable | Code::NotLeaderForPartition | Code::ReplicaNotAvailable => Kind::Passing,
            Code::PreferredLeaderNotAvailable | Code::EligibleLeadersNotAvailable => Kind::Passing,
            Code::FencedLeaderEpoch | Code::UnknownLeaderEpoch | Code::OffsetNotAvailable => Kind::Passing,
            Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend | Code::ISRInsufficient => Kind::Passing,
            Code::UnstableOffsetCommit | Code::ConcurrentTransactions | Code::KafkaStorageError => Kind::Passing,
            Code::ThrottlingQuotaExceeded | Code::WaitCache | Code::Retry | Code::InProgress => Kind::Passing,
            Code::PreviousInProgress | Code::UnknownTopicId | Code::ListenerNotFound => Kind::Passing,
            Code::RebootstrapRequired | Code::ReassignmentInProgress | Code::NodeUpdate => Kind::Passing,
            Code::RebalanceInProgress | Code::FetchSessionIdNotFound | Code::InvalidFetchSessionEpoch => Kind::Passing,

            Code::Authentication | Code::SaslAuthenticationFailed => Kind::Unauthenticated,
            Code::UnsupportedSASLMechanism | Code::IllegalSASLState => Kind::Unauthenticated,

            Code::TopicAuthorizationFailed => Kind::Denied(Resource::Topic),
            Code::GroupAuthorizationFailed => Kind::Denied(Resource::Group),
            Code::ClusterAuthorizationFailed => Kind::Denied(Resource::Cluster),
            Code::TransactionalIdAuthorizationFailed => Kind::Denied(Resource::Transactions),

            Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition => Kind::Missing,
            Code::TopicAlreadyExists => Kind::Exists,

            Code::UnknownMemberId | Code::IllegalGeneration | Code::FencedInstanceId => Kind::NotMember,
            Code::FencedMemberEpoch | Code::StaleMemberEpoch | Code::AssignmentLost => Kind::NotMember,
            Code::NonEmptyGroup | Code::GroupSubscribedToTopic => Kind::GroupInUse,

            Code::OffsetOutOfRange | Code::AutoOffsetReset | Code::LogTruncation | Code::NoOffset => Kind::OutOfRange,

            Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => Kind::TooLarge,
            Code::OffsetMetadataTooLarge | Code::InvalidCommitOffsetSize => Kind::TooLarge,

            Code::InvalidRecord | Code::InvalidTimestamp | Code::InvalidMessage | Code::BadMessage => Kind::Refused,
            Code::PolicyViolation | Code::InvalidTopic | Code::InvalidPartitions | Code::InvalidConfig => Kind::Refused,
            Code::InvalidReplicationFactor | Code::InvalidReplicaAssignment | Code::InvalidRequest => Kind::Refused,
            Code::InvalidGroupId | Code::UnsupportedVersion | Code::UnsupportedForMessageFormat => Kind::Refused,
            Code::InconsistentGroupProtocol | Code::InvalidSessionTimeout | Code::GroupMaxSizeReached => Kind::Refused,
            Code::UnsupportedCompressionType | Code::UnsupportedFeature | Code::InvalidArgument => Kind::Refused,

            Code::QueueFull => Kind::Full,
            Code::PurgeQueue | Code::PurgeInflight => Kind::Purged,

            Code::Fatal | Code::GaplessGuarantee | Code::Fenced | Code::ProducerFenced => Kind::Fatal,
            Code::OutOfOrderSequenceNumber | Code::UnknownProducerId | Code::InvalidProducerEpoch => Kind::Fatal,
            Code::InvalidProducerIdMapping => Kind::Fatal,

            // The library's enum is open: codes that a later version adds come here too, and are not retried.
            _ => Kind::Other,
        }
    }
}

/// The library's words for a code, without its "Broker:" and "Local:".
pub(crate) fn said(code: Code) -> String {
    let text = code.to_string();
    let name = format!("{code:?}");
    let bare = text
        .split_once(" (")
        .map_or(text.as_str(), |(_, rest)| rest.strip_suffix(')').unwrap_or(rest));
    let bare = (bare.strip_prefix("Broker: ").or(bare.strip_prefix("Local: "))).unwrap_or(bare);
    format!("{bare} ({name})")
}

/// What the client says of a failed connection, without how long this one took.
pub(crate) fn without_times(reason: &str) -> &str {
    reason.split_once(" (after ").map_or(reason, |(what, _)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_named_only_where_one_is_missing() {
        let needs = || Some(Right::ReadTopic("orders".into()));
        let denied = KafkaError::from_code(Code::TopicAuthorizationFailed, "read `orders`", needs());
        assert_eq!(
            denied.to_string(),
            "could not read `orders`: Topic authorization failed (TopicAuthorizationFailed); grant Read on topic `orders`"
        );
        let away = KafkaError::from_code(Code::AllBrokersDown, "read `orders`", needs());
        assert_eq!(away.right, None);
        assert!(away.kind.retriable());
    }

    #[test]
    fn what_nobody_classified_is_not_retried() {
        assert_eq!(Kind::of(Code::Unknown), Kind::Other);
        assert!(!Kind::Other.retriable());
    }

    #[test]
    fn a_loading_coordinator_is_waited_for_and_a_denied_group_is_not() {
        assert!(Kind::of(Code::CoordinatorLoadInProgress).retriable());
        assert!(Kind::of(Code::NotCoordinator).retriable());
        assert_eq!(Kind::of(Code::GroupAuthorizationFailed), Kind::Denied(Resource::Group));
        assert!(!Kind::of(Code::GroupAuthorizationFailed).retriable());
    }
}

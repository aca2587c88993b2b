//! What a source is told, and everything that it says.

use std::sync::Arc;
use std::time::Duration;

use crate::delivery::event::Assignment;
use crate::delivery::group::GroupEvent;
use crate::delivery::record::Record;
use crate::kafka::cluster::ClusterSettings;
use crate::kafka::pattern::TopicPattern;

/// What a pipeline reads, and how.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// The cluster.
    pub cluster: Arc<ClusterSettings>,
    /// The pipeline: the group's members are known by it.
    pub pipeline: String,
    /// This worker.
    pub worker: String,
    /// The worker comes back under this name: the group keeps its partitions for it while it is away, for a session.
    pub is_static: bool,
    /// The consumer group.
    pub group: String,
    /// The topics.
    pub topics: Topics,
    /// Topics that a pattern never names: the pipeline's own outputs, and any pipeline's dead letters.
    pub never: Vec<String>,
    /// Where reading starts, once.
    pub start: Start,
    /// The pipeline has run before, as far as the fleet knows: `start` applies no more.
    pub has_run: bool,
    /// Whether records of transactions that are not committed are read.
    pub isolation: Isolation,
    /// Bytes that the client fetches ahead.
    pub prefetch_bytes: usize,
    /// Bytes of records that were handed over and not yet received. When it is full, fetching pauses.
    pub inbox_bytes: usize,
    /// How often watermarks are told.
    pub watermarks_every: Duration,
}

impl SourceSettings {
    /// Settings with the defaults: from the earliest record, `read_committed`, 8 MiB ahead, 4 MiB handed over.
    pub fn new(cluster: Arc<ClusterSettings>, pipeline: &str, worker: &str, group: &str, topics: Topics) -> Self {
        SourceSettings {
            cluster,
            pipeline: pipeline.to_owned(),
            worker: worker.to_owned(),
            is_static: false,
            group: group.to_owned(),
            topics,
            never: Vec::new(),
            start: Start::Earliest,
            has_run: false,
            isolation: Isolation::ReadCommitted,
            prefetch_bytes: 8 << 20,
            inbox_bytes: 4 << 20,
            watermarks_every: Duration::from_secs(5),
        }
    }
}

/// How a group is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Others take the partitions at once.
    ForGood,
    /// A static member comes back, and finds its partitions as it left them; any other leaves for good.
    ToComeBack,
}

/// The topics of a source.
#[derive(Clone, Debug)]
pub enum Topics {
    /// By name.
    Named(Vec<String>),
    /// All that match, looked for every 30 s.
    Pattern(TopicPattern),
}

/// Where reading starts, when the group has no offset on any partition of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the first record.
    Earliest,
    /// After the last one.
    Latest,
    /// At the first record of this time or later, in milliseconds since the Unix epoch.
    At(i64),
}

/// Whether records of transactions that are not committed are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// No.
    ReadCommitted,
    /// Yes.
    ReadUncommitted,
}

impl Isolation {
    /// Kafka's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Isolation::ReadCommitted => "read_committed",
            Isolation::ReadUncommitted => "read_uncommitted",
        }
    }
}

/// Everything that a source says.
#[derive(Clone, Debug)]
pub enum SourceEvent {
    /// What the group gives and takes, and what became of commits.
    Group(GroupEvent),
    /// Records of one partition, in offset order, following those before.
    Records {
        /// Whose.
        assignment: Assignment,
        /// The records; never empty.
        records: Vec<Arc<Record>>,
    },
    /// The log's first offset and the one after its last.
    Watermarks {
        /// Whose.
        assignment: Assignment,
        /// The first offset.
        low: i64,
        /// The offset after the last.
        high: i64,
    },
    /// Something stands in the way; it is tried again unless it is fatal.
    Trouble(Trouble),
    /// What was in the way is gone.
    Recovered(TroubleKind),
}

impl From<GroupEvent> for SourceEvent {
    fn from(event: GroupEvent) -> SourceEvent {
        SourceEvent::Group(event)
    }
}

impl SourceEvent {
    /// What the event counts for against the inbox's bound.
    pub(super) fn weight_bytes(&self) -> usize {
        match self {
            SourceEvent::Records { records, .. } => records.iter().map(|r| r.weight_bytes()).sum(),
            _ => 0,
        }
    }
}

/// What stands in a source's way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Which of the troubles.
    pub kind: TroubleKind,
    /// One sentence: what was found, and what to do.
    pub text: String,
}

/// The troubles that a source can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TroubleKind {
    /// No broker answers.
    ClusterAway,
    /// User or password are not accepted.
    Unauthenticated,
    /// A topic does not exist, or a pattern names none.
    TopicMissing,
    /// No right to read a topic.
    TopicDenied,
    /// No right to use the group.
    GroupDenied,
    /// The group has members that are not this pipeline's. Fatal.
    GroupTaken,
    /// The client can't be opened with these settings. Fatal.
    Settings,
    /// The client can't go on. Fatal.
    ClientBroken,
    /// Something else.
    Other,
}

impl TroubleKind {
    /// The source has ended, and has to be started again once the cause is gone.
    pub fn fatal(self) -> bool {
        match self {
            TroubleKind::GroupTaken | TroubleKind::Settings | TroubleKind::ClientBroken => true,
            TroubleKind::ClusterAway | TroubleKind::Unauthenticated | TroubleKind::TopicMissing => false,
            TroubleKind::TopicDenied | TroubleKind::GroupDenied | TroubleKind::Other => false,
        }
    }

    /// The trouble's name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            TroubleKind::ClusterAway => "cluster_away",
            TroubleKind::Unauthenticated => "unauthenticated",
            TroubleKind::TopicMissing => "topic_missing",
            TroubleKind::TopicDenied => "topic_denied",
            TroubleKind::GroupDenied => "group_denied",
            TroubleKind::GroupTaken => "group_taken",
            TroubleKind::Settings => "settings",
            TroubleKind::ClientBroken => "client_broken",
            TroubleKind::Other => "other",
        }
    }
}

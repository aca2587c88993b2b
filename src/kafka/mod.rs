//! The Kafka edge: one poll thread a consumer, a producer that keeps order through outages, and what else a pipeline
//! asks of a cluster; and an embedded broker. Nothing here decides about delivery; it says what happened and does what it is told.

pub mod admin;
pub mod cluster;
mod committed;
pub mod embedded;
pub mod error;
mod lookup;
mod native;
pub mod pattern;
pub mod producer;
mod reader;
mod seek;
pub mod source;

pub use admin::Admin;
pub use cluster::{ClusterSettings, Mechanism, Password, Sasl, Security, Tls};
pub use committed::committed;
pub use error::{KafkaError, Kind, Resource, Right};
pub use lookup::read_record;
pub use native::Membership;
pub use pattern::TopicPattern;
pub use producer::{Cause, Ended, Load, TransactionSettings, Transactor};
pub use producer::{Health, Outgoing, Producer, ProducerSettings, SendError};
pub use reader::LogReader;
pub use seek::{Seek, SeekTo, Sought, seek};
pub use source::{Isolation, Leave, Source, SourceEvent, SourceEvents, SourceSettings, Start, Topics};
pub use source::{Trouble, TroubleKind, Voucher};

//! The Kafka edge: poll thread and rebalances, producer, admin, embedded broker.

pub mod embedded;

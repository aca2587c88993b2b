//! What a metric is.

use super::page::Samples;
use super::seen::{Held, Seen};
use super::state::{PartitionState, SinkState, WorkerState};

/// A metric's definition.
pub(crate) struct Metric {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) unit: Unit,
    pub(crate) labels: &'static [&'static str],
    pub(crate) help: &'static str,
    pub(crate) read: Read,
}

/// Prometheus' word for what a metric does over time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// What a metric's number is a number of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Bytes,
    Records,
    Times,
    Things,
    /// 1 while it is so.
    Flag,
}

/// Where a metric's value is read: each gives any number of samples, with a value for each label.
pub(crate) enum Read {
    Worker(fn(&WorkerState, &mut Samples<'_>)),
    Pipeline(fn(&Seen, &mut Samples<'_>)),
    Sink(fn(&Seen, &SinkState, &mut Samples<'_>)),
    /// Of all partitions that were ever held.
    Partition(fn(&Seen, &PartitionState, &mut Samples<'_>)),
    /// Of the partitions that are held now.
    Held(fn(&Seen, &Held<'_>) -> Option<f64>),
}

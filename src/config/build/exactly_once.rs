//! What delivering exactly once takes: one cluster that results, dead letters and offsets stand in together.

use crate::config::document::{IsolationDoc, PipelineDoc};
use crate::config::path::Path;
use crate::config::problem::{Code, Report};
use crate::kafka::ClusterSettings;

/// Reports everything that stands against `delivery: exactly_once`.
pub(super) fn exactly_once(doc: &PipelineDoc, cluster: Option<&ClusterSettings>, report: &mut Report<'_>) {
    let delivery = Path::of("delivery");
    if cluster.is_some_and(|cluster| cluster.embedded) {
        let message = "found exactly_once on the embedded broker, which has no transactions; expected at_least_once, or a \
                       cluster of Kafka's own";
        report.between(&[&delivery], Code::NotSupportedYet, message);
    }
    if doc.source.isolation == IsolationDoc::ReadUncommitted {
        let message = "found read_uncommitted beside delivery: exactly_once; expected read_committed";
        report.between(&[&Path::of("source.isolation"), &delivery], Code::Conflict, message);
    }
    let own = &doc.source.cluster;
    for (n, sink) in doc.sinks.iter().enumerate() {
        let at = Path::of("sinks").index(n);
        let other = sink.kafka.as_ref().and_then(|kafka| kafka.cluster.as_ref());
        let (at, message) = match (&sink.http, &sink.stdout, other) {
            (Some(_), _, _) => (
                at.key("http"),
                "found an HTTP sink beside delivery: exactly_once; expected a topic of the source's cluster".to_owned(),
            ),
            (None, Some(_), _) => (
                at.key("stdout"),
                "found stdout beside delivery: exactly_once; expected a topic of the source's cluster".to_owned(),
            ),
            (None, None, Some(other)) if other != own => (
                at.key("kafka").key("cluster"),
                format!(
                    "found a topic of cluster {other} beside delivery: exactly_once; expected one of the source's cluster, {own}"
                ),
            ),
            (None, None, _) => continue,
        };
        report.between(&[&at, &delivery], Code::Conflict, message);
    }
}

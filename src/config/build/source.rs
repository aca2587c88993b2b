//! Where a pipeline reads.

use std::sync::Arc;

use jiff::Timestamp;

use super::pipeline::Surroundings;
use crate::config::document::{IsolationDoc, PipelineDoc, SourceDoc};
use crate::config::path::Path;
use crate::config::problem::{Code, Report};
use crate::kafka::{ClusterSettings, Isolation, SourceSettings, Start, TopicPattern, Topics};

const MAX_INBOX_BYTES: usize = 4 << 20;

/// The source; the topics that a pattern never names are added when the whole fleet is known.
pub(super) fn source(doc: &PipelineDoc, around: &Surroundings<'_>, report: &mut Report<'_>) -> Option<SourceSettings> {
    let source = &doc.source;
    let cluster = cluster(&source.cluster, &Path::of("source.cluster"), around, report);
    let topics = topics(source, report);
    let start = start(&source.start, report);
    let group = source.group.clone().unwrap_or_else(|| format!("fnbridge-{}", doc.name));
    let mut settings = SourceSettings::new(cluster?, &doc.name, around.worker, &group, topics?);
    settings.is_static = around.id_lasts;
    settings.start = start?;
    settings.isolation = match source.isolation {
        IsolationDoc::ReadCommitted => Isolation::ReadCommitted,
        IsolationDoc::ReadUncommitted => Isolation::ReadUncommitted,
    };
    settings.inbox_bytes = MAX_INBOX_BYTES.min(doc.limits.in_flight_bytes.bytes());
    Some(settings)
}

/// The cluster of that name, or `None` where the worker has none, which is reported.
pub(super) fn cluster(
    name: &str,
    path: &Path,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<Arc<ClusterSettings>> {
    if let Some(clusters) = around.clusters.filter(|clusters| !clusters.contains_key(name)) {
        let names: Vec<&str> = clusters.keys().map(String::as_str).collect();
        let message = format!(
            "found {name:?}, expected a cluster of the worker's: {}",
            names.join(", ")
        );
        report.between(&[path], Code::InvalidValue, message);
    }
    known_cluster(name, around)
}

/// The same without a report. Any name will do where a pipeline is checked without a worker.
pub(super) fn known_cluster(name: &str, around: &Surroundings<'_>) -> Option<Arc<ClusterSettings>> {
    match around.clusters {
        Some(clusters) => clusters.get(name)?.clone(),
        None => Some(Arc::new(ClusterSettings::plaintext(name, "127.0.0.1:9092"))),
    }
}

fn topics(doc: &SourceDoc, report: &mut Report<'_>) -> Option<Topics> {
    let (by_name, by_pattern) = (Path::of("source.topics"), Path::of("source.topic_pattern"));
    for (n, topic) in doc.topics.iter().enumerate() {
        topic_name(topic, &by_name.index(n), report);
        if doc.topics[..n].contains(topic) {
            report.between(
                &[&by_name.index(n)],
                Code::Conflict,
                format!("{topic} stands here a second time"),
            );
        }
    }
    match &doc.topic_pattern {
        Some(_) if !doc.topics.is_empty() => {
            let message = "stands beside source.topics; expected one of them";
            report.between(&[&by_pattern, &by_name], Code::Conflict, message);
            None
        }
        Some(pattern) => match TopicPattern::new(pattern) {
            Ok(pattern) => Some(Topics::Pattern(pattern)),
            Err(error) => {
                let message = format!("this is no regular expression: {}", error.replace('\n', " "));
                report.value(&by_pattern, Code::InvalidValue, message);
                None
            }
        },
        None if doc.topics.is_empty() => {
            let message = "no topics; expected a list of names, or a topic_pattern beside it";
            report.between(&[&by_name, &by_pattern], Code::MissingField, message);
            None
        }
        None => Some(Topics::Named(doc.topics.clone())),
    }
}

/// Whether Kafka takes this as a topic's name; what is wrong is reported.
pub(super) fn topic_name(name: &str, path: &Path, report: &mut Report<'_>) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || ['.', '_', '-'].contains(&c);
    let is_legal = !name.is_empty() && name.len() <= 249 && name.chars().all(legal) && name != "." && name != "..";
    if !is_legal {
        let message = format!("found {name:?}, expected a topic's name: 1 to 249 letters, digits, dots, _ and -");
        report.value(path, Code::InvalidValue, message);
    }
    is_legal
}

fn start(text: &str, report: &mut Report<'_>) -> Option<Start> {
    match text {
        "earliest" => Some(Start::Earliest),
        "latest" => Some(Start::Latest),
        time => match time.parse::<Timestamp>() {
            Ok(time) if time.as_millisecond() >= 0 => Some(Start::At(time.as_millisecond())),
            Ok(_) | Err(_) => {
                let message =
                    format!("found {time:?}, expected earliest, latest or a time such as 2026-01-31T12:00:00Z");
                report.value(&Path::of("source.start"), Code::InvalidValue, message);
                None
            }
        },
    }
}

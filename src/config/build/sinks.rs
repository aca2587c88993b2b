//! Where a pipeline's results and dead letters go.

use std::collections::BTreeSet;

use super::auth::auth;
use super::pipeline::Surroundings;
use super::places::{headers, url};
use super::source::{cluster, known_cluster, topic_name};
use crate::config::document::{PipelineDoc, SinkDoc};
use crate::config::path::Path;
use crate::config::problem::{Code, Report};
use crate::kafka::ProducerSettings;
use crate::sink::{HttpSinkSettings, KafkaSinkSettings, SinkSettings};

/// Bytes that wait for their acks in one sink, at most.
const MAX_WINDOW_BYTES: usize = 8 << 20;

/// The sinks with their names.
pub(super) fn sinks(
    doc: &PipelineDoc,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Vec<(String, SinkSettings)> {
    let names = names(&doc.sinks, report);
    let sinks = doc.sinks.iter().zip(names).enumerate();
    sinks
        .filter_map(|(n, (sink, name))| {
            let path = Path::of("sinks").index(n);
            let settings = settings(doc, sink, &name, &path, around, report)?;
            Some((name, settings))
        })
        .collect()
}

fn settings(
    doc: &PipelineDoc,
    sink: &SinkDoc,
    name: &str,
    path: &Path,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<SinkSettings> {
    let kinds = [sink.kafka.is_some(), sink.http.is_some(), sink.stdout.is_some()];
    match kinds.iter().filter(|stated| **stated).count() {
        1 => {}
        0 => {
            report.between(
                &[path],
                Code::MissingField,
                "no kind of sink; expected kafka, http or stdout",
            );
            return None;
        }
        many => {
            let message = format!("{many} kinds of sink in one element; expected one, and an element for each");
            report.between(&[path], Code::Conflict, message);
            return None;
        }
    }
    if let Some(kafka) = &sink.kafka {
        let path = path.key("kafka");
        let is_legal = topic_name(&kafka.topic, &path.key("topic"), report);
        let cluster = match &kafka.cluster {
            Some(name) => cluster(name, &path.key("cluster"), around, report),
            None => known_cluster(&doc.source.cluster, around),
        };
        let cluster = cluster.filter(|_| is_legal)?;
        let client_id = format!("fnbridge/{}/{}", doc.name, around.worker);
        return Some(SinkSettings::Kafka(KafkaSinkSettings {
            linger: ProducerSettings::new(cluster.clone(), client_id.clone()).linger,
            cluster,
            topic: kafka.topic.clone(),
            client_id,
            window_bytes: MAX_WINDOW_BYTES.min(doc.limits.in_flight_bytes.bytes()),
            max_message_bytes: ProducerSettings::DEFAULT_MAX_MESSAGE_BYTES,
        }));
    }
    let Some(http) = &sink.http else {
        return Some(SinkSettings::Stdout);
    };
    let path = path.key("http");
    let headers = headers(&http.headers, &path.key("headers"), around.base, report);
    let url = url(&http.url, &path.key("url"), around.policy, report);
    let auth = auth(&http.auth, url.as_ref(), &path.key("auth"), around, report);
    Some(SinkSettings::Http(Box::new(HttpSinkSettings {
        pipeline: doc.name.clone(),
        sink: name.to_owned(),
        url: url?,
        headers,
        auth: auth?,
        timeout: http.timeout.0,
        policy: around.policy.clone(),
    })))
}

/// A sink without a name is called by its kind, with a number from the second one on.
fn names(sinks: &[SinkDoc], report: &mut Report<'_>) -> Vec<String> {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for (n, name) in sinks
        .iter()
        .enumerate()
        .filter_map(|(n, sink)| Some((n, sink.name.as_ref()?)))
    {
        if !taken.insert(name.clone()) {
            let message = format!("another sink is called {name}; expected names that differ");
            report.between(&[&Path::of("sinks").index(n).key("name")], Code::Conflict, message);
        }
    }
    let mut names = Vec::with_capacity(sinks.len());
    for sink in sinks {
        let kind = match (&sink.kafka, &sink.http) {
            (Some(_), _) => "kafka",
            (None, Some(_)) => "http",
            (None, None) => "stdout",
        };
        let mut numbered = (1..).map(|n| if n == 1 { kind.to_owned() } else { format!("{kind}-{n}") });
        let name = sink
            .name
            .clone()
            .or_else(|| numbered.find(|name| !taken.contains(name)));
        let name = name.unwrap_or_else(|| kind.to_owned());
        taken.insert(name.clone());
        names.push(name);
    }
    names
}

/// The dead-letter topic.
pub(super) fn dead_letter_topic(doc: &PipelineDoc, report: &mut Report<'_>) -> Option<String> {
    let path = Path::of("dead_letter.topic");
    let topic = doc
        .dead_letter
        .topic
        .clone()
        .unwrap_or_else(|| format!("{}.dead-letter", doc.name));
    topic_name(&topic, &path, report).then_some(topic)
}

/// A pipeline that reads what it writes never ends.
pub(super) fn refuse_own_outputs(
    doc: &PipelineDoc,
    sinks: &[(String, SinkSettings)],
    dead_letters: &str,
    report: &mut Report<'_>,
) {
    for (n, topic) in doc.source.topics.iter().enumerate() {
        let at = Path::of("source.topics").index(n);
        let writes = |sink: &SinkSettings| match sink {
            SinkSettings::Kafka(kafka) => kafka.topic == *topic && kafka.cluster.name == doc.source.cluster,
            SinkSettings::Http(_) | SinkSettings::Stdout => false,
        };
        if let Some((name, _)) = sinks.iter().find(|(_, sink)| writes(sink)) {
            let message = format!("{topic} is the pipeline's own output, by its sink {name}; expected another topic");
            report.between(&[&at, &Path::of("sinks")], Code::Conflict, message);
        }
        if topic == dead_letters {
            let message = format!("{topic} is the pipeline's own dead-letter topic; expected another topic");
            report.between(&[&at, &Path::of("dead_letter.topic")], Code::Conflict, message);
        }
    }
}

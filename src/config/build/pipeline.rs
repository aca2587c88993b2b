//! A pipeline's settings.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::Duration;

use super::exactly_once::exactly_once;
use super::filter::filter;
use super::function::function;
use super::sinks::{dead_letter_topic, refuse_own_outputs, sinks};
use super::source::source;
use crate::config::document::{
    ContractDoc, DeliveryDoc, FormatDoc, LimitsDoc, OnExhaustedDoc, OrderingDoc, PipelineDoc, StateDoc,
};
use crate::config::path::Path;
use crate::config::problem::{Code, Report};
use crate::convert::{Format, Formats};
use crate::deadletter::DeadLetterSettings;
use crate::delivery::rate::Rate;
use crate::delivery::settings::{
    BatchSettings, Delivery, GuardSettings, OnExhausted, Ordering, RateLimits, RetrySettings, TaskSettings,
};
use crate::delivery::time::Millis;
use crate::function::FunctionSettings;
use crate::http::AddressPolicy;
use crate::kafka::ClusterSettings;
use crate::pipeline::PipelineSettings;

const DRAIN_AFTER_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_MAX_RECORDS: u32 = 100;
/// A commit is built at most this often while records settle.
const COMMIT_INTERVAL: Millis = Millis::secs(1);
/// librdkafka's default for `max.poll.interval.ms`.
const MAX_POLL_INTERVAL: Duration = Duration::from_secs(300);

/// What a pipeline is told by where it runs.
pub(crate) struct Surroundings<'a> {
    /// The worker's id.
    pub(crate) worker: &'a str,
    /// A process that comes back under this id is the same worker.
    pub(crate) id_lasts: bool,
    /// The worker's clusters by name, without settings where something is wrong with them; `None`: not known.
    pub(crate) clusters: Option<&'a BTreeMap<String, Option<Arc<ClusterSettings>>>>,
    /// Where functions and HTTP sinks may be.
    pub(crate) policy: &'a Arc<AddressPolicy>,
    /// The folder that files are relative to.
    pub(crate) base: &'a FilePath,
}

/// A pipeline, or `None` where something is wrong with it, which was reported.
pub(crate) fn pipeline(
    doc: &PipelineDoc,
    revision: String,
    around: &Surroundings<'_>,
    report: &mut Report<'_>,
) -> Option<PipelineSettings> {
    let source = source(doc, around, report);
    let sinks = sinks(doc, around, report);
    let names: Vec<String> = sinks.iter().map(|(name, _)| name.clone()).collect();
    let dead_letters = dead_letter_topic(doc, report);
    if let Some(dead_letters) = &dead_letters {
        refuse_own_outputs(doc, &sinks, dead_letters, report);
    }
    let cluster = source.as_ref().map(|source| &*source.cluster);
    if doc.delivery == DeliveryDoc::ExactlyOnce {
        exactly_once(doc, cluster, report);
    }
    let formats = formats(doc);
    let filter = filter(doc, report);
    let function = (doc.function.as_ref()).map(|stated| function(doc, stated, cluster, around, report));
    let drain_timeout = drain_timeout(doc, cluster, report);
    between(doc, report);
    let (source, dead_letters) = (source?, dead_letters?);
    let function = match function {
        Some(function) => Some(FunctionSettings {
            sinks: names.clone(),
            formats: formats.unwrap_or_default(),
            ..function?
        }),
        None => None,
    };
    let settings = PipelineSettings {
        name: doc.name.clone(),
        references: report.references(),
        labels: doc.labels.clone(),
        paused: doc.state == StateDoc::Paused,
        task: task(doc, function.as_ref(), drain_timeout, sinks.len()),
        weight: doc.limits.weight,
        share_bytes: doc.limits.in_flight_bytes.bytes(),
        formats,
        filter,
        function,
        dead_letter: DeadLetterSettings {
            cluster: source.cluster.clone(),
            topic: dead_letters,
            pipeline: doc.name.clone(),
            revision: revision.clone(),
            worker: around.worker.to_owned(),
            sinks: names,
            sources: doc.source.topics.clone(),
            max_redrives: doc.dead_letter.max_redrives,
            admin: !source.cluster.embedded,
        },
        source,
        sinks,
        revision,
    };
    report.is_clean().then_some(settings)
}

fn task(doc: &PipelineDoc, function: Option<&FunctionSettings>, drain_timeout: Duration, sinks: usize) -> TaskSettings {
    let stated = doc.batch.max_bytes.bytes();
    let most = function.and_then(|function| function.contract.max_batch_bytes());
    TaskSettings {
        ordering: match doc.ordering {
            OrderingDoc::Partition => Ordering::Partition,
            OrderingDoc::Key => Ordering::Key,
            OrderingDoc::None => Ordering::None,
        },
        delivery: match doc.delivery {
            DeliveryDoc::AtLeastOnce => Delivery::AtLeastOnce,
            DeliveryDoc::ExactlyOnce => Delivery::ExactlyOnce,
        },
        batch: BatchSettings {
            max_records: max_records(doc) as usize,
            max_bytes: most.map_or(stated, |most| most.min(stated)),
            linger: doc.batch.linger.0.into(),
        },
        max_in_flight: doc.concurrency.max_in_flight as usize,
        in_flight_bytes: doc.limits.in_flight_bytes.bytes(),
        limits: rate_limits(&doc.limits),
        retry: RetrySettings {
            max_attempts: doc.retry.max_attempts,
            initial_backoff: doc.retry.initial_backoff.0.into(),
            max_backoff: doc.retry.max_backoff.0.into(),
            max_age: doc.retry.max_age.map(|age| age.0.into()),
        },
        on_exhausted: match doc.on_exhausted {
            OnExhaustedDoc::DeadLetter => OnExhausted::DeadLetter,
            OnExhaustedDoc::Block => OnExhausted::Block,
        },
        guard: GuardSettings {
            failed: doc.dead_letter.guard.failed,
            refused: doc.dead_letter.guard.refused,
        },
        drain_timeout: drain_timeout.into(),
        commit_interval: COMMIT_INTERVAL,
        has_function: doc.function.is_some(),
        sinks,
    }
}

fn rate_limits(doc: &LimitsDoc) -> RateLimits {
    RateLimits {
        records_per_second: (doc.records_per_second)
            .and_then(|records| Rate::from_thousandths((records * 1000.0).round() as u64)),
        bytes_per_second: (doc.bytes_per_second).and_then(|size| Rate::from_thousandths(size.0.saturating_mul(1000))),
    }
}

fn max_records(doc: &PipelineDoc) -> u32 {
    let takes_one = takes_one_record(doc).is_some();
    doc.batch
        .max_records
        .unwrap_or(if takes_one { 1 } else { DEFAULT_MAX_RECORDS })
}

/// The function's contract, if it takes one record a call.
fn takes_one_record(doc: &PipelineDoc) -> Option<&'static str> {
    match doc.function.as_ref()?.contract {
        ContractDoc::Raw => Some("raw"),
        ContractDoc::CloudeventsBinary => Some("cloudevents_binary"),
        ContractDoc::CloudeventsStructured => Some("cloudevents_structured"),
        ContractDoc::Json | ContractDoc::CloudeventsBatch | ContractDoc::AwsLambda | ContractDoc::AliyunFc => None,
    }
}

/// What records must be. Where nothing is said and nobody takes JSON, they travel as they are.
fn formats(doc: &PipelineDoc) -> Option<Formats> {
    let (key, value) = (
        doc.source.key.format.and_then(format),
        doc.source.value.format.and_then(format),
    );
    let (of_key, of_value) = match doc.function.as_ref().map(|function| function.contract) {
        Some(ContractDoc::Json) => (None, Some(Format::Json)),
        // Its events hold text, and bytes that are none can't be told from it.
        Some(ContractDoc::AliyunFc) => (Some(Format::String), Some(Format::String)),
        _ => (None, None),
    };
    let (key, value) = (key.or(of_key), value.or(of_value));
    if key.is_none() && value.is_none() {
        return None;
    }
    Some(Formats {
        key,
        value: value.unwrap_or(Format::Bytes),
    })
}

/// `None` for those that were refused with the document's shape.
fn format(doc: FormatDoc) -> Option<Format> {
    match doc {
        FormatDoc::Bytes => Some(Format::Bytes),
        FormatDoc::String => Some(Format::String),
        FormatDoc::Json => Some(Format::Json),
        FormatDoc::Avro | FormatDoc::Protobuf | FormatDoc::JsonSchema => None,
    }
}

fn drain_timeout(doc: &PipelineDoc, cluster: Option<&ClusterSettings>, report: &mut Report<'_>) -> Duration {
    const PROPERTY: &str = "max.poll.interval.ms";
    let stated = cluster.and_then(|cluster| cluster.properties.get(PROPERTY)?.parse().ok());
    let bound = stated.map_or(MAX_POLL_INTERVAL, Duration::from_millis);
    let timeout = doc
        .function
        .as_ref()
        .map_or(Duration::ZERO, |function| function.timeout.0);
    let drain = doc.drain_timeout.map_or(timeout + DRAIN_AFTER_TIMEOUT, |span| span.0);
    if drain >= bound {
        let (at, beside) = match doc.drain_timeout {
            Some(_) => (Path::of("drain_timeout"), Path::of("drain_timeout")),
            None => (Path::of("function.timeout"), Path::of("drain_timeout")),
        };
        let message = format!(
            "a drain may take {} s, expected less than {} s, the {PROPERTY} of the cluster: after it, the group gives the \
             partitions away",
            drain.as_secs_f64(),
            bound.as_secs_f64()
        );
        report.between(&[&at, &beside], Code::Conflict, message);
    }
    drain
}

/// Rules between values that stand in different parts.
fn between(doc: &PipelineDoc, report: &mut Report<'_>) {
    let max_records = Path::of("batch.max_records");
    if let (Some(contract), Some(found @ 2..)) = (takes_one_record(doc), doc.batch.max_records) {
        let message = format!("found {found}, expected 1, as the contract {contract} takes one record a call");
        report.between(&[&max_records, &Path::of("function.contract")], Code::Conflict, message);
    }
    let (initial, max) = (Path::of("retry.initial_backoff"), Path::of("retry.max_backoff"));
    if doc.retry.initial_backoff > doc.retry.max_backoff {
        let (found, most) = (doc.retry.initial_backoff, doc.retry.max_backoff);
        let at = if report.is_stated(&initial) {
            [&initial, &max]
        } else {
            [&max, &initial]
        };
        let message =
            format!("the first wait of {found} is longer than the longest, {most}; expected it to be at most that");
        report.between(&at, Code::Conflict, message);
    }
    let (batch, limit) = (Path::of("batch.max_bytes"), Path::of("limits.in_flight_bytes"));
    if doc.batch.max_bytes > doc.limits.in_flight_bytes {
        let (found, most) = (doc.batch.max_bytes, doc.limits.in_flight_bytes);
        let at = if report.is_stated(&batch) {
            [&batch, &limit]
        } else {
            [&limit, &batch]
        };
        let message =
            format!("a batch may have {found}, but all of them together {most}; expected it to be at most that");
        report.between(&at, Code::Conflict, message);
    }
    let (function, sinks) = (Path::of("function"), Path::of("sinks"));
    if doc.function.is_none() && doc.sinks.is_empty() {
        let message = "neither a function nor a sink: records would be read and forgotten; expected one of them";
        report.between(&[&function, &sinks], Code::MissingField, message);
    }
    if doc.function.is_none() && !doc.responses.is_empty() {
        let message = "there is no function whose answers it could be about; expected it to be left out";
        report.between(&[&Path::of("responses"), &function], Code::Conflict, message);
    }
}

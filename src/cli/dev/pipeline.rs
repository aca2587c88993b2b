//! The pipeline of `fnbridge dev`: an ordinary one, with the settings that a document gets which leaves them out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;

use super::args::Plan;
use crate::convert::Formats;
use crate::deadletter::DeadLetterSettings;
use crate::delivery::settings::{
    BatchSettings, GuardSettings, OnExhausted, Ordering, RateLimits, RetrySettings, TaskSettings,
};
use crate::delivery::time::Millis;
use crate::function::{ContractKind, FunctionSettings, check_url};
use crate::http::AddressPolicy;
use crate::kafka::{ClusterSettings, ProducerSettings, SourceSettings, Topics};
use crate::pipeline::PipelineSettings;
use crate::sink::{KafkaSinkSettings, SinkSettings};

const WORKER: &str = "dev";
const REVISION: &str = "dev";
const SINK: &str = "results";
const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_IN_FLIGHT: usize = 16;
const MIB: usize = 1 << 20;

/// The settings of the pipeline.
///
/// # Errors
/// A URL that can't be called, with what was expected.
pub(super) fn settings(plan: &Plan, cluster: &Arc<ClusterSettings>, url: &str) -> Result<PipelineSettings, String> {
    let name = plan.pipeline.clone();
    let group = format!("fnbridge-{name}");
    let source = SourceSettings::new(
        cluster.clone(),
        &name,
        WORKER,
        &group,
        Topics::Named(vec![plan.topic.clone()]),
    );
    let sink = KafkaSinkSettings {
        cluster: cluster.clone(),
        topic: plan.results.clone(),
        client_id: format!("fnbridge/{name}/{WORKER}"),
        window_bytes: 8 * MIB,
        max_message_bytes: ProducerSettings::DEFAULT_MAX_MESSAGE_BYTES,
        linger: Duration::from_millis(2),
    };
    Ok(PipelineSettings {
        revision: REVISION.to_owned(),
        labels: BTreeMap::new(),
        paused: false,
        task: task(),
        source,
        formats: Some(Formats::default()),
        function: Some(function(&name, url)?),
        sinks: vec![(SINK.to_owned(), SinkSettings::Kafka(sink))],
        dead_letter: DeadLetterSettings {
            cluster: cluster.clone(),
            topic: plan.dead_letters.clone(),
            pipeline: name.clone(),
            revision: REVISION.to_owned(),
            worker: WORKER.to_owned(),
            sinks: vec![SINK.to_owned()],
            sources: vec![plan.topic.clone()],
            admin: !cluster.embedded,
        },
        name,
    })
}

fn task() -> TaskSettings {
    TaskSettings {
        ordering: Ordering::Partition,
        batch: BatchSettings {
            max_records: 100,
            max_bytes: MIB,
            linger: Millis::ZERO,
        },
        max_in_flight: MAX_IN_FLIGHT,
        in_flight_bytes: 32 * MIB,
        limits: RateLimits::default(),
        retry: RetrySettings {
            max_attempts: 5,
            initial_backoff: Millis(200),
            max_backoff: Millis::secs(30),
            max_age: None,
        },
        on_exhausted: OnExhausted::DeadLetter,
        guard: GuardSettings {
            failed: 3,
            refused: 100,
        },
        drain_timeout: Millis::from(TIMEOUT + Duration::from_secs(5)),
        has_function: true,
        sinks: 1,
    }
}

fn function(pipeline: &str, url: &str) -> Result<FunctionSettings, String> {
    let parsed: Uri = url
        .parse()
        .map_err(|error| format!("--url {url}: {error}; expected http://host:port/path"))?;
    check_url(&parsed).map_err(|problem| format!("--url {url}: {problem}"))?;
    Ok(FunctionSettings {
        pipeline: pipeline.to_owned(),
        url: parsed,
        contract: ContractKind::Json,
        connect_timeout: Duration::from_secs(5),
        timeout: TIMEOUT,
        max_response_bytes: 8 * MIB,
        headers: Vec::new(),
        overrides: BTreeMap::new(),
        sinks: vec![SINK.to_owned()],
        formats: Formats::default(),
        max_in_flight: MAX_IN_FLIGHT,
        policy: Arc::new(AddressPolicy::default()),
    })
}

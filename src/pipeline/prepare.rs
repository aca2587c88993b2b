//! What a pipeline needs before its first record is polled: its function, its sinks, and a dead-letter topic that is
//! proved to take letters.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};

use super::PipelineSettings;
use super::transactions::Transactions;
use crate::deadletter::{self, Writer};
use crate::delivery::settings::Delivery;
use crate::function::Function;
use crate::http::AnswerPool;
use crate::kafka::admin::TopicPlan;
use crate::kafka::{Admin, KafkaError, Kind, ProducerSettings};
use crate::sink::{self, Sink, SinkSettings};
use crate::telemetry::PipelineTelemetry;

/// How long the parts that are waited for are left alone between two tries, at most.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// The parts that a task is joined with.
pub(super) struct Prepared {
    pub(super) pool: Arc<AnswerPool>,
    pub(super) function: Option<Arc<Function>>,
    pub(super) outputs: Outputs,
    /// Where all of it goes in transactions.
    pub(super) transactions: Option<Transactions>,
    /// What was found out of the topics that are written to.
    pub(super) found: Found,
}

/// Where results and dead letters go. They are opened anew when a drain cuts them off.
pub(super) struct Outputs {
    pub(super) sinks: Vec<Arc<dyn Sink>>,
    pub(super) letters: Arc<Writer>,
}

/// What was found out of the topics that are written to.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Each sink's settings, with its topic's own bound on records.
    sinks: Vec<SinkSettings>,
    letter_bytes: usize,
}

/// Prepares until it works, and says what it waits for whenever that changes.
pub(super) async fn prepare(
    settings: &PipelineSettings,
    delivery: Delivery,
    telemetry: &PipelineTelemetry,
    mut waits_for: impl FnMut(&str),
) -> Prepared {
    let mut waits = ExponentialBuilder::default()
        .with_max_delay(MAX_WAIT)
        .with_jitter()
        .without_max_times()
        .build();
    let mut told = String::new();
    loop {
        let reason = match try_prepare(settings, delivery, telemetry).await {
            Ok(prepared) => return prepared,
            Err(reason) => reason,
        };
        if reason != told {
            waits_for(&reason);
        }
        told = reason;
        tokio::time::sleep(waits.next().unwrap_or(MAX_WAIT)).await;
    }
}

async fn try_prepare(
    settings: &PipelineSettings,
    delivery: Delivery,
    telemetry: &PipelineTelemetry,
) -> Result<Prepared, String> {
    let pool = AnswerPool::new(settings.task.in_flight_bytes);
    let function = settings
        .function
        .clone()
        .map(|function| Function::new(function, pool.clone()).map(Arc::new));
    let function = function.transpose()?;
    let proof = deadletter::prove(&settings.dead_letter).await?;
    if proof.created {
        telemetry.topic_created(&settings.dead_letter.topic);
    }
    proof
        .warnings
        .iter()
        .for_each(|warning| telemetry.pipeline_warned(warning));
    let mut sinks = Vec::with_capacity(settings.sinks.len());
    for (_, sink) in &settings.sinks {
        sinks.push(find_topic(sink.clone(), settings, telemetry).await?);
    }
    let found = Found {
        sinks,
        letter_bytes: proof.max_message_bytes,
    };
    let (outputs, transactions) = match delivery {
        Delivery::AtLeastOnce => (open_outputs(settings, &found, &pool)?, None),
        // The sinks' own ways stay closed: nothing may go around the transactions.
        Delivery::ExactlyOnce => {
            let (sinks, letters) = (Vec::new(), open_letters(settings, &found));
            let bytes = found.letter_bytes;
            let transactions = Transactions::open(settings, &found.sinks, letters.clone(), bytes).await?;
            (Outputs { sinks, letters }, Some(transactions))
        }
    };
    Ok(Prepared {
        pool,
        function,
        outputs,
        transactions,
        found,
    })
}

/// Looks at a Kafka sink's topic, and creates it where that is allowed. Whatever stands against it, the sink will say so
/// when it is written to.
async fn find_topic(
    sink: SinkSettings,
    pipeline: &PipelineSettings,
    telemetry: &PipelineTelemetry,
) -> Result<SinkSettings, String> {
    let SinkSettings::Kafka(mut sink) = sink else {
        return Ok(sink);
    };
    if !pipeline.dead_letter.admin {
        return Ok(SinkSettings::Kafka(sink));
    }
    let admin = Admin::open(sink.cluster.clone(), &sink.client_id).map_err(|error| error.to_string())?;
    match create_topic(&admin, &sink.topic, &pipeline.dead_letter.sources).await {
        Ok(true) => telemetry.topic_created(&sink.topic),
        Ok(false) => {}
        Err(error) if matches!(error.kind, Kind::Away | Kind::Unauthenticated) => return Err(error.to_string()),
        Err(error) => telemetry.pipeline_warned(&error.to_string()),
    }
    if let Ok(config) = admin.topic_config(&sink.topic).await {
        sink.max_message_bytes = config.max_message_bytes;
    }
    Ok(SinkSettings::Kafka(sink))
}

/// A sink's topic that is missing gets as many partitions as the source has.
async fn create_topic(admin: &Admin, topic: &str, sources: &[String]) -> Result<bool, KafkaError> {
    if admin.describe_topic(topic).await?.is_some() {
        return Ok(false);
    }
    let mut partitions = -1;
    for source in sources {
        if let Ok(Some(facts)) = admin.describe_topic(source).await {
            partitions = partitions.max(facts.partitions);
        }
    }
    let plan = TopicPlan {
        name: topic.to_owned(),
        partitions,
        replication: None,
        config: Vec::new(),
        dry_run: false,
    };
    admin.create_topic(&plan).await
}

/// Opens sinks and the writer of dead letters.
///
/// # Errors
/// Settings that can't work.
pub(super) fn open_outputs(
    settings: &PipelineSettings,
    found: &Found,
    pool: &Arc<AnswerPool>,
) -> Result<Outputs, String> {
    let sinks = found
        .sinks
        .iter()
        .map(|sink| sink::open(sink, pool))
        .collect::<Result<_, _>>()?;
    let letters = open_letters(settings, found);
    Ok(Outputs { sinks, letters })
}

fn open_letters(settings: &PipelineSettings, found: &Found) -> Arc<Writer> {
    let letter_bytes = found
        .letter_bytes
        .max(ProducerSettings::DEFAULT_MAX_MESSAGE_BYTES / 1024);
    Arc::new(Writer::new(Arc::new(settings.dead_letter.clone()), letter_bytes))
}

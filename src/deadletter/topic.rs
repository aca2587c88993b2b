//! Before the first record is polled, the dead-letter topic is proved to be there, kept for good, and writable.

use std::time::Duration;

use super::DeadLetterSettings;
use crate::kafka::admin::TopicPlan;
use crate::kafka::{Admin, KafkaError, Kind, Outgoing, Producer, ProducerSettings, SendError};

/// A letter needs room beside its record.
const ROOM_BYTES: usize = 1 << 20;
/// A topic that allows records larger than this is not asked whether it can be written: asking takes one larger still.
const MAX_ASKED_BYTES: usize = 16 << 20;
/// How long the broker has to refuse the record that asks.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of a dead-letter topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// It was created just now.
    pub created: bool,
    /// Its `max.message.bytes`.
    pub max_message_bytes: usize,
    /// What is worth a warning: finite retention, settings that may not be seen.
    pub warnings: Vec<String>,
}

/// Proves that dead letters can be written, and creates their topic if it is missing: `cleanup.policy=delete`, kept for
/// good, with the source's partitions and replication and room for its largest record.
///
/// # Errors
/// Why not, as a sentence: the cluster does not answer, a right is missing, the topic is compacted.
pub async fn prove(settings: &DeadLetterSettings) -> Result<Proof, String> {
    if !settings.admin {
        let max_message_bytes = ProducerSettings::DEFAULT_MAX_MESSAGE_BYTES + ROOM_BYTES;
        return Ok(Proof {
            max_message_bytes,
            ..Proof::default()
        });
    }
    let client_id = format!("fnbridge/{}/{}/dead-letter", settings.pipeline, settings.worker);
    let admin = Admin::open(settings.cluster.clone(), &client_id).map_err(|error| error.to_string())?;
    let mut proof = Proof::default();
    if admin.describe_topic(&settings.topic).await.map_err(told)?.is_none() {
        proof.created = admin.create_topic(&plan(settings, &admin).await?).await.map_err(told)?;
    }
    match admin.topic_config(&settings.topic).await {
        Ok(config) if config.cleanup_policy.contains("compact") => {
            return Err(format!(
                "dead-letter topic `{}` is compacted (cleanup.policy={}), and would lose letters with the same key: \
                 name another, or set cleanup.policy=delete",
                settings.topic, config.cleanup_policy
            ));
        }
        Ok(config) => {
            if config.retention_ms >= 0 {
                proof.warnings.push(format!(
                    "dead-letter topic `{}` keeps letters for {} hours only: set retention.ms=-1 to keep them until they \
                     are seen to",
                    settings.topic,
                    config.retention_ms / 3_600_000
                ));
            }
            proof.max_message_bytes = config.max_message_bytes;
        }
        Err(error) if matches!(error.kind, Kind::Denied(_)) => {
            proof.warnings.push(format!(
                "it is not known whether the dead-letter topic keeps its letters: {error}"
            ));
            proof.max_message_bytes = ProducerSettings::DEFAULT_MAX_MESSAGE_BYTES;
            return Ok(proof);
        }
        // Right after its creation a broker may not know the topic yet.
        Err(error) => return Err(told(error)),
    }
    prove_writable(settings, &client_id, proof.max_message_bytes).await?;
    Ok(proof)
}

async fn plan(settings: &DeadLetterSettings, admin: &Admin) -> Result<TopicPlan, String> {
    let (mut partitions, mut replication, mut max_message_bytes) =
        (-1, None, ProducerSettings::DEFAULT_MAX_MESSAGE_BYTES);
    for source in &settings.sources {
        if let Some(facts) = admin.describe_topic(source).await.map_err(told)? {
            partitions = partitions.max(facts.partitions);
            replication = replication.max(Some(facts.replication));
        }
        if let Ok(config) = admin.topic_config(source).await {
            max_message_bytes = max_message_bytes.max(config.max_message_bytes);
        }
    }
    let config = [
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", "-1".to_owned()),
        ("max.message.bytes", (max_message_bytes + ROOM_BYTES).to_string()),
    ];
    Ok(TopicPlan {
        name: settings.topic.clone(),
        partitions,
        replication,
        config: config
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        dry_run: false,
    })
}

/// Asks with a record that is too large to be stored: a broker looks at rights first and at sizes then, so that its
/// refusal of the size proves the right to write, and leaves nothing in the topic.
async fn prove_writable(
    settings: &DeadLetterSettings,
    client_id: &str,
    max_message_bytes: usize,
) -> Result<(), String> {
    if max_message_bytes > MAX_ASKED_BYTES {
        return Ok(());
    }
    let mut cluster = (*settings.cluster).clone();
    cluster
        .properties
        .insert("compression.type".to_owned(), "none".to_owned());
    let producer = Producer::open(ProducerSettings {
        max_message_bytes: max_message_bytes * 2,
        ..ProducerSettings::new(cluster.into(), client_id)
    });
    let producer = producer.map_err(|error| error.to_string())?;
    let value = vec![0; max_message_bytes + 1024];
    let asking = Outgoing {
        topic: &settings.topic,
        partition: Some(0),
        key: None,
        value: Some(&value),
        headers: &[],
        more_headers: &[],
        timestamp_ms: -1,
    };
    let answer = tokio::time::timeout(PATIENCE, producer.send_all([asking].into_iter())).await;
    match answer.ok().and_then(|results| results.into_iter().next()) {
        Some(Err(SendError::TooLarge(_) | SendError::Refused(_)) | Ok(())) => Ok(()),
        Some(Err(SendError::Denied(reason) | SendError::Missing(reason))) => Err(reason),
        Some(Err(SendError::Away(reason) | SendError::Other(reason))) => Err(reason),
        Some(Err(SendError::Full | SendError::Purged)) | None => Err(format!(
            "dead-letter topic `{}`: the cluster did not answer within {PATIENCE:?}",
            settings.topic
        )),
    }
}

fn told(error: KafkaError) -> String {
    error.to_string()
}

//! Before the first record is polled, the dead-letter topic is proved to be there, kept for good, and writable.

use std::time::Duration;

use tokio::sync::Semaphore;

use super::DeadLetterSettings;
use crate::delivery::time::Millis;
use crate::kafka::admin::{TopicConfig, TopicPlan};
use crate::kafka::{Admin, Health, KafkaError, Kind, Outgoing, Producer, ProducerSettings, SendError};

/// A letter needs room beside its record.
const ROOM_BYTES: usize = 1 << 20;
/// A topic that allows records larger than this is not asked whether it can be written: asking takes one larger still.
const MAX_ASKED_BYTES: usize = 16 << 20;
/// How far ahead of their clock brokers let records be, if nobody says otherwise.
const USUALLY_AHEAD_MS: i64 = 3_600_000;
/// How long the broker has to refuse the record that asks.
const PATIENCE: Duration = Duration::from_secs(10);

/// A worker with many pipelines asks for a few of them at a time, since asking takes the memory of a large record.
static TURNS: Semaphore = Semaphore::const_new(2);

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
/// Writing is proved by the broker's own word, without a letter. Where the topic's settings may not be seen that can't
/// be done, and is warned about.
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
    let admin = Admin::open(settings.cluster.clone(), &client_id).map_err(told)?;
    let proof = match admin.describe_topic(&settings.topic).await.map_err(told)? {
        Some(_) => found(settings, &admin).await?,
        None => created(settings, &admin).await?,
    };
    if proof.settings_seen {
        prove_writable(settings, &client_id, proof.known.max_message_bytes).await?;
    }
    Ok(proof.known)
}

/// What was found, and whether that is more than a guess.
struct Found {
    known: Proof,
    settings_seen: bool,
}

async fn created(settings: &DeadLetterSettings, admin: &Admin) -> Result<Found, String> {
    let allowed = allowed_in_sources(settings, admin).await;
    let source_bytes = allowed.message_bytes;
    let plan = plan(settings, admin, allowed).await?;
    if !admin.create_topic(&plan).await.map_err(told)? {
        // Another worker was faster.
        return found(settings, admin).await;
    }
    // What was asked for is what it is: right after its creation, a broker may not know the topic yet.
    let known = Proof {
        created: true,
        max_message_bytes: source_bytes + ROOM_BYTES,
        warnings: Vec::new(),
    };
    Ok(Found {
        known,
        settings_seen: true,
    })
}

async fn found(settings: &DeadLetterSettings, admin: &Admin) -> Result<Found, String> {
    match admin.topic_config(&settings.topic).await {
        Ok(config) => {
            let allowed = allowed_in_sources(settings, admin).await;
            let known = Proof {
                created: false,
                max_message_bytes: config.max_message_bytes,
                warnings: objections(&settings.topic, &config, allowed)?,
            };
            Ok(Found {
                known,
                settings_seen: true,
            })
        }
        Err(error) if matches!(error.kind, Kind::Denied(_)) => {
            let known = Proof {
                created: false,
                max_message_bytes: ProducerSettings::DEFAULT_MAX_MESSAGE_BYTES,
                warnings: vec![format!(
                    "it is not known whether dead-letter topic `{}` keeps its letters, nor proved that it can be written: \
                     {error}",
                    settings.topic
                )],
            };
            Ok(Found {
                known,
                settings_seen: false,
            })
        }
        Err(error) => Err(told(error)),
    }
}

/// What stands against a topic: what is worth a warning or, as an error, what it can't be used with.
fn objections(topic: &str, config: &TopicConfig, sources: Allowed) -> Result<Vec<String>, String> {
    let source_bytes = sources.message_bytes;
    if config.cleanup_policy.contains("compact") {
        return Err(format!(
            "dead-letter topic `{topic}` is compacted (cleanup.policy={}), and would lose letters with the same key: \
             name another, or set cleanup.policy=delete",
            config.cleanup_policy
        ));
    }
    let mut warnings = Vec::new();
    if config.retention_ms >= 0 {
        warnings.push(format!(
            "dead-letter topic `{topic}` keeps letters for {} only (retention.ms={}): set retention.ms=-1 to keep them \
             until they are seen to",
            Millis(config.retention_ms.unsigned_abs()),
            config.retention_ms
        ));
    }
    if config.max_message_bytes <= source_bytes {
        warnings.push(format!(
            "dead-letter topic `{topic}` takes letters of {} bytes (max.message.bytes) and the source has records of up to \
             {source_bytes}: a large one could not be given up, and its task would block; set {}",
            config.max_message_bytes,
            source_bytes + ROOM_BYTES
        ));
    }
    if let (Some(here), Some(there)) = (config.max_ahead_ms, sources.ahead_ms)
        && here < there
    {
        warnings.push(format!(
            "dead-letter topic `{topic}` takes letters whose record is up to {} ahead of its broker's clock \
             (message.timestamp.after.max.ms) and the source has records up to {}: one further ahead could not be given up, and \
             its task would block; set {there}",
            Millis(here.unsigned_abs()),
            Millis(there.unsigned_abs())
        ));
    }
    Ok(warnings)
}

/// What the sources allow in a record, as far as that may be seen: the most of all of them.
#[derive(Clone, Copy, Debug)]
struct Allowed {
    message_bytes: usize,
    /// How far ahead of its broker's clock.
    ahead_ms: Option<i64>,
}

async fn allowed_in_sources(settings: &DeadLetterSettings, admin: &Admin) -> Allowed {
    let (mut message_bytes, mut ahead_ms) = (None, None);
    for source in &settings.sources {
        if let Ok(config) = admin.topic_config(source).await {
            message_bytes = message_bytes.max(Some(config.max_message_bytes));
            ahead_ms = ahead_ms.max(config.max_ahead_ms);
        }
    }
    Allowed {
        message_bytes: message_bytes.unwrap_or(ProducerSettings::DEFAULT_MAX_MESSAGE_BYTES),
        ahead_ms,
    }
}

async fn plan(settings: &DeadLetterSettings, admin: &Admin, allowed: Allowed) -> Result<TopicPlan, String> {
    let (mut partitions, mut replication) = (-1, None);
    for source in &settings.sources {
        if let Some(facts) = admin.describe_topic(source).await.map_err(told)? {
            partitions = partitions.max(facts.partitions);
            replication = replication.max(Some(facts.replication));
        }
    }
    let mut config = vec![
        ("cleanup.policy", "delete".to_owned()),
        ("retention.ms", "-1".to_owned()),
        ("max.message.bytes", (allowed.message_bytes + ROOM_BYTES).to_string()),
    ];
    // A letter has its record's time.
    if let Some(ahead) = allowed.ahead_ms.filter(|ahead| *ahead > USUALLY_AHEAD_MS) {
        config.push(("message.timestamp.after.max.ms", ahead.to_string()));
    }
    Ok(TopicPlan {
        name: settings.topic.clone(),
        partitions,
        replication,
        config: (config.into_iter())
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
    let _turn = TURNS.acquire().await;
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
    let sent = producer.send_all([asking].into_iter());
    drop(value);
    let answer = tokio::time::timeout(PATIENCE, sent).await;
    match answer.ok().and_then(|results| results.into_iter().next()) {
        Some(Err(SendError::TooLarge(_) | SendError::Refused(_)) | Ok(())) => Ok(()),
        Some(Err(SendError::Denied(reason) | SendError::Missing(reason))) => Err(reason),
        Some(Err(SendError::Away(reason) | SendError::Other(reason))) => Err(reason),
        Some(Err(SendError::Full | SendError::Purged)) | None => Err(no_answer(&settings.topic, &producer)),
    }
}

fn no_answer(topic: &str, producer: &Producer) -> String {
    let why = match &*producer.health().borrow() {
        Health::Fine => String::new(),
        Health::Away(why) | Health::Blocked(why) => format!(": {why}"),
    };
    format!("dead-letter topic `{topic}`: the cluster did not answer within {PATIENCE:?}{why}")
}

fn told(error: KafkaError) -> String {
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cleanup_policy: &str, retention_ms: i64, max_message_bytes: usize) -> TopicConfig {
        TopicConfig {
            cleanup_policy: cleanup_policy.into(),
            retention_ms,
            max_message_bytes,
            max_ahead_ms: Some(USUALLY_AHEAD_MS),
        }
    }

    fn sources(ahead_ms: i64) -> Allowed {
        Allowed {
            message_bytes: 1000,
            ahead_ms: Some(ahead_ms),
        }
    }

    #[test]
    fn a_topic_that_keeps_everything_and_has_room_is_not_objected_to() {
        assert_eq!(
            objections("t", &config("delete", -1, 2000), sources(USUALLY_AHEAD_MS)),
            Ok(Vec::new())
        );
    }

    #[test]
    fn a_compacted_topic_is_refused() {
        for policy in ["compact", "compact,delete"] {
            let refused = objections("t", &config(policy, -1, 2000), sources(0)).unwrap_err();
            assert!(
                refused.contains(policy) && refused.contains("cleanup.policy=delete"),
                "{refused}"
            );
        }
    }

    #[test]
    fn finite_retention_and_too_little_room_are_warned_about() {
        let warnings = objections("t", &config("delete", 1500, 1000), sources(0)).unwrap();
        assert_eq!(warnings.len(), 2);
        assert!(
            warnings[0].contains("1.5 s") && warnings[0].contains("retention.ms=-1"),
            "{warnings:?}"
        );
        assert!(warnings[1].contains(&(1000 + ROOM_BYTES).to_string()), "{warnings:?}");
    }

    #[test]
    fn a_topic_that_refuses_times_that_the_source_allows_is_warned_about() {
        let warnings = objections("t", &config("delete", -1, 2000), sources(i64::MAX)).unwrap();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("message.timestamp.after.max.ms"), "{warnings:?}");
    }
}

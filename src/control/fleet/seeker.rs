//! Moves or deletes the offsets of groups, once their members have left.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::config::Foundation;
use crate::control::access::Secrets;
use crate::control::registry::{self, Author, ChangeError, Forgotten, Registered, Registry, SeekOrder};
use crate::kafka::{Admin, KafkaError, Kind, Seek, SeekTo, Topics, seek};
use crate::pipeline::PipelineSettings;
use crate::store::StoreError;

/// A group whose members have not left after so long won't be waited for.
const LEFT_WITHIN_MS: i64 = 120_000;

/// Carries out what operators ordered.
pub(super) struct Seeker {
    pub(super) registry: Registry,
    pub(super) foundation: Foundation,
    pub(super) secrets: Secrets,
}

impl Seeker {
    /// Carries out the seeks that are ordered; one whose group has members waits for the next round.
    pub(super) async fn see_to(&self, pipelines: &BTreeMap<String, Registered>) -> Result<(), StoreError> {
        for pipeline in pipelines.values() {
            if let Some(order) = &pipeline.seek
                && let Some((failed, detail)) = self.carry_out(pipeline, order).await?
            {
                self.end(pipeline, failed, &detail).await?;
            }
        }
        Ok(())
    }

    /// Deletes the groups whose offsets are to go; one that has members waits for the next round.
    pub(super) async fn forget(&self) -> Result<(), StoreError> {
        for forgotten in self.registry.forgotten().await? {
            let now = Timestamp::now().as_millisecond();
            let late = now - forgotten.by.at_ms > LEFT_WITHIN_MS;
            match self.delete_group(&forgotten).await {
                Ok(()) => self.registry.forget(&forgotten, now, "").await?,
                Err(error) if waits(error.kind) && !late => {}
                Err(error) => {
                    let detail = format!("its offsets stay: {error}");
                    self.registry.forget(&forgotten, now, &detail).await?;
                }
            }
        }
        Ok(())
    }

    async fn delete_group(&self, forgotten: &Forgotten) -> Result<(), KafkaError> {
        let cluster = self.foundation.worker().clusters.get(&forgotten.cluster);
        let unknown = || {
            let text = format!("cluster `{}` is not configured on this worker", forgotten.cluster);
            KafkaError::new(Kind::Settings, text)
        };
        let cluster = cluster.cloned().ok_or_else(unknown)?;
        Admin::open(cluster, "fnbridge-forget")?
            .delete_group(&forgotten.group)
            .await
    }

    /// `None`: it is to be tried again.
    async fn carry_out(
        &self,
        pipeline: &Registered,
        order: &SeekOrder,
    ) -> Result<Option<(Option<String>, String)>, StoreError> {
        let secrets = self.secrets.values().await?;
        let built = self.foundation.pipeline(&pipeline.document.to_string(), &secrets);
        let order = built
            .map_err(|problems| problems.to_string())
            .and_then(|built| ordered(&built.settings, order));
        let order = match order {
            Ok(order) => order,
            Err(reason) => return Ok(Some((Some(reason), String::new()))),
        };
        let Ok(outcome) = tokio::task::spawn_blocking(move || seek(&order)).await else {
            return Ok(None);
        };
        Ok(match outcome {
            Ok(sought) => {
                let moved = sought.iter().map(|moved| {
                    let from = moved.from.map_or_else(|| "none".to_owned(), |from| from.to_string());
                    format!("{}/{} from {from} to {}", moved.topic, moved.partition, moved.to)
                });
                Some((None, moved.take(50).collect::<Vec<_>>().join(", ")))
            }
            Err(error) => match error.kind {
                kind if waits(kind) && !is_late(pipeline) => None,
                _ => Some((Some(error.to_string()), String::new())),
            },
        })
    }

    async fn end(&self, pipeline: &Registered, failed: Option<String>, detail: &str) -> Result<(), StoreError> {
        let author = Author {
            name: pipeline.changed_by.clone(),
            at_ms: Timestamp::now().as_millisecond(),
        };
        let detail = failed.as_deref().map_or(detail, |reason| reason).to_owned();
        let decide = |existing: Option<&Registered>, _| registry::sought(existing, failed.clone(), &author);
        match self.registry.change(&pipeline.name, &author, &detail, decide).await {
            Ok(_) | Err(ChangeError::Refused(_) | ChangeError::GroupTaken { .. }) => Ok(()),
            Err(ChangeError::Store(error)) => Err(error),
        }
    }
}

/// Whether it may work after a while.
fn waits(kind: Kind) -> bool {
    matches!(kind, Kind::GroupInUse | Kind::Away | Kind::Passing | Kind::NotMember)
}

fn is_late(pipeline: &Registered) -> bool {
    Timestamp::now().as_millisecond() - pipeline.changed_ms > LEFT_WITHIN_MS
}

fn ordered(settings: &PipelineSettings, order: &SeekOrder) -> Result<Seek, String> {
    let to = seek_to(&order.to)?;
    let topics = match &order.topic {
        Some(topic) => Topics::Named(vec![topic.clone()]),
        None => settings.source.topics.clone(),
    };
    Ok(Seek {
        cluster: settings.source.cluster.clone(),
        group: settings.source.group.clone(),
        topics,
        never: settings.source.never.clone(),
        partitions: order.partitions.clone(),
        to,
    })
}

/// Reads `earliest`, `latest`, a time, or an offset.
pub fn seek_to(text: &str) -> Result<SeekTo, String> {
    match (text, text.parse::<i64>(), text.parse::<Timestamp>()) {
        ("earliest", _, _) => Ok(SeekTo::Earliest),
        ("latest", _, _) => Ok(SeekTo::Latest),
        (_, Ok(offset), _) if offset >= 0 => Ok(SeekTo::Offset(offset)),
        (_, Err(_), Ok(time)) => Ok(SeekTo::Time(time.as_millisecond())),
        (_, _, _) => Err(format!(
            "found {text:?}, expected earliest, latest, an offset, or a time such as 2026-01-31T12:00:00Z"
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places_to_go_on_at_are_read() {
        assert_eq!(seek_to("earliest"), Ok(SeekTo::Earliest));
        assert_eq!(seek_to("42"), Ok(SeekTo::Offset(42)));
        assert_eq!(seek_to("1970-01-01T00:00:01Z"), Ok(SeekTo::Time(1000)));
        for wrong in ["", "-1", "yesterday", "99999999999999999999"] {
            assert!(seek_to(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_text_is_a_place_or_is_refused(text in "\\PC{0,30}|[-+0-9TZ:.]{0,30}") {
            match seek_to(&text) {
                Ok(SeekTo::Offset(offset)) => prop_assert!(offset >= 0),
                Ok(_) => {}
                Err(why) => prop_assert!(why.contains("expected earliest, latest, an offset")),
            }
        }
    }
}

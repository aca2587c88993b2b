//! What is said of troubles, and how often: once when they come, every 30 s while they stay, once when they go.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode as Code;

use super::events::{Trouble, TroubleKind};
use crate::kafka::error::{KafkaError, Kind, Resource, Right, said};

const AGAIN: Duration = Duration::from_secs(30);

/// The troubles that stand.
#[derive(Default)]
pub(super) struct Troubles(BTreeMap<TroubleKind, Standing>);

struct Standing {
    text: String,
    said: Instant,
}

impl Troubles {
    /// `Some`: it has to be said, for it is new, other than before, or was last said a while ago. Each attempt to reach a
    /// cluster fails with other words, which is not another trouble.
    pub(super) fn rise(&mut self, trouble: Trouble, now: Instant) -> Option<Trouble> {
        let same = |s: &&Standing| s.text == trouble.text || trouble.kind == TroubleKind::ClusterAway;
        let said = self.0.get(&trouble.kind).filter(same);
        if said.is_some_and(|s| now.duration_since(s.said) < AGAIN) {
            return None;
        }
        let standing = Standing {
            text: trouble.text.clone(),
            said: now,
        };
        self.0.insert(trouble.kind, standing);
        Some(trouble)
    }

    /// `Some`: it stood, and its end has to be said.
    pub(super) fn fall(&mut self, kind: TroubleKind) -> Option<TroubleKind> {
        self.0.remove(&kind).map(|_| kind)
    }

    /// Whether this one stands.
    pub(super) fn stands(&self, kind: TroubleKind) -> bool {
        self.0.contains_key(&kind)
    }

    /// Whether any stands.
    pub(super) fn any(&self) -> bool {
        !self.0.is_empty()
    }
}

/// The trouble that an error of the cluster is.
pub(super) fn of_error(error: &KafkaError) -> Trouble {
    let kind = match error.kind {
        Kind::Away => TroubleKind::ClusterAway,
        Kind::Unauthenticated => TroubleKind::Unauthenticated,
        Kind::Missing => TroubleKind::TopicMissing,
        Kind::Denied(Resource::Topic) => TroubleKind::TopicDenied,
        Kind::Denied(Resource::Group) => TroubleKind::GroupDenied,
        Kind::Settings => TroubleKind::Settings,
        Kind::Fatal => TroubleKind::ClientBroken,
        Kind::Denied(Resource::Cluster | Resource::Transactions) | Kind::Passing | Kind::Exists | Kind::NotMember => {
            TroubleKind::Other
        }
        Kind::GroupInUse | Kind::OutOfRange | Kind::TooLarge | Kind::Refused => TroubleKind::Other,
        Kind::Full | Kind::Purged | Kind::Other => TroubleKind::Other,
    };
    Trouble {
        kind,
        text: error.to_string(),
    }
}

/// The trouble that an error on the consumer's queue is; `None` where the client gets over it by itself, and soon.
pub(super) fn of_event(code: Code, reason: &str, topic: Option<&str>, group: &str, cluster: &str) -> Option<Trouble> {
    let named = |right: Right, doing: String| KafkaError::from_code(code, &doing, Some(right)).to_string();
    let (kind, text) = match Kind::of(code) {
        Kind::Unauthenticated => (
            TroubleKind::Unauthenticated,
            format!("cluster `{cluster}` does not accept user and password: {reason}"),
        ),
        Kind::Denied(Resource::Topic) => match topic {
            Some(topic) => {
                let right = Right::ReadTopic(topic.to_owned());
                (TroubleKind::TopicDenied, named(right, format!("read topic `{topic}`")))
            }
            None => (TroubleKind::TopicDenied, format!("{reason}; grant Read on the topic")),
        },
        Kind::Denied(Resource::Group) => {
            let right = Right::UseGroup(group.to_owned());
            (
                TroubleKind::GroupDenied,
                named(right, format!("read as group `{group}`")),
            )
        }
        Kind::Refused | Kind::Denied(Resource::Cluster | Resource::Transactions) | Kind::TooLarge => {
            (TroubleKind::Other, format!("{reason} ({})", said(code)))
        }
        // Topics that come and go are looked for by name; an offset that is gone is dealt with where it is met.
        Kind::Missing | Kind::OutOfRange => return None,
        Kind::Away | Kind::Passing | Kind::NotMember | Kind::GroupInUse | Kind::Exists => return None,
        Kind::Full | Kind::Purged | Kind::Fatal | Kind::Settings | Kind::Other => return None,
    };
    Some(Trouble { kind, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away(text: &str) -> Trouble {
        Trouble {
            kind: TroubleKind::ClusterAway,
            text: text.into(),
        }
    }

    #[test]
    fn a_trouble_that_stays_is_said_every_30_seconds() {
        let (mut troubles, start) = (Troubles::default(), Instant::now());
        assert!(troubles.rise(away("no answer"), start).is_some());
        assert!(troubles.rise(away("no answer"), start + AGAIN / 2).is_none());
        assert!(troubles.rise(away("no answer"), start + AGAIN).is_some());
    }

    #[test]
    fn a_trouble_that_changes_is_said_at_once() {
        let (mut troubles, start) = (Troubles::default(), Instant::now());
        let missing = |text: &str| Trouble {
            kind: TroubleKind::TopicMissing,
            text: text.into(),
        };
        troubles.rise(missing("`a`"), start);
        assert!(troubles.rise(missing("`b`"), start).is_some());
        troubles.rise(away("no answer"), start);
        assert!(troubles.rise(away("connection refused"), start).is_none());
    }

    #[test]
    fn the_end_of_a_trouble_is_said_once() {
        let (mut troubles, start) = (Troubles::default(), Instant::now());
        troubles.rise(away("no answer"), start);
        assert_eq!(troubles.fall(TroubleKind::ClusterAway), Some(TroubleKind::ClusterAway));
        assert_eq!(troubles.fall(TroubleKind::ClusterAway), None);
        assert!(!troubles.any());
    }

    #[test]
    fn a_denied_group_names_the_right_that_is_missing() {
        let trouble = of_event(Code::GroupAuthorizationFailed, "…", None, "fnbridge-a", "default").expect("a trouble");
        assert_eq!(trouble.kind, TroubleKind::GroupDenied);
        assert!(
            trouble.text.ends_with("grant Read on group `fnbridge-a`"),
            "{}",
            trouble.text
        );
    }

    #[test]
    fn one_broker_of_many_is_no_trouble() {
        assert_eq!(of_event(Code::BrokerTransportFailure, "…", None, "g", "c"), None);
    }
}

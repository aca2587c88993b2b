//! Whether the cluster takes what is sent. A producer that waits out an outage reports no record, so that somebody has to
//! say that it waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode as Code;
use tokio::sync::watch;

use crate::kafka::error::Kind;

/// Whether the cluster takes what is sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// As far as is known.
    #[default]
    Fine,
    /// No broker answers, and why; it is waited for.
    Away(String),
    /// User or password are not accepted: waiting alone won't help.
    Blocked(String),
}

/// Where it is reported.
pub(super) struct HealthReport {
    cluster: String,
    troubled: AtomicBool,
    last_reason: Mutex<String>,
    sender: watch::Sender<Health>,
}

impl HealthReport {
    pub(super) fn new(cluster: String) -> HealthReport {
        HealthReport {
            cluster,
            troubled: AtomicBool::new(false),
            last_reason: Mutex::new("no broker can be reached".to_owned()),
            sender: watch::Sender::new(Health::Fine),
        }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Health> {
        self.sender.subscribe()
    }

    pub(super) fn troubled(&self) -> bool {
        self.troubled.load(Ordering::Relaxed)
    }

    /// An ack arrived. Costs one load while all is well.
    pub(super) fn fine(&self) {
        if self.troubled.load(Ordering::Relaxed) {
            self.troubled.store(false, Ordering::Relaxed);
            self.sender.send_replace(Health::Fine);
        }
    }

    /// The client reported an error that belongs to no record. One broker of many being away is not trouble: its
    /// partitions find another leader; but its reason is kept for the day when none answers.
    pub(super) fn trouble(&self, code: Code, reason: &str) {
        let cluster = &self.cluster;
        let health = match Kind::of(code) {
            Kind::Away if code == Code::AllBrokersDown => {
                let last = self.last_reason.lock().unwrap_or_else(PoisonError::into_inner);
                Health::Away(format!("cluster `{cluster}` does not answer: {last}"))
            }
            Kind::Away => {
                let mut last = self.last_reason.lock().unwrap_or_else(PoisonError::into_inner);
                reason.clone_into(&mut last);
                return;
            }
            Kind::Unauthenticated => Health::Blocked(format!(
                "cluster `{cluster}` does not accept user and password: {reason}"
            )),
            // A right that is missing is told with each record.
            _ => return,
        };
        self.tell(health);
    }

    /// What was sent is not acknowledged, and nobody says why.
    pub(super) fn silent(&self, since: Duration) {
        if !self.troubled() {
            self.tell(Health::Away(format!(
                "cluster `{}` has acknowledged nothing of what it was sent for {since:?}: too few brokers may keep the topic in \
                 sync (min.insync.replicas), its partitions may have no leader, or connections hang",
                self.cluster
            )));
        }
    }

    fn tell(&self, health: Health) {
        self.troubled.store(true, Ordering::Relaxed);
        self.sender.send_if_modified(|now| {
            let new = std::mem::discriminant(now) != std::mem::discriminant(&health);
            if new {
                *now = health;
            }
            new
        });
    }
}

//! How a cluster is reached, and what of its settings is ours.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::error::KafkaError;

/// A Kafka cluster, as a worker's configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// The name that pipelines use.
    pub name: String,
    /// `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// How connections are secured.
    pub security: Security,
    /// librdkafka's own properties, passed on. They win over our defaults, but for those in [`OWNED`].
    pub properties: BTreeMap<String, String>,
    /// It is the embedded broker, which answers no admin requests: its answers are known.
    pub embedded: bool,
}

/// How connections are secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    Plaintext,
    /// TLS, where a certificate of ours may stand for a password.
    Ssl(Tls),
    /// A password, in the clear.
    SaslPlaintext(Sasl),
    /// A password over TLS.
    SaslSsl(Sasl, Tls),
}

/// TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates that the brokers' must chain to, PEM; the system's without it.
    pub ca: Option<PathBuf>,
    /// Our certificate, PEM.
    pub certificate: Option<PathBuf>,
    /// Our key, PEM.
    pub key: Option<PathBuf>,
    /// What the key is encrypted with.
    pub key_password: Option<Password>,
    /// The name in a broker's certificate need not be the name it is reached by.
    pub any_hostname: bool,
}

/// A user and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sasl {
    /// How the password is shown to the broker.
    pub mechanism: Mechanism,
    /// The user.
    pub username: String,
    /// The password.
    pub password: Password,
}

/// How a password is shown to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// As it is.
    Plain,
    /// Salted challenge response over SHA-256.
    ScramSha256,
    /// Salted challenge response over SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// All of them.
    pub const ALL: [Mechanism; 3] = [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512];

    /// The name that Kafka gives it.
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// A secret that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Properties that a cluster's `properties` may not set, and why: what they say is fnbridge's promise, or has a field of
/// its own.
pub const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "set `bootstrap_servers` of the cluster"),
    ("metadata.broker.list", "set `bootstrap_servers` of the cluster"),
    ("security.protocol", "set `security.protocol` of the cluster"),
    ("sasl.mechanism", "set `security.mechanism` of the cluster"),
    ("sasl.mechanisms", "set `security.mechanism` of the cluster"),
    ("sasl.username", "set `security.username` of the cluster"),
    ("sasl.password", "set `security.password` of the cluster"),
    ("client.id", "fnbridge knows its own members by it"),
    ("group.id", "set `source.group` of the pipeline"),
    ("group.instance.id", "set `worker.id`: members are known by it"),
    ("isolation.level", "set `source.isolation` of the pipeline"),
    (
        "auto.offset.reset",
        "fnbridge decides where reading starts, and never skips records in silence",
    ),
    ("enable.auto.commit", "fnbridge commits what is settled, nothing else"),
    (
        "enable.auto.offset.store",
        "fnbridge commits what is settled, nothing else",
    ),
    ("enable.partition.eof", "fnbridge does not ask for it"),
    ("enable.idempotence", "results are written in order, so it stays on"),
    (
        "enable.gapless.guarantee",
        "a record that a broker refuses must not stop the others",
    ),
    ("transactional.id", "fnbridge chooses it"),
    ("acks", "a result is stored when all replicas have it"),
    ("request.required.acks", "a result is stored when all replicas have it"),
    ("message.timeout.ms", "a sink that is away is waited for"),
    ("delivery.timeout.ms", "a sink that is away is waited for"),
    ("partitioner", "records are partitioned as Java's client does"),
    ("log.queue", "fnbridge reads it"),
];

/// Properties that only members of classic groups have.
const CLASSIC: [&str; 4] = [
    "group.protocol.type",
    "heartbeat.interval.ms",
    "partition.assignment.strategy",
    "session.timeout.ms",
];

/// Why a cluster's `properties` may not set this one; `None` where they may.
pub fn owned(property: &str) -> Option<&'static str> {
    (OWNED.iter().find(|(name, _)| *name == property)).map(|(_, why)| *why)
}

impl ClusterSettings {
    /// A cluster without security and properties.
    pub fn plaintext(name: impl Into<String>, bootstrap_servers: impl Into<String>) -> ClusterSettings {
        ClusterSettings {
            name: name.into(),
            bootstrap_servers: bootstrap_servers.into(),
            security: Security::Plaintext,
            properties: BTreeMap::new(),
            embedded: false,
        }
    }

    /// Whether members of its groups share partitions out among themselves; else the broker does (KIP-848).
    pub(crate) fn has_classic_groups(&self) -> bool {
        let protocol = self.properties.get("group.protocol");
        protocol.is_none_or(|protocol| protocol == "classic")
    }

    /// What every client of this cluster is opened with.
    pub fn client_config(&self) -> ClientConfig {
        self.config(&[])
    }

    /// Our defaults, then the cluster's properties, then what is ours.
    pub(crate) fn config(&self, defaults: &[(&str, String)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Error);
        for (name, value) in COMMON {
            config.set(name, value);
        }
        for (name, value) in defaults {
            config.set(*name, value.as_str());
        }
        for (name, value) in self.properties.iter().filter(|(name, _)| owned(name).is_none()) {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.bootstrap_servers);
        self.security.apply(&mut config);
        config
    }

    /// What the client library finds wrong with the properties: the name of each, and what was expected of it.
    pub fn wrong_properties(&self) -> Vec<(String, String)> {
        let mut wrong = Vec::new();
        for (name, value) in &self.properties {
            if let Some(why) = owned(name) {
                wrong.push((name.clone(), format!("may not be set here: {why}")));
                continue;
            }
            if !self.has_classic_groups() && CLASSIC.contains(&name.as_str()) {
                let why = "under this `group.protocol`, that is the brokers' to set";
                wrong.push((name.clone(), format!("may not be set here: {why}")));
                continue;
            }
            let mut alone = ClientConfig::new();
            alone.set(name, value);
            if let Err(error) = alone.create_native_config() {
                let what = match &error {
                    rdkafka::error::KafkaError::ClientConfig(_, what, ..) => what.clone(),
                    other => KafkaError::from_client(other, "use it", None).text,
                };
                wrong.push((name.clone(), what));
            }
        }
        wrong
    }
}

/// Defaults of every client. Reconnecting at once and then within 2 s keeps a broker's restart short.
const COMMON: [(&str, &str); 5] = [
    ("reconnect.backoff.ms", "100"),
    ("reconnect.backoff.max.ms", "2000"),
    ("socket.keepalive.enable", "true"),
    ("topic.metadata.refresh.interval.ms", "30000"),
    ("log.connection.close", "false"),
];

impl Security {
    fn apply(&self, config: &mut ClientConfig) {
        match self {
            Security::Plaintext => {
                config.set("security.protocol", "plaintext");
            }
            Security::Ssl(tls) => {
                config.set("security.protocol", "ssl");
                tls.apply(config);
            }
            Security::SaslPlaintext(sasl) => {
                config.set("security.protocol", "sasl_plaintext");
                sasl.apply(config);
            }
            Security::SaslSsl(sasl, tls) => {
                config.set("security.protocol", "sasl_ssl");
                sasl.apply(config);
                tls.apply(config);
            }
        }
    }
}

impl Sasl {
    fn apply(&self, config: &mut ClientConfig) {
        config.set("sasl.mechanism", self.mechanism.name());
        config.set("sasl.username", &self.username);
        config.set("sasl.password", &self.password.0);
    }
}

impl Tls {
    fn apply(&self, config: &mut ClientConfig) {
        let files = [
            ("ssl.ca.location", &self.ca),
            ("ssl.certificate.location", &self.certificate),
            ("ssl.key.location", &self.key),
        ];
        for (name, file) in files {
            if let Some(file) = file {
                config.set(name, file.to_string_lossy());
            }
        }
        if let Some(password) = &self.key_password {
            config.set("ssl.key.password", &password.0);
        }
        if self.any_hostname {
            config.set("ssl.endpoint.identification.algorithm", "none");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(properties: &[(&str, &str)]) -> ClusterSettings {
        let mut cluster = ClusterSettings::plaintext("default", "127.0.0.1:9092");
        (cluster.properties).extend(properties.iter().map(|(n, v)| (n.to_string(), v.to_string())));
        cluster
    }

    #[test]
    fn a_users_property_wins_over_a_default_and_never_over_a_promise() {
        let config = cluster(&[("reconnect.backoff.max.ms", "9000"), ("acks", "0")]).client_config();
        assert_eq!(config.get("reconnect.backoff.max.ms"), Some("9000"));
        assert_eq!(config.get("acks"), None);
    }

    #[test]
    fn every_wrong_property_is_named() {
        let wrong = cluster(&[
            ("acks", "0"),
            ("no.such", "1"),
            ("socket.timeout.ms", "soon"),
            ("linger.ms", "3"),
        ]);
        let names: Vec<String> = wrong.wrong_properties().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["acks", "no.such", "socket.timeout.ms"]);
    }

    #[test]
    fn what_the_newer_group_protocol_leaves_to_brokers_is_refused_with_it_and_taken_without() {
        let names = |properties| {
            let wrong = cluster(properties).wrong_properties();
            wrong.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(
            names(&[("session.timeout.ms", "9000"), ("group.protocol", "classic")]),
            [""; 0]
        );
        assert_eq!(
            names(&[("session.timeout.ms", "9000"), ("group.protocol", "consumer")]),
            ["session.timeout.ms"]
        );
    }

    #[test]
    fn a_password_is_not_shown() {
        let sasl = Sasl {
            mechanism: Mechanism::Plain,
            username: "app".into(),
            password: Password("hunter2".into()),
        };
        assert!(!format!("{sasl:?}").contains("hunter2"));
    }

    #[test]
    fn every_common_property_is_known_to_the_library() {
        assert!(cluster(&[]).client_config().create_native_config().is_ok());
    }
}

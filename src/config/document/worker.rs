use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::TextDoc;
use crate::config::quantity::Size;
use crate::http::AddressPolicy;

/// What a worker is told.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "A fnbridge worker")]
pub(crate) struct WorkerDoc {
    /// Who this worker is.
    pub(crate) worker: IdentityDoc,
    /// Where API, metrics and health are served. Another address than a loopback one needs tokens, and TLS here or in a
    /// proxy.
    #[schemars(extend("x-fnbridge-form" = "an address and a port, such as 127.0.0.1:8470"))]
    pub(crate) listen: String,
    /// The URL at which other workers of the fleet reach this one's API; by default what `listen` says, where that is one
    /// address.
    #[schemars(extend("x-fnbridge-form" = "an http or https URL, such as https://fnbridge-1.internal:8470"))]
    pub(crate) advertise: Option<String>,
    /// Who may use the API.
    pub(crate) access: Option<AccessDoc>,
    /// Where the fleet's state is kept: `sqlite://PATH`, relative to this file; `postgres://…`; or
    /// `etcd://HOST:2379,HOST:2379/PREFIX`.
    #[schemars(extend("x-fnbridge-form" = "sqlite://PATH, postgres://…, or etcd://HOST:2379/PREFIX"))]
    pub(crate) store: String,
    /// Kafka clusters, by the names that pipelines use.
    #[schemars(extend("minProperties" = 1))]
    pub(crate) clusters: BTreeMap<String, ClusterDoc>,
    /// What the whole worker may hold.
    pub(crate) limits: WorkerLimitsDoc,
    /// What the worker says of itself.
    pub(crate) telemetry: TelemetryDoc,
    /// Where functions and HTTP sinks may be.
    pub(crate) functions: FunctionsDoc,
    /// Files of pipelines, or patterns of file names (`*` and `?`), relative to this file. A file may hold several
    /// documents.
    pub(crate) pipelines: Vec<String>,
}

impl Default for WorkerDoc {
    fn default() -> WorkerDoc {
        WorkerDoc {
            worker: IdentityDoc::default(),
            listen: "127.0.0.1:8470".to_owned(),
            advertise: None,
            access: None,
            store: "sqlite://fnbridge.db".to_owned(),
            clusters: BTreeMap::from([("default".to_owned(), ClusterDoc::default())]),
            limits: WorkerLimitsDoc::default(),
            telemetry: TelemetryDoc::default(),
            functions: FunctionsDoc::default(),
            pipelines: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AccessDoc {
    /// The files of a certificate chain and its key (PEM); they are read again when they change.
    pub(crate) tls: Option<TlsDoc>,
    /// A proxy in front of the API does TLS.
    pub(crate) behind_tls_proxy: bool,
    /// Ask for tokens; by default only where `listen` is no loopback address.
    pub(crate) tokens: Option<bool>,
    /// 32 random bytes as base64, in a file or an environment variable: what secrets are encrypted with. All workers
    /// have the same.
    pub(crate) secrets_key: Option<TextDoc>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["certificate", "key"]))]
pub(crate) struct TlsDoc {
    /// The certificate, and those that lead to a root; relative to this file.
    pub(crate) certificate: String,
    /// Its key.
    pub(crate) key: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct IdentityDoc {
    /// The worker's id, unique in the fleet; by default the host's name and 8 random characters. With an id, a worker that is
    /// started again finds its partitions as it left them.
    #[schemars(
        regex(pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"),
        extend("x-fnbridge-form" = "1 to 128 letters, digits, dots, _ and -, beginning with a letter or digit")
    )]
    pub(crate) id: Option<String>,
    /// What the process does: `control` serves the API and places pipelines, `worker` runs them; by default both.
    #[schemars(extend("minItems" = 1))]
    pub(crate) roles: Option<Vec<RoleDoc>>,
    /// Labels, for placement.
    pub(crate) labels: BTreeMap<String, String>,
    /// Where a worker without the `control` role finds those that have it; it opens no store.
    pub(crate) control: Option<ControlDoc>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["urls"]))]
pub(crate) struct ControlDoc {
    /// Their URLs, asked in turn. Secrets come this way: `https`, or `http` to a loopback address, such as a mesh's proxy.
    #[schemars(extend("minItems" = 1))]
    pub(crate) urls: Vec<String>,
    /// A token with the role `worker`, where they ask for tokens.
    pub(crate) token: Option<TextDoc>,
    /// A file of certificates (PEM) that theirs may chain to, beside the system's; relative to this file.
    pub(crate) ca: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RoleDoc {
    Control,
    Worker,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["bootstrap_servers"]))]
pub(crate) struct ClusterDoc {
    /// Brokers to ask first: `host:port`, separated by commas.
    #[schemars(
        regex(pattern = r"^\s*[^\s,:/]+:[0-9]{1,5}(\s*,\s*[^\s,:/]+:[0-9]{1,5})*\s*$|^\s*\[[0-9A-Fa-f:]+\]:[0-9]{1,5}\s*$"),
        extend("x-fnbridge-form" = "host:port, or several separated by commas")
    )]
    pub(crate) bootstrap_servers: String,
    /// How connections are secured.
    pub(crate) security: SecurityDoc,
    /// Any librdkafka property, passed on, but for those that fnbridge's promises rest on.
    pub(crate) properties: BTreeMap<String, PropertyDoc>,
    /// Topics in which others keep dead letters, such as Kafka Connect: they are listed, grouped and shown beside the pipelines'
    /// own, and never written to.
    pub(crate) dead_letter_topics: Vec<String>,
}

impl Default for ClusterDoc {
    fn default() -> ClusterDoc {
        ClusterDoc {
            bootstrap_servers: "127.0.0.1:9092".to_owned(),
            security: SecurityDoc::default(),
            properties: BTreeMap::new(),
            dead_letter_topics: Vec::new(),
        }
    }
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SecurityDoc {
    /// TLS, a password, both or neither.
    pub(crate) protocol: ProtocolDoc,
    /// How the password is shown to the broker; needed with `sasl_plaintext` and `sasl_ssl`.
    pub(crate) mechanism: Option<MechanismDoc>,
    /// The user.
    pub(crate) username: Option<TextDoc>,
    /// The password.
    pub(crate) password: Option<TextDoc>,
    /// A file of certificates (PEM) that the brokers' must chain to; by default the system's.
    pub(crate) ca: Option<String>,
    /// A file with this worker's certificate (PEM), where brokers ask for one.
    pub(crate) certificate: Option<String>,
    /// A file with the certificate's key (PEM).
    pub(crate) key: Option<String>,
    /// What the key is encrypted with.
    pub(crate) key_password: Option<TextDoc>,
    /// Whether a broker's certificate must name the host that it is reached by.
    pub(crate) verify_hostname: bool,
}

impl Default for SecurityDoc {
    fn default() -> SecurityDoc {
        SecurityDoc {
            protocol: ProtocolDoc::Plaintext,
            mechanism: None,
            username: None,
            password: None,
            ca: None,
            certificate: None,
            key: None,
            key_password: None,
            verify_hostname: true,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ProtocolDoc {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(crate) enum MechanismDoc {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// A librdkafka property's value.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum PropertyDoc {
    Switch(bool),
    Whole(i64),
    Fraction(f64),
    Text(String),
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WorkerLimitsDoc {
    /// Bytes of records, requests, answers and held results, shared out to the pipelines by `limits.weight`, as they come
    /// and go.
    #[schemars(extend("x-fnbridge-at-least" = "1MiB"))]
    pub(crate) in_flight_bytes: Size,
    /// Bytes that are fetched ahead, shared out to the pipelines by `limits.weight` when each of them starts.
    #[schemars(extend("x-fnbridge-at-least" = "1MiB", "x-fnbridge-at-most" = "2GiB"))]
    pub(crate) prefetch_bytes: Size,
}

impl Default for WorkerLimitsDoc {
    fn default() -> WorkerLimitsDoc {
        WorkerLimitsDoc {
            in_flight_bytes: Size::mib(96),
            prefetch_bytes: Size::mib(32),
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TelemetryDoc {
    /// Where traces are sent: an OTLP endpoint over HTTP.
    #[schemars(extend("x-fnbridge-form" = "a URL, such as http://127.0.0.1:4318"))]
    pub(crate) otlp_endpoint: Option<String>,
    /// The log, on standard error.
    pub(crate) log: LogDoc,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogDoc {
    /// For people, or for machines.
    pub(crate) format: LogFormatDoc,
    /// The least that is said.
    pub(crate) level: LogLevelDoc,
    /// Also what functions say of single records, which may hold pieces of them.
    pub(crate) records: bool,
}

impl Default for LogDoc {
    fn default() -> LogDoc {
        LogDoc {
            format: LogFormatDoc::Text,
            level: LogLevelDoc::Info,
            records: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormatDoc {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogLevelDoc {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FunctionsDoc {
    /// Where not empty, only these networks, such as `10.0.0.0/8`.
    pub(crate) allow: Vec<String>,
    /// Never these networks, even inside of those allowed. A list of your own replaces this one.
    pub(crate) deny: Vec<String>,
}

impl Default for FunctionsDoc {
    fn default() -> FunctionsDoc {
        let policy = AddressPolicy::default();
        FunctionsDoc {
            allow: policy.allow.iter().map(ToString::to_string).collect(),
            deny: policy.deny.iter().map(ToString::to_string).collect(),
        }
    }
}

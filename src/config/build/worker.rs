//! A worker's settings.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use hyper::Uri;
use ipnet::IpNet;
use reqwest::Url;

use super::cluster::cluster;
use super::places::text;
use super::source::topic_name;
use crate::config::document::{ClusterDoc, LogFormatDoc, LogLevelDoc, RoleDoc, WorkerDoc};
use crate::config::path::Path;
use crate::config::problem::{Code, Report};
use crate::config::yaml::Node;
use crate::http::AddressPolicy;
use crate::kafka::ClusterSettings;
use crate::telemetry::{LogFormat, LogLevel, LogSettings};

/// What a worker is told.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Its id: stated, or the host's name and 8 random characters.
    pub id: String,
    /// The id was stated: a process that comes back under it is the same worker.
    pub id_lasts: bool,
    /// It serves the API and places pipelines.
    pub controls: bool,
    /// It runs pipelines.
    pub works: bool,
    /// Labels, for placement.
    pub labels: BTreeMap<String, String>,
    /// Where those are that place pipelines, where this one does not.
    pub control: Option<ControlSettings>,
    /// Where the fleet's state is kept, where this worker places pipelines.
    pub store: StoreUrl,
    /// Where API, metrics and health are served: a loopback address.
    pub listen: SocketAddr,
    /// The URL at which other workers reach it, where that was stated.
    pub advertise: Option<Url>,
    /// Who may use the API.
    pub access: AccessSettings,
    /// Bytes that all pipelines together may hold.
    pub in_flight_bytes: usize,
    /// Bytes that all pipelines together may fetch ahead.
    pub prefetch_bytes: usize,
    /// Where traces are sent.
    pub otlp_endpoint: Option<String>,
    /// The log.
    pub log: LogSettings,
    /// Where functions and HTTP sinks may be.
    pub policy: Arc<AddressPolicy>,
    /// Its clusters, by name.
    pub clusters: BTreeMap<String, Arc<ClusterSettings>>,
    /// Topics in which others keep dead letters, by cluster.
    pub foreign_letters: BTreeMap<String, BTreeSet<String>>,
}

impl WorkerSettings {
    /// A worker as it is by default, with this id and these clusters.
    pub fn by_default(id: &str, clusters: BTreeMap<String, Arc<ClusterSettings>>) -> WorkerSettings {
        let node = Node::empty();
        let (settings, _) = worker(&WorkerDoc::default(), FilePath::new(""), &mut Report::new(id, &node));
        WorkerSettings {
            id: id.to_owned(),
            clusters,
            ..settings
        }
    }
}

/// Clusters by name, without settings where something is wrong with them.
pub(crate) type Clusters = BTreeMap<String, Option<Arc<ClusterSettings>>>;

/// A worker and its clusters. What is wrong was reported, and a default stands in its place.
pub(crate) fn worker(doc: &WorkerDoc, base: &FilePath, report: &mut Report<'_>) -> (WorkerSettings, Clusters) {
    let clusters: Clusters = (doc.clusters.iter())
        .map(|(name, cluster)| {
            let path = Path::of("clusters").key(name);
            let settings = self::cluster(name, cluster, &path, base, report);
            (name.clone(), settings.map(Arc::new))
        })
        .collect();
    let (allow, deny) = (&doc.functions.allow, &doc.functions.deny);
    let settings = WorkerSettings {
        id: doc.worker.id.clone().unwrap_or_else(some_id),
        id_lasts: doc.worker.id.is_some(),
        controls: has_role(doc, RoleDoc::Control),
        works: has_role(doc, RoleDoc::Worker),
        labels: doc.worker.labels.clone(),
        control: control(doc, base, report),
        store: store(&doc.store, base, report),
        listen: listen(doc, report),
        advertise: advertise(doc, report),
        access: access(doc, base, report),
        in_flight_bytes: doc.limits.in_flight_bytes.bytes(),
        prefetch_bytes: doc.limits.prefetch_bytes.bytes(),
        otlp_endpoint: otlp_endpoint(doc.telemetry.otlp_endpoint.as_ref(), report),
        log: LogSettings {
            format: match doc.telemetry.log.format {
                LogFormatDoc::Text => LogFormat::Text,
                LogFormatDoc::Json => LogFormat::Json,
            },
            level: level(doc.telemetry.log.level),
            records: doc.telemetry.log.records,
        },
        policy: Arc::new(AddressPolicy {
            allow: networks(allow, &Path::of("functions.allow"), report),
            deny: networks(deny, &Path::of("functions.deny"), report),
        }),
        clusters: (clusters.iter())
            .filter_map(|(name, cluster)| Some((name.clone(), cluster.clone()?)))
            .collect(),
        foreign_letters: (doc.clusters.iter())
            .map(|(name, cluster)| (name.clone(), foreign_letters(name, cluster, report)))
            .collect(),
    };
    (settings, clusters)
}

fn foreign_letters(name: &str, cluster: &ClusterDoc, report: &mut Report<'_>) -> BTreeSet<String> {
    let path = Path::of("clusters").key(name).key("dead_letter_topics");
    let legal =
        (cluster.dead_letter_topics.iter().enumerate()).filter(|(n, topic)| topic_name(topic, &path.index(*n), report));
    legal.map(|(_, topic)| topic.clone()).collect()
}

fn has_role(doc: &WorkerDoc, role: RoleDoc) -> bool {
    doc.worker.roles.as_ref().is_none_or(|roles| roles.contains(&role))
}

/// Where a worker finds those that tell it what to run.
#[derive(Clone)]
pub struct ControlSettings {
    /// Their URLs; at least one.
    pub urls: Vec<Url>,
    /// What this worker shows them.
    pub token: Option<String>,
    /// A file of certificates (PEM) that theirs may chain to.
    pub ca: Option<PathBuf>,
}

impl fmt::Debug for ControlSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlSettings")
            .field("urls", &self.urls.iter().map(Url::as_str).collect::<Vec<_>>())
            .field("has_token", &self.token.is_some())
            .field("ca", &self.ca)
            .finish()
    }
}

fn control(doc: &WorkerDoc, base: &FilePath, report: &mut Report<'_>) -> Option<ControlSettings> {
    let path = Path::of("worker").key("control");
    let has_store = doc.store != WorkerDoc::default().store;
    match (&doc.worker.control, has_role(doc, RoleDoc::Control)) {
        (None, true) => None,
        (None, false) => {
            let message = "found no worker.control beside roles without control; expected the URLs of those that have the role, such as \
                           worker: {roles: [worker], control: {urls: [https://fnbridge.example.com:8470]}}";
            report.value(&Path::of("worker").key("roles"), Code::Conflict, message.to_owned());
            None
        }
        (Some(_), true) => {
            let message = "found worker.control beside the role control; expected one of them: a worker that places pipelines has a store";
            report.value(&path, Code::Conflict, message.to_owned());
            None
        }
        (Some(_), false) if has_store => {
            let message = "found a store beside worker.control; expected none: those at worker.control have it";
            report.value(&Path::of("store"), Code::Conflict, message.to_owned());
            None
        }
        (Some(control), false) => {
            let token = control.token.as_ref();
            Some(ControlSettings {
                urls: control_urls(&control.urls, &path.key("urls"), report),
                token: token.and_then(|token| text(token, &path.key("token"), base, report)),
                ca: control.ca.as_ref().map(|ca| base.join(ca)),
            })
        }
    }
}

fn control_urls(texts: &[String], path: &Path, report: &mut Report<'_>) -> Vec<Url> {
    let is_loopback = |host: &str| {
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    };
    let is_safe = |url: &Url| match (url.scheme(), url.host_str()) {
        ("https", Some(_)) => true,
        ("http", Some(host)) => is_loopback(host),
        _ => false,
    };
    let mut urls = Vec::with_capacity(texts.len());
    for (n, text) in texts.iter().enumerate() {
        match text.parse::<Url>() {
            Ok(url) if is_safe(&url) => urls.push(url),
            Ok(_) | Err(_) => {
                let message = format!(
                    "found {text:?}, expected https://HOST:PORT, as secrets come this way; or http:// to a loopback address"
                );
                report.value(&path.index(n), Code::InvalidValue, message);
            }
        }
    }
    urls
}

/// A store's URL. It may hold a password, which is in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreUrl(pub String);

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.split(':').next().unwrap_or_default();
        write!(f, "StoreUrl({scheme}:…)")
    }
}

fn store(url: &str, base: &FilePath, report: &mut Report<'_>) -> StoreUrl {
    const SCHEMES: [&str; 4] = ["sqlite://", "postgres://", "postgresql://", "etcd://"];
    if let Some(file) = url.strip_prefix("sqlite://") {
        return StoreUrl(format!("sqlite://{}", base.join(file).display()));
    }
    if url != "sqlite::memory:" && !SCHEMES.iter().any(|scheme| url.starts_with(scheme)) {
        let scheme = url.split(':').next().unwrap_or_default();
        let message = format!(
            "found a URL that begins with {scheme:?}, expected sqlite://PATH, postgres://… or etcd://HOST:2379/PREFIX"
        );
        report.value(&Path::of("store"), Code::InvalidValue, message);
    }
    StoreUrl(url.to_owned())
}

fn level(level: LogLevelDoc) -> LogLevel {
    match level {
        LogLevelDoc::Off => LogLevel::Off,
        LogLevelDoc::Error => LogLevel::Error,
        LogLevelDoc::Warn => LogLevel::Warn,
        LogLevelDoc::Info => LogLevel::Info,
        LogLevelDoc::Debug => LogLevel::Debug,
        LogLevelDoc::Trace => LogLevel::Trace,
    }
}

/// The host's name and 8 random characters.
fn some_id() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(8).collect();
    let host = if host.is_empty() { "worker" } else { host };
    format!("{host}-{}", random.to_lowercase())
}

fn listen(doc: &WorkerDoc, report: &mut Report<'_>) -> SocketAddr {
    let (path, text) = (Path::of("listen"), &doc.listen);
    let address = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}").parse(),
        None => text.parse::<SocketAddr>(),
    };
    match address {
        Ok(address) if address.ip().to_canonical().is_loopback() => return address,
        // Health and metrics alone need no more.
        Ok(address) if !has_role(doc, RoleDoc::Control) => return address,
        Ok(address) => {
            let stated = doc.access.as_ref();
            let encrypted = stated.is_some_and(|access| access.tls.is_some() || access.behind_tls_proxy);
            if encrypted && stated.and_then(|access| access.tokens) != Some(false) {
                return address;
            }
            let message = format!(
                "found {address}, which others can reach; expected access.tls, or access.behind_tls_proxy, and tokens that are \
                 not switched off; or a loopback address such as 127.0.0.1:{}",
                address.port()
            );
            report.value(&path, Code::Conflict, message);
        }
        Err(_) => {
            let message = format!("found {text:?}, expected an address and a port, such as 127.0.0.1:8470");
            report.value(&path, Code::InvalidValue, message);
        }
    }
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn advertise(doc: &WorkerDoc, report: &mut Report<'_>) -> Option<Url> {
    let text = doc.advertise.as_ref()?;
    let url = text.parse::<Url>().ok().filter(|url| {
        let is_whole = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        matches!(url.scheme(), "http" | "https") && url.host().is_some() && is_whole
    });
    if url.is_none() {
        let message = format!(
            "found {text:?}, expected an http or https URL without a path, such as https://fnbridge-1.internal:8470"
        );
        report.value(&Path::of("advertise"), Code::InvalidValue, message);
    }
    url
}

/// Who may use the API.
#[derive(Clone)]
pub struct AccessSettings {
    /// Certificate and key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Tokens are asked for.
    pub tokens: bool,
    /// What secrets are encrypted with, as it was written.
    pub secrets_key: Option<String>,
}

impl fmt::Debug for AccessSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessSettings")
            .field("tls", &self.tls)
            .field("tokens", &self.tokens)
            .field("has_secrets_key", &self.secrets_key.is_some())
            .finish()
    }
}

fn access(doc: &WorkerDoc, base: &FilePath, report: &mut Report<'_>) -> AccessSettings {
    let path = Path::of("access");
    let loopback = listen_is_loopback(&doc.listen);
    let stated = doc.access.clone().unwrap_or_default();
    let tls = stated.tls.as_ref();
    if tls.is_some() && stated.behind_tls_proxy {
        let message = "found true beside access.tls, expected one of them: TLS ends here or in the proxy";
        report.between(
            &[&path.key("behind_tls_proxy"), &path.key("tls")],
            Code::Conflict,
            message,
        );
    }
    AccessSettings {
        tls: tls.map(|tls| (base.join(&tls.certificate), base.join(&tls.key))),
        tokens: stated.tokens.unwrap_or(!loopback),
        secrets_key: (stated.secrets_key.as_ref()).and_then(|key| text(key, &path.key("secrets_key"), base, report)),
    }
}

fn listen_is_loopback(text: &str) -> bool {
    let address = text.parse::<SocketAddr>();
    text.starts_with("localhost:") || address.is_ok_and(|address| address.ip().to_canonical().is_loopback())
}

fn otlp_endpoint(text: Option<&String>, report: &mut Report<'_>) -> Option<String> {
    let text = text?;
    let url = text.parse::<Uri>().ok();
    let is_http = |url: &Uri| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some();
    if url.as_ref().is_some_and(is_http) {
        return Some(text.clone());
    }
    let message = format!("found {text:?}, expected a URL such as http://127.0.0.1:4318");
    report.value(&Path::of("telemetry.otlp_endpoint"), Code::InvalidValue, message);
    None
}

fn networks(texts: &[String], path: &Path, report: &mut Report<'_>) -> Vec<IpNet> {
    let mut networks = Vec::with_capacity(texts.len());
    for (n, text) in texts.iter().enumerate() {
        let address = text.parse::<IpAddr>().map(IpNet::from);
        match text.parse::<IpNet>().ok().or(address.ok()) {
            Some(network) => networks.push(network),
            None => {
                let message = format!("found {text:?}, expected a network such as 10.0.0.0/8 or fd00::/8");
                report.value(&path.index(n), Code::InvalidValue, message);
            }
        }
    }
    networks
}

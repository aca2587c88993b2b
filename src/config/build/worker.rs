//! A worker's settings.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path as FilePath;
use std::sync::Arc;

use hyper::Uri;
use ipnet::IpNet;

use super::cluster::cluster;
use crate::config::document::{LogFormatDoc, LogLevelDoc, WorkerDoc};
use crate::config::path::Path;
use crate::config::problem::{Code, Report};
use crate::http::AddressPolicy;
use crate::kafka::ClusterSettings;
use crate::telemetry::{LogFormat, LogLevel, LogSettings};

/// What a worker is told.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// Its id: stated, or the host's name and 8 random characters.
    pub id: String,
    /// Where metrics and health are served: a loopback address.
    pub listen: SocketAddr,
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
        listen: listen(&doc.listen, report),
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
    };
    (settings, clusters)
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

fn listen(text: &str, report: &mut Report<'_>) -> SocketAddr {
    let path = Path::of("listen");
    let address = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}").parse(),
        None => text.parse::<SocketAddr>(),
    };
    match address {
        Ok(address) if address.ip().to_canonical().is_loopback() => return address,
        Ok(address) => {
            let message = format!(
                "found {address}, expected a loopback address such as 127.0.0.1:{}: other addresses need tokens and TLS, \
                 which this version does not have",
                address.port()
            );
            report.value(&path, Code::NotSupportedYet, message);
        }
        Err(_) => {
            let message = format!("found {text:?}, expected an address and a port, such as 127.0.0.1:8470");
            report.value(&path, Code::InvalidValue, message);
        }
    }
    SocketAddr::from(([127, 0, 0, 1], 0))
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

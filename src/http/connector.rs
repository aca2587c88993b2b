//! Connecting: names are resolved, addresses checked, TCP and TLS set up, all within one time-out.

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tower_service::Service;

use super::policy::{AddressPolicy, Denied};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// Connects over TCP, and TLS with ALPN where the scheme is `https`.
#[derive(Clone)]
pub(super) struct Connector {
    inner: HttpsConnector<HttpConnector<Resolver>>,
    policy: Arc<AddressPolicy>,
    timeout: Duration,
}

impl Connector {
    pub(super) fn new(policy: Arc<AddressPolicy>, timeout: Duration, tls: ClientConfig) -> Connector {
        let mut tcp = HttpConnector::new_with_resolver(Resolver {
            inner: GaiResolver::new(),
            policy: Arc::clone(&policy),
        });
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(30)));
        let inner = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(tcp);
        Connector { inner, policy, timeout }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        // An address that stands in the URL itself never reaches the resolver.
        let literal = uri
            .host()
            .and_then(|h| h.trim_matches(['[', ']']).parse::<IpAddr>().ok());
        if let Some(Err(denied)) = literal.map(|address| self.policy.permit(address)) {
            return Box::pin(std::future::ready(Err(denied.into())));
        }
        let (connecting, timeout) = (self.inner.call(uri), self.timeout);
        Box::pin(async move {
            match tokio::time::timeout(timeout, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(NotInTime(timeout).into()),
            }
        })
    }
}

/// Whether a connection to a URL's server can be made, TLS and all; nothing is sent over it.
///
/// # Errors
/// What stands in the way, as a sentence.
pub async fn reach(url: &Uri, policy: &Arc<AddressPolicy>) -> Result<(), String> {
    const WITHIN: Duration = Duration::from_secs(5);
    let connected = Connector::new(Arc::clone(policy), WITHIN, system_tls())
        .call(url.clone())
        .await;
    match connected {
        Ok(_) => Ok(()),
        Err(error) => {
            let mut reason: &dyn std::error::Error = &*error;
            while let Some(deeper) = reason.source() {
                reason = deeper;
            }
            let host = url.authority().map_or("?", |authority| authority.as_str());
            Err(format!("{host} can't be reached: {reason}"))
        }
    }
}

/// Resolves names and leaves out the addresses that are denied.
#[derive(Clone)]
struct Resolver {
    inner: GaiResolver,
    policy: Arc<AddressPolicy>,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (resolving, policy) = (self.inner.call(name), Arc::clone(&self.policy));
        Box::pin(async move { Ok(permitted(&policy, resolving.await?)?.into_iter()) })
    }
}

/// The addresses that may be connected to, or why none may.
fn permitted(policy: &AddressPolicy, addresses: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Denied> {
    let mut first_denied = None;
    let mut permitted = Vec::new();
    for address in addresses {
        match policy.permit(address.ip()) {
            Ok(()) => permitted.push(address),
            Err(denied) => first_denied = first_denied.or(Some(denied)),
        }
    }
    match first_denied {
        Some(denied) if permitted.is_empty() => Err(denied),
        _ => Ok(permitted),
    }
}

/// The connection was not made within this time.
#[derive(Debug)]
struct NotInTime(Duration);

impl fmt::Display for NotInTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no connection within {:?}", self.0)
    }
}

impl std::error::Error for NotInTime {}

/// TLS with the system's roots, read once for the whole process. Without any, each TLS connection fails and says so.
pub(super) fn system_tls() -> ClientConfig {
    static TLS: OnceLock<ClientConfig> = OnceLock::new();
    TLS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        tls_with_roots(roots)
    })
    .clone()
}

/// TLS with these roots and no client certificate.
pub(super) fn tls_with_roots(roots: RootCertStore) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("aws-lc-rs has suites for the versions that rustls deems safe")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_some_denied_addresses_is_reached_at_the_others() {
        let policy = AddressPolicy::default();
        let addresses = ["169.254.169.254:80", "127.0.0.1:80"].map(|a| a.parse::<SocketAddr>().unwrap());
        let left = permitted(&policy, addresses.into_iter()).unwrap();
        assert_eq!(left, [addresses[1]]);
        let denied = permitted(&policy, addresses[..1].iter().copied()).unwrap_err();
        assert!(denied.to_string().contains("169.254.0.0/16"), "{denied}");
    }
}

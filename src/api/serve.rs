//! Serving, with TLS or without, and with bounds on slow clients.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;
use tokio::net::TcpListener;

/// A request's headers arrive within so long.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// Requests that are being answered when the worker ends have so long.
const END_WITHIN: Duration = Duration::from_secs(5);
/// How often the certificate's file is looked at.
const CERTIFICATE_EVERY: Duration = Duration::from_secs(10);

/// The files of a certificate chain and its key, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and those that lead to a root.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// The server, bound and not serving yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    tls: Option<(Tls, RustlsConfig)>,
}

impl Server {
    /// Takes the address, and reads the certificate.
    ///
    /// # Errors
    /// What stands against it, as a sentence: mostly that another process has it.
    pub async fn bind(address: SocketAddr, tls: Option<Tls>) -> Result<Server, String> {
        let told = |error: io::Error| match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!("listen: {address} is in use by another process: stop it, or set `listen` to a free port")
            }
            _ => format!("listen: {address} can't be bound: {error}"),
        };
        let tls = match tls {
            None => None,
            Some(tls) => {
                let unusable = |error: io::Error| {
                    format!(
                        "access.tls: {} and {} can't be used: {error}",
                        tls.certificate.display(),
                        tls.key.display()
                    )
                };
                // Another part of the process may have chosen the provider already; it is the same.
                let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
                let config = RustlsConfig::from_pem_file(&tls.certificate, &tls.key)
                    .await
                    .map_err(unusable)?;
                Some((tls, config))
            }
        };
        let listener = TcpListener::bind(address).await.map_err(told)?;
        Ok(Server { listener, tls })
    }

    /// The address that is listened on.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `end` is over.
    ///
    /// # Errors
    /// The listener's.
    pub async fn serve(self, routes: Router, end: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let handle = Handle::new();
        let ending = handle.clone();
        let ended = tokio::spawn(async move {
            end.await;
            ending.graceful_shutdown(Some(END_WITHIN));
        });
        let listener = self.listener.into_std()?;
        let served = match self.tls {
            None => {
                let mut server = axum_server::from_tcp(listener)?.handle(handle);
                bound(server.http_builder());
                server.serve(routes.into_make_service()).await
            }
            Some((files, config)) => {
                let renewing = tokio::spawn(renew(files, config.clone()));
                let mut server = axum_server::from_tcp_rustls(listener, config)?.handle(handle);
                bound(server.http_builder());
                let served = server.serve(routes.into_make_service()).await;
                renewing.abort();
                served
            }
        };
        ended.abort();
        served
    }
}

fn bound(builder: &mut hyper_util::server::conn::auto::Builder<hyper_util::rt::TokioExecutor>) {
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEADERS_WITHIN);
}

/// Reads the certificate again when its file changes; one that can't be used leaves the one before.
async fn renew(files: Tls, config: RustlsConfig) {
    let changed = |files: &Tls| -> Option<SystemTime> { std::fs::metadata(&files.certificate).ok()?.modified().ok() };
    let mut known = changed(&files);
    loop {
        tokio::time::sleep(CERTIFICATE_EVERY).await;
        let now = changed(&files);
        if now != known
            && config
                .reload_from_pem_file(&files.certificate, &files.key)
                .await
                .is_ok()
        {
            known = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_is_one_clear_error() {
        let first = Server::bind(([127, 0, 0, 1], 0).into(), None).await.unwrap();
        let taken = first.address().unwrap();
        let error = Server::bind(taken, None).await.unwrap_err();
        assert_eq!(
            error,
            format!("listen: {taken} is in use by another process: stop it, or set `listen` to a free port")
        );
    }
}

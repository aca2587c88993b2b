//! Serving, with TLS or without, to clients that keep within bounds.

mod patient;
#[cfg(test)]
mod tests;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum_server::Handle;
use axum_server::accept::Accept;
use axum_server::service::SendService;
use axum_server::tls_rustls::RustlsAcceptor;
use hyper_util::rt::TokioTimer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

use patient::Doorkeeper;
use tls::Certificate;

/// The files of a certificate chain and its key, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and those that lead to a root.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// What a connection may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    /// Connections at once.
    connections: usize,
    /// For a request's head to arrive, from the answer before it on.
    head_time: Duration,
    /// For a client to take something of an answer.
    write_time: Duration,
    /// Of a request's head.
    head_bytes: usize,
    /// For answers that are on their way at the end.
    end_time: Duration,
    /// Between looks at the certificate's files.
    look_every: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 1024,
            head_time: Duration::from_secs(15),
            write_time: Duration::from_secs(30),
            head_bytes: 64 * 1024,
            end_time: Duration::from_secs(5),
            look_every: Duration::from_secs(5),
        }
    }
}

/// The server, bound and not serving yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    certificate: Option<Certificate>,
    limits: Limits,
}

impl Server {
    /// Takes the address, and reads the certificate.
    ///
    /// # Errors
    /// What stands against it, as a sentence: mostly that another process has it.
    pub async fn bind(address: SocketAddr, tls: Option<Tls>) -> Result<Server, String> {
        let certificate = tls.map(Certificate::read).transpose();
        let certificate = certificate.map_err(|reason| format!("access.tls: {reason}"))?;
        let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!("listen: {address} is in use by another process: stop it, or set `listen` to a free port")
            }
            _ => format!("listen: {address} can't be bound: {error}"),
        })?;
        Ok(Server {
            listener,
            certificate,
            limits: Limits::default(),
        })
    }

    /// The address that is listened on.
    ///
    /// # Errors
    /// The system's.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `end` is over, and then for as long as answers on their way take, at most 5 s.
    ///
    /// # Errors
    /// The listener's.
    pub async fn serve(self, routes: Router, end: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let Server {
            listener,
            certificate,
            limits,
        } = self;
        let doorkeeper = Doorkeeper::new(limits.connections, limits.write_time);
        let Some(certificate) = certificate else {
            return over(listener, doorkeeper, routes, limits, end).await;
        };
        let acceptor = RustlsAcceptor::new(certificate.config())
            .handshake_timeout(limits.head_time)
            .acceptor(doorkeeper);
        tokio::select! {
            served = over(listener, acceptor, routes, limits, end) => served,
            () = certificate.follow(limits.look_every) => Ok(()),
        }
    }
}

async fn over<A>(
    listener: TcpListener,
    acceptor: A,
    routes: Router,
    limits: Limits,
    end: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()>
where
    A: Accept<TcpStream, Router> + Clone + Send + Sync + 'static,
    A::Stream: AsyncRead + AsyncWrite + Unpin + Send,
    A::Service: SendService<Request<hyper::body::Incoming>> + Send,
    A::Future: Send,
{
    let handle: Handle<SocketAddr> = Handle::new();
    let ending = handle.clone();
    // Another version would have to be told apart from this one by bytes that a slow client never sends.
    let mut server = axum_server::Server::<SocketAddr>::from_listener(listener)
        .acceptor(acceptor)
        .http1_only()
        .handle(handle);
    let mut http = server.http_builder().http1();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(limits.head_bytes);
    let asked_to_end = async move {
        end.await;
        ending.graceful_shutdown(Some(limits.end_time));
        std::future::pending().await
    };
    tokio::select! {
        served = server.serve(routes.into_make_service()) => served,
        () = asked_to_end => Ok(()),
    }
}

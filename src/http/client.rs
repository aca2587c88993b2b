//! Sending requests over pooled connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Body;
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, sleep_until};

use super::answer::{HttpAnswer, HttpError, not_answered, place};
use super::connector::{Connector, system_tls};
use super::policy::AddressPolicy;
use super::pool::AnswerPool;
use super::reading::{Reading, before};

/// Gateways close idle connections after 60 s.
const IDLE: Duration = Duration::from_secs(45);
/// An HTTP/2 connection takes about 100 streams and silently queues the rest: no client gets more calls than this.
const STREAMS_PER_CLIENT: usize = 64;
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
/// As wide as all its streams' windows, so that an answer nobody reads yet does not stop the others.
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * STREAMS_PER_CLIENT as u32;
/// How to connect.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// For DNS, TCP and TLS together. Shorter than a call's time-out, else a call that can't connect passes for one
    /// that got no answer.
    pub connect_timeout: Duration,
    /// Where it may connect to.
    pub policy: Arc<AddressPolicy>,
    /// How many calls are on the wire at most; connections for HTTP/2 are shared out by it.
    pub max_in_flight: usize,
}

impl Default for HttpSettings {
    /// 5 s to connect, anywhere but the addresses that are denied by default, 64 calls.
    fn default() -> HttpSettings {
        HttpSettings {
            connect_timeout: Duration::from_secs(5),
            policy: Arc::default(),
            max_in_flight: 64,
        }
    }
}

/// A client with its own connections. HTTP/1.1, and HTTP/2 where TLS negotiates it.
#[derive(Debug)]
pub struct HttpClient {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    client: Client<Connector, Full<Bytes>>,
    in_flight: AtomicUsize,
}

impl HttpClient {
    /// A client without a connection yet. The system's certificates are read once for the process.
    pub fn new(settings: &HttpSettings) -> HttpClient {
        HttpClient::with_tls(settings, system_tls())
    }

    pub(super) fn with_tls(settings: &HttpSettings, tls: rustls::ClientConfig) -> HttpClient {
        let connector = Connector::new(Arc::clone(&settings.policy), settings.connect_timeout, tls);
        let lines = settings.max_in_flight.div_ceil(STREAMS_PER_CLIENT).max(1);
        HttpClient {
            lines: (0..lines).map(|_| Line::new(connector.clone())).collect(),
        }
    }

    /// Sends `request`, whose URI is absolute, and reads the answer: all of it within `timeout`, and at most
    /// `max_response_bytes` of body. Time spent waiting for room in `pool` does not count.
    ///
    /// # Errors
    /// How the call ended, if not with an answer.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
        max_response_bytes: usize,
        pool: &Arc<AnswerPool>,
    ) -> Result<HttpAnswer, HttpError> {
        let mut deadline = std::pin::pin!(sleep_until(Instant::now() + timeout));
        let line = self.free_line();
        let _busy = Busy::on(line);
        let mut request = request.map(Full::new);
        if request.body().is_end_stream() {
            // Said by itself of other bodies only; some servers answer 411 without it.
            request
                .headers_mut()
                .insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let uri = request.uri().clone();
        let response = match before(deadline.as_mut(), line.client.request(request)).await {
            Some(Ok(response)) => response,
            Some(Err(error)) => return Err(not_answered(&error, &place(&uri))),
            None => {
                let reason = format!("{} gave no answer within {timeout:?}", place(&uri));
                return Err(HttpError::TimedOut(reason));
            }
        };
        let reading = Reading {
            deadline,
            timeout,
            lease: pool.lease(),
        };
        reading.whole(response, max_response_bytes).await
    }

    /// Calls that run now.
    pub fn calls(&self) -> usize {
        self.lines
            .iter()
            .map(|line| line.in_flight.load(Ordering::Relaxed))
            .sum()
    }

    /// The first client with a stream to spare, else the one with the fewest calls.
    fn free_line(&self) -> &Line {
        let load = |line: &&Line| line.in_flight.load(Ordering::Relaxed);
        (self.lines.iter().find(|line| load(line) < STREAMS_PER_CLIENT))
            .or_else(|| self.lines.iter().min_by_key(load))
            .unwrap_or(&self.lines[0])
    }
}

impl Line {
    fn new(connector: Connector) -> Line {
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http2_initial_stream_window_size(STREAM_WINDOW_BYTES)
            .http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            // A dead HTTP/2 connection would else take every call with it until its time-out.
            .http2_keep_alive_interval(Duration::from_secs(15))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .build(connector);
        Line {
            client,
            in_flight: AtomicUsize::new(0),
        }
    }
}

/// Counts a call while it runs, however it ends.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn on(line: &'a Line) -> Busy<'a> {
        line.in_flight.fetch_add(1, Ordering::Relaxed);
        Busy(&line.in_flight)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

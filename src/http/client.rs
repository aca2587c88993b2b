//! Sending a request and reading its answer, within a time and a number of bytes.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::{HeaderMap, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};

use super::connector::{Connector, system_tls};
use super::policy::{AddressPolicy, Denied};
use super::pool::{AnswerPool, Lease};

/// Gateways close idle connections after 60 s.
const IDLE: Duration = Duration::from_secs(45);
/// An HTTP/2 connection takes about 100 streams and silently queues the rest: no client gets more calls than this.
const STREAMS_PER_CLIENT: usize = 64;
const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
/// As wide as all its streams' windows, so that an answer nobody reads yet does not stop the others.
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * STREAMS_PER_CLIENT as u32;
/// An answer that is not 2xx is read this far and cut, as its status says it all.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// What is set aside before the first byte of a body came, whatever its length is said to be.
const FIRST_ROOM_BYTES: usize = 256 * 1024;

/// How to connect.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// For DNS, TCP and TLS together.
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

/// An answer, whole.
#[derive(Debug)]
pub struct HttpAnswer {
    /// The status; redirects are not followed.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body; of an answer that is not 2xx perhaps only its beginning.
    pub body: Bytes,
    /// The room that the body takes, given back when the answer is dropped.
    pub lease: Lease,
}

/// How a call ended without a whole answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// The address may not be connected to.
    #[error("{0}")]
    Denied(String),
    /// No connection was made: name, TCP or TLS failed, or took too long. Nothing was sent.
    #[error("{0}")]
    Away(String),
    /// The connection was lost after the request was sent, or what came back was not HTTP.
    #[error("{0}")]
    Lost(String),
    /// The whole answer did not come in time. The request may still be worked on.
    #[error("{0}")]
    TimedOut(String),
    /// A 2xx answer is larger than it may be; the rest was not read.
    #[error("{reason}")]
    TooLarge {
        /// What was found, and what was expected.
        reason: String,
        /// The answer's status.
        status: StatusCode,
    },
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
        let deadline = Instant::now() + timeout;
        let line = self.free_line();
        let _busy = Busy::on(line);
        let mut request = request.map(Full::new);
        let uri = request.uri().clone();
        let connection = capture_connection(&mut request);
        let response = match timeout_at(deadline, line.client.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(not_answered(&error, &place(&uri))),
            Err(_) => return Err(not_in_time(&connection, &place(&uri), timeout)),
        };
        let reading = Reading {
            deadline,
            timeout,
            lease: pool.lease(),
        };
        reading.whole(response, max_response_bytes).await
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

/// An answer's body on its way in.
struct Reading {
    deadline: Instant,
    timeout: Duration,
    lease: Lease,
}

impl Reading {
    async fn whole(mut self, response: Response<Incoming>, max_bytes: usize) -> Result<HttpAnswer, HttpError> {
        let (head, body) = response.into_parts();
        let body = match head.status.is_success() {
            true => (self.body(body, max_bytes).await).map_err(|broken| broken.at(head.status, max_bytes))?,
            false => self.beginning(body, max_bytes.min(MAX_ERROR_BYTES)).await,
        };
        Ok(HttpAnswer {
            status: head.status,
            headers: head.headers,
            body,
            lease: self.lease,
        })
    }

    async fn body(&mut self, mut body: Incoming, max_bytes: usize) -> Result<Bytes, Broken> {
        let announced = body.size_hint().lower();
        if announced > max_bytes as u64 {
            return Err(Broken::TooLarge(Some(announced)));
        }
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        let mut whole = BytesMut::with_capacity((announced as usize).min(FIRST_ROOM_BYTES));
        while let Some(piece) = self.piece(&mut body).await? {
            if whole.len() + piece.len() > max_bytes {
                return Err(Broken::TooLarge(None));
            }
            self.room(piece.len()).await;
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }

    /// As much of a body as comes, up to `max_bytes`.
    async fn beginning(&mut self, mut body: Incoming, max_bytes: usize) -> Bytes {
        let mut beginning = BytesMut::new();
        while let Ok(Some(piece)) = self.piece(&mut body).await {
            let taken = piece.len().min(max_bytes - beginning.len());
            self.room(taken).await;
            beginning.extend_from_slice(&piece[..taken]);
            if beginning.len() == max_bytes {
                break;
            }
        }
        beginning.freeze()
    }

    async fn piece(&mut self, body: &mut Incoming) -> Result<Option<Bytes>, Broken> {
        loop {
            return match timeout_at(self.deadline, body.frame()).await {
                Err(_) => Err(Broken::TimedOut(self.timeout)),
                Ok(None) => Ok(None),
                Ok(Some(Err(error))) => Err(Broken::Lost(causes(&error))),
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => Ok(Some(data)),
                    Err(_trailers) => continue,
                },
            };
        }
    }

    /// Takes room for what came. Waiting for it is not the callee's time.
    async fn room(&mut self, bytes: usize) {
        if !self.lease.try_grow(bytes) {
            let since = Instant::now();
            self.lease.grow(bytes).await;
            self.deadline += since.elapsed();
        }
    }
}

/// Why a body did not come whole.
enum Broken {
    TooLarge(Option<u64>),
    Lost(String),
    TimedOut(Duration),
}

impl Broken {
    fn at(self, status: StatusCode, max_bytes: usize) -> HttpError {
        let code = status.as_u16();
        match self {
            Broken::TooLarge(announced) => {
                let found = announced.map_or("more than that".to_owned(), |bytes| format!("{bytes} bytes"));
                let reason = format!("the answer ({code}) is larger than {max_bytes} bytes: found {found}");
                HttpError::TooLarge { reason, status }
            }
            Broken::Lost(why) => HttpError::Lost(format!("the connection was lost within the answer ({code}): {why}")),
            Broken::TimedOut(timeout) => {
                HttpError::TimedOut(format!("the answer ({code}) was not complete within {timeout:?}"))
            }
        }
    }
}

fn not_answered(error: &hyper_util::client::legacy::Error, place: &str) -> HttpError {
    if !error.is_connect() {
        return HttpError::Lost(format!("{place} gave no answer: {}", causes(error)));
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(denied) = inner.downcast_ref::<Denied>() {
            return HttpError::Denied(format!("{place} may not be called: {denied}"));
        }
        cause = inner.source();
    }
    HttpError::Away(format!("no connection to {place}: {}", causes(error)))
}

fn not_in_time(connection: &CaptureConnection, place: &str, timeout: Duration) -> HttpError {
    if connection.connection_metadata().is_some() {
        HttpError::TimedOut(format!("{place} gave no answer within {timeout:?}"))
    } else {
        HttpError::Away(format!("no connection to {place} within {timeout:?}"))
    }
}

/// What lies under an error, outermost first; the outermost itself says only "client error".
fn causes(error: &dyn std::error::Error) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let word = inner.to_string();
        if words.last().is_none_or(|last| !last.contains(&word)) {
            words.push(word);
        }
        cause = inner.source();
    }
    if words.is_empty() {
        error.to_string()
    } else {
        words.join(": ")
    }
}

/// Host and port, without what else a URL may hold.
fn place(uri: &Uri) -> String {
    let host = uri.host().unwrap_or("(no host)");
    match uri.port_u16() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

//! The function: gives back what it was given, keeps a digest of each request, and says how many records it saw.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

const BEFORE_VALUE: &str = ",\"value\":";
const AFTER_VALUE: &str = ",\"headers\":{},\"attempt\":1}";

/// What the function has seen since it was last asked to forget.
#[derive(Default)]
pub struct Seen {
    pub records: AtomicU64,
    pub requests: AtomicU64,
    /// Requests that came, answered or not.
    pub started: AtomicU64,
    /// The sum of each request's digest, so that their order does not matter.
    digest: AtomicU64,
    /// How long after they were stamped records arrived, in milliseconds.
    pub delays_ms: Mutex<Vec<f64>>,
    /// How long the function took, in nanoseconds.
    pub took_ns: AtomicU64,
}

/// How the function answers.
#[derive(Clone, Copy, Default)]
pub enum Speaks {
    /// JSON with the values of a request of the contract `json`, anything else as it came.
    #[default]
    JsonOrRaw,
    /// The request, content type and `ce-` headers included. `record`: what stands in it once for each record; `None`: it has one.
    Echo { record: Option<&'static str> },
    /// Nothing. `record`: what stands in the request once for each record.
    Accept { record: &'static str },
}

/// How the function behaves.
#[derive(Clone, Copy, Default)]
pub struct Behaviour {
    /// How long it takes for a call.
    pub takes: Duration,
    /// Values are stamped by [`stamp`].
    pub stamped: bool,
    /// How it answers.
    pub speaks: Speaks,
}

pub struct Function {
    pub seen: Arc<Seen>,
    pub url: String,
}

impl Seen {
    pub fn digest(&self) -> u64 {
        self.digest.load(Relaxed)
    }
}

impl Function {
    /// Serves on a thread of its own until this process ends.
    pub fn start(behaviour: Behaviour) -> Function {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("bound");
        listener.set_nonblocking(true).expect("a socket");
        let seen = Arc::new(Seen::default());
        let ours = seen.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(serve(listener, behaviour, ours));
        });
        Function {
            seen,
            url: format!("http://{address}/"),
        }
    }
}

async fn serve(listener: TcpListener, behaviour: Behaviour, seen: Arc<Seen>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let seen = seen.clone();
        let service = service_fn(move |request| answer(request, behaviour, seen.clone()));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

async fn answer(
    request: Request<Incoming>,
    behaviour: Behaviour,
    seen: Arc<Seen>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let began = Instant::now();
    seen.started.fetch_add(1, Relaxed);
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    seen.digest.fetch_add(digest_of(&head.headers, &body), Relaxed);
    if behaviour.stamped {
        let delays = stamps(&body).map(|sent| (now_ns().saturating_sub(sent)) as f64 / 1e6);
        seen.delays_ms.lock().expect("delays").extend(delays);
    }
    let (headers, result, records) = answer_to(&head.headers, body, behaviour.speaks);
    if !behaviour.takes.is_zero() {
        tokio::time::sleep(behaviour.takes).await;
    }
    let mut response = Response::new(Full::new(result));
    *response.headers_mut() = headers;
    seen.took_ns.fetch_add(began.elapsed().as_nanos() as u64, Relaxed);
    seen.requests.fetch_add(1, Relaxed);
    seen.records.fetch_add(records, Relaxed);
    Ok(response)
}

/// Headers and body of the answer, and how many records the request had.
fn answer_to(headers: &HeaderMap, body: Bytes, speaks: Speaks) -> (HeaderMap, Bytes, u64) {
    let of_type = |kind| HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
    let count = |record| std::str::from_utf8(&body).expect("JSON").matches(record).count() as u64;
    match speaks {
        Speaks::JsonOrRaw if headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json") => {
            let (result, records) = echo(&body);
            (of_type("application/json"), result, records)
        }
        Speaks::JsonOrRaw => (of_type("application/octet-stream"), body, 1),
        Speaks::Echo { record } => {
            let told = headers
                .iter()
                .filter(|(name, _)| **name == CONTENT_TYPE || name.as_str().starts_with("ce-"))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect();
            let records = record.map_or(1, count);
            (told, body, records)
        }
        Speaks::Accept { record } => (of_type("application/json"), Bytes::from_static(b"{}"), count(record)),
    }
}

/// `{"records":[{"value":…},…]}` with the values of a request of the contract `json`.
fn echo(body: &[u8]) -> (Bytes, u64) {
    let mut rest = std::str::from_utf8(body).expect("JSON");
    let mut out = String::with_capacity(rest.len());
    let mut records = 0;
    out.push_str("{\"records\":[");
    while let Some(at) = rest.find(BEFORE_VALUE) {
        let value = &rest[at + BEFORE_VALUE.len()..];
        let end = value
            .find(AFTER_VALUE)
            .expect("a record of the first attempt, without headers");
        out.push_str(if records > 0 { ",{\"value\":" } else { "{\"value\":" });
        out.push_str(&value[..end]);
        out.push('}');
        records += 1;
        rest = &value[end + AFTER_VALUE.len()..];
    }
    out.push_str("]}");
    (out.into(), records)
}

/// Of a request: its body and its headers, of `traceparent` only its length, as its value is made up for each call, and of
/// `host` nothing, as each run has a port of its own.
fn digest_of(headers: &HeaderMap, body: &[u8]) -> u64 {
    let headers = headers
        .iter()
        .filter(|(name, _)| *name != "host")
        .map(|(name, value)| match name.as_str() {
            "traceparent" => hash(name.as_str().as_bytes(), value.len() as u64),
            name => hash(value.as_bytes(), hash(name.as_bytes(), 0)),
        });
    hash(body, headers.fold(0, u64::wrapping_add))
}

/// Quick, and good enough to tell requests apart that nobody forged.
pub fn hash(bytes: &[u8], seed: u64) -> u64 {
    let mut state = seed ^ (bytes.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    for word in words.iter().chain([&last]) {
        let product = u128::from(state ^ u64::from_le_bytes(*word)) * 0xD6E8_FEB8_6659_FD93;
        state = (product as u64) ^ (product >> 64) as u64 ^ state.rotate_left(29);
    }
    state
}

/// A value that says when it was made.
pub fn stamp() -> String {
    format!("{{\"sent\":{:020}}}", now_ns())
}

fn stamps(body: &[u8]) -> impl Iterator<Item = u64> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    text.split("{\"sent\":")
        .skip(1)
        .filter_map(|rest| rest.get(..20)?.parse().ok())
}

fn now_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_nanos() as u64
}

//! An HTTP server in the test's hands: a function, or a place that results go to. It records every request and answers
//! as the test says.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, Response, Uri};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::wait::PATIENCE;

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// How many came before it.
    pub number: usize,
    /// Path and query.
    pub uri: Uri,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// When it had arrived whole.
    pub at: Instant,
}

impl Request {
    /// A header's value.
    ///
    /// # Panics
    /// If there is no such header, or it is no text.
    pub fn header(&self, name: &str) -> &str {
        let value = self
            .headers
            .get(name)
            .unwrap_or_else(|| panic!("no header {name} in {:?}", self.headers));
        value.to_str().expect("text")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    /// The batch's id, in the `json` contract.
    pub fn batch(&self) -> String {
        self.json()["batch"].as_str().expect("a batch's id").to_owned()
    }

    /// The batch's records, in the `json` contract.
    pub fn records(&self) -> Vec<Value> {
        self.json()["records"].as_array().expect("records").clone()
    }

    /// The records' ids.
    pub fn ids(&self) -> Vec<String> {
        let records = self.records();
        records
            .iter()
            .map(|record| record["id"].as_str().expect("an id").to_owned())
            .collect()
    }

    /// The records' partition and offsets.
    pub fn place(&self) -> (i32, Vec<i64>) {
        let records = self.records();
        let partition = records[0]["partition"].as_i64().expect("a partition");
        let offsets = records
            .iter()
            .map(|record| record["offset"].as_i64().expect("an offset"));
        (i32::try_from(partition).expect("a partition"), offsets.collect())
    }
}

/// An answer to one request.
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    takes: Duration,
    gate: Option<Gate>,
    end: End,
}

/// How a body ends.
#[derive(Clone, Copy)]
enum End {
    Whole,
    /// Half of it comes, and nothing more.
    Hangs,
    /// Half of it comes, and the connection is lost.
    IsCut,
}

impl Reply {
    /// A status and a body.
    pub fn of(status: u16, body: impl Into<Bytes>) -> Reply {
        Reply {
            status,
            headers: Vec::new(),
            body: body.into(),
            takes: Duration::ZERO,
            gate: None,
            end: End::Whole,
        }
    }

    /// Only half of the body comes, and the connection stays.
    pub fn hanging(mut self) -> Reply {
        self.end = End::Hangs;
        self
    }

    /// Only half of the body comes, and the connection is lost.
    pub fn cut(mut self) -> Reply {
        self.end = End::IsCut;
        self
    }

    /// 200 with JSON.
    pub fn json(body: &Value) -> Reply {
        Reply::of(200, body.to_string()).header("content-type", "application/json")
    }

    /// Each record is delivered as one result, with its own value.
    pub fn echo(request: &Request) -> Reply {
        Reply::verdicts(
            request,
            |record| json!({"action": "deliver", "records": [{"value": record["value"]}]}),
        )
    }

    /// One verdict a record; the record's id is put in.
    pub fn verdicts(request: &Request, verdict: impl Fn(&Value) -> Value) -> Reply {
        let results = request.records().into_iter().map(|record| {
            let mut result = verdict(&record);
            result["id"] = record["id"].clone();
            result
        });
        Reply::json(&json!({"results": results.collect::<Vec<_>>()}))
    }

    /// With a header.
    pub fn header(mut self, name: &'static str, value: &str) -> Reply {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The server takes this long over it.
    pub fn taking(mut self, time: Duration) -> Reply {
        self.takes = time;
        self
    }

    /// Not answered before the gate is open.
    pub fn behind(mut self, gate: &Gate) -> Reply {
        self.gate = Some(gate.clone());
        self
    }
}

/// Holds answers back until it is opened.
#[derive(Clone)]
pub struct Gate(watch::Sender<bool>);

impl Gate {
    /// A closed gate.
    pub fn closed() -> Gate {
        Gate(watch::Sender::new(false))
    }

    /// Lets all pass, now and later.
    pub fn open(&self) {
        self.0.send_replace(true);
    }

    async fn pass(&self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

type Script = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

/// The server.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    runtime: Mutex<Option<Runtime>>,
}

struct Shared {
    script: Mutex<Script>,
    keeps: bool,
    requests: Mutex<Vec<Request>>,
    came: Condvar,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
}

impl Server {
    /// Starts one that answers by `script`.
    pub fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        Server::start_that(true, script)
    }

    /// The same, and it keeps no request: for tests that last.
    #[allow(dead_code)] // The chaos suite's.
    pub fn start_forgetful(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        Server::start_that(false, script)
    }

    fn start_that(keeps: bool, script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        let mut server = Server {
            shared: Arc::new(Shared {
                script: Mutex::new(Arc::new(script)),
                keeps,
                requests: Mutex::new(Vec::new()),
                came: Condvar::new(),
                in_flight: AtomicUsize::new(0),
                most_in_flight: AtomicUsize::new(0),
            }),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            runtime: Mutex::new(None),
        };
        server.address = server.listen();
        server
    }

    /// A function that delivers each record's value as it is.
    pub fn echo() -> Server {
        Server::start(Reply::echo)
    }

    /// A function that nobody has started yet: connections are refused until [`Server::listen`].
    pub fn not_started(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
        let server = Server::start(script);
        server.stop();
        server
    }

    /// The port where it listens.
    #[allow(dead_code)] // The chaos suite's.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Answers by another script from now on.
    pub fn answer(&self, script: impl Fn(&Request) -> Reply + Send + Sync + 'static) {
        *lock(&self.shared.script) = Arc::new(script);
    }

    /// Closes the port and every connection: what connects is refused.
    pub fn stop(&self) {
        if let Some(runtime) = lock(&self.runtime).take() {
            runtime.shutdown_background();
        }
    }

    /// Listens, again on the same port if it did before.
    pub fn listen(&self) -> SocketAddr {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind(self.address))
            .unwrap_or_else(|error| panic!("{}: {error}", self.address));
        let address = listener.local_addr().expect("bound");
        let shared = Arc::clone(&self.shared);
        let handler = move |uri: Uri, headers: HeaderMap, body: Bytes| respond(Arc::clone(&shared), uri, headers, body);
        let app = Router::new().fallback(handler).layer(DefaultBodyLimit::disable());
        runtime.spawn(async move { axum::serve(listener, app).await });
        *lock(&self.runtime) = Some(runtime);
        address
    }

    /// All requests so far, in the order they came.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }

    /// How many requests came.
    pub fn count(&self) -> usize {
        lock(&self.shared.requests).len()
    }

    /// The most requests that were unanswered at one time.
    pub fn most_in_flight(&self) -> usize {
        self.shared.most_in_flight.load(Ordering::SeqCst)
    }

    /// Waits until `enough` holds of the requests.
    ///
    /// # Panics
    /// If it does not in time.
    pub fn wait(&self, what: &str, mut enough: impl FnMut(&[Request]) -> bool) -> Vec<Request> {
        let deadline = Instant::now() + PATIENCE;
        let mut requests = lock(&self.shared.requests);
        while !enough(&requests) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "waited in vain for: {what}; {} requests came",
                requests.len()
            );
            requests = self.shared.came.wait_timeout(requests, left).expect("not poisoned").0;
        }
        requests.clone()
    }

    /// Waits for a number of requests.
    pub fn wait_count(&self, count: usize) -> Vec<Request> {
        self.wait(&format!("{count} requests"), |requests| requests.len() >= count)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn respond(shared: Arc<Shared>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let in_flight = shared.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most_in_flight.fetch_max(in_flight, Ordering::SeqCst);
    let _leaves = Leaves(Arc::clone(&shared));
    let request = record(&shared, uri, headers, body);
    let script = Arc::clone(&lock(&shared.script));
    let reply = script(&request);
    if let Some(gate) = &reply.gate {
        gate.pass().await;
    }
    tokio::time::sleep_until(tokio::time::Instant::now() + reply.takes).await;
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    response.body(ending(reply.body, reply.end)).expect("a response")
}

fn ending(whole: Bytes, end: End) -> Body {
    let half = whole.slice(..whole.len() / 2);
    let begun = stream::once(async move { Ok::<Bytes, std::io::Error>(half) });
    match end {
        End::Whole => Body::from(whole),
        End::Hangs => Body::from_stream(begun.chain(stream::pending())),
        End::IsCut => {
            let lost = stream::once(async {
                // Not in one piece with what came before.
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(std::io::ErrorKind::ConnectionReset.into())
            });
            Body::from_stream(begun.chain(lost))
        }
    }
}

fn record(shared: &Shared, uri: Uri, headers: HeaderMap, body: Bytes) -> Request {
    let mut requests = lock(&shared.requests);
    let request = Request {
        number: requests.len(),
        uri,
        headers,
        body,
        at: Instant::now(),
    };
    if shared.keeps {
        requests.push(request.clone());
    }
    shared.came.notify_all();
    request
}

struct Leaves(Arc<Shared>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A script that panicked says so by its connection; what was recorded stays readable.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

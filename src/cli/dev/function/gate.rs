//! The way to a function's process: calls wait here while there is none, and what a crash says is given to the calls it cut off.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, RETRY_AFTER, TRANSFER_ENCODING};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::crash::last_words;
use crate::cli::local::{Output, Said};
use crate::http::{AnswerPool, HttpAnswer, HttpClient, HttpError, HttpSettings};

/// A call waits so long for a process that serves; then it is told to come again, which is charged to no record.
const HOLD: Duration = Duration::from_secs(10);

/// The pipeline gives a call up long before.
const LONGEST_CALL: Duration = Duration::from_secs(24 * 3600);

/// Whoever breaks a connection has ended by then, or goes on.
const END_IS_SEEN: Duration = Duration::from_secs(1);

/// What is written to stderr before an answer is read by then.
const STDERR_IS_READ: Duration = Duration::from_millis(50);

/// Answers that are read at once, in bytes.
const ANSWERS_BYTES: usize = 256 << 20;

/// Headers that are about a connection, not about a call.
const OF_A_CONNECTION: [axum::http::HeaderName; 4] = [HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING];

/// How the process stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was started, and does not listen yet.
    Starts,
    /// It serves.
    Serves {
        /// Which start of it, from 1.
        run: u32,
        /// Where.
        at: SocketAddr,
    },
    /// It is being restarted.
    Restarts,
    /// It ended by itself.
    Ended {
        /// How, in words.
        how: String,
        /// Its last words.
        lines: Vec<String>,
    },
}

/// The gate; it closes when this is dropped.
pub(super) struct Gate {
    address: SocketAddr,
    on_the_wire: watch::Receiver<usize>,
    server: JoinHandle<()>,
}

impl Gate {
    /// Opens it on a free port.
    ///
    /// # Errors
    /// Where there is none.
    pub(super) async fn open(standing: watch::Receiver<Standing>, output: Output) -> std::io::Result<Gate> {
        Gate::holding(HOLD, standing, output).await
    }

    async fn holding(hold: Duration, standing: watch::Receiver<Standing>, output: Output) -> std::io::Result<Gate> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (counter, on_the_wire) = watch::channel(0);
        let way = Arc::new(Way {
            hold,
            standing,
            output,
            counter,
            http: HttpClient::new(&HttpSettings::default()),
            pool: AnswerPool::new(ANSWERS_BYTES),
        });
        let routes = Router::new().fallback(pass).with_state(way);
        let server = tokio::spawn(async move {
            // Serving ends with the task; accepting errors are retried inside.
            let _ = axum::serve(listener, routes).await;
        });
        Ok(Gate {
            address,
            on_the_wire,
            server,
        })
    }

    /// Where it is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until no call is on the wire to the process.
    pub(super) fn idle(&self) -> impl Future<Output = ()> + use<> {
        let mut on_the_wire = self.on_the_wire.clone();
        async move {
            // It ends with the gate, and then nothing is on the wire.
            let _ = on_the_wire.wait_for(|calls| *calls == 0).await;
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Way {
    hold: Duration,
    standing: watch::Receiver<Standing>,
    output: Output,
    counter: watch::Sender<usize>,
    http: HttpClient,
    pool: Arc<AnswerPool>,
}

async fn pass(State(way): State<Arc<Way>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, usize::MAX).await else {
        return (StatusCode::BAD_REQUEST, "the request ended early").into_response();
    };
    let deadline = Instant::now() + way.hold;
    loop {
        let Some((run, at)) = way.serving(deadline).await else {
            return way.come_again();
        };
        let mark = way.output.mark();
        match way.forward(&head, body.clone(), at).await {
            Ok(answer) => return way.answered(&head.headers, answer, mark).await,
            // It has just ended, or just begins: nothing was sent.
            Err(HttpError::Away(_)) => sleep(STDERR_IS_READ).await,
            Err(error) => return way.lost(&head.headers, run, &error.to_string(), mark).await,
        }
    }
}

impl Way {
    /// Waits until it serves.
    async fn serving(&self, deadline: Instant) -> Option<(u32, SocketAddr)> {
        let mut standing = self.standing.clone();
        let serves = standing.wait_for(|standing| matches!(standing, Standing::Serves { .. }));
        match timeout_at(deadline, serves).await.ok()?.ok().as_deref()? {
            Standing::Serves { run, at } => Some((*run, *at)),
            Standing::Starts | Standing::Restarts | Standing::Ended { .. } => None,
        }
    }

    async fn forward(&self, head: &Parts, body: Bytes, at: SocketAddr) -> Result<HttpAnswer, HttpError> {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri: Uri = format!("http://{at}{path}").parse().unwrap_or_default();
        let mut request = axum::http::Request::new(body);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = without_connection(&head.headers);
        let _on_the_wire = OnTheWire::one(&self.counter);
        self.http.send(request, LONGEST_CALL, usize::MAX, &self.pool).await
    }

    async fn answered(&self, call: &HeaderMap, answer: HttpAnswer, mark: u64) -> Response {
        let failed = ["x-amz-function-error", "x-fc-error-type"]
            .iter()
            .any(|name| answer.headers.contains_key(*name));
        if failed || answer.status.is_server_error() {
            sleep(STDERR_IS_READ).await;
            self.report(call, format!("the function answered {}", answer.status), mark);
        }
        let mut response = Response::new(Body::from(answer.body.clone()));
        *response.status_mut() = answer.status;
        *response.headers_mut() = without_connection(&answer.headers);
        response
    }

    /// A connection that broke. If the process has ended, that is why; its last words are the answer, and stay with the record.
    async fn lost(&self, call: &HeaderMap, run: u32, reason: &str, mark: u64) -> Response {
        let mut standing = self.standing.clone();
        let is_over = |standing: &Standing| !matches!(standing, Standing::Serves { run: this, .. } if *this == run);
        let seen = timeout(END_IS_SEEN, standing.wait_for(is_over)).await;
        let how = match seen.ok().and_then(Result::ok).as_deref() {
            None => reason.to_owned(),
            Some(Standing::Ended { how, .. }) => format!("the function's process ended in this call ({how})"),
            // It was told to: no record's fault.
            Some(_) => return self.come_again(),
        };
        let lines = self.report(call, how.clone(), mark);
        (StatusCode::BAD_GATEWAY, format!("{how}\n{}\n", lines.join("\n"))).into_response()
    }

    fn report(&self, call: &HeaderMap, what: String, mark: u64) -> Vec<String> {
        let lines = last_words(&self.output.errors_since(mark));
        self.output.push(Said::Failed {
            records: records_of(call),
            what,
            lines: lines.clone(),
        });
        lines
    }

    /// What the pipeline waits for, without charging it to a record.
    fn come_again(&self) -> Response {
        let why = match &*self.standing.borrow() {
            Standing::Ended { how, lines } => format!("the function's process ended ({how})\n{}\n", lines.join("\n")),
            Standing::Starts | Standing::Restarts | Standing::Serves { .. } => {
                "the function's process starts\n".to_owned()
            }
        };
        let headers = [(RETRY_AFTER, "1"), (CONTENT_TYPE, "text/plain; charset=utf-8")];
        (StatusCode::SERVICE_UNAVAILABLE, headers, why).into_response()
    }
}

/// The batch that a call carries, by its ids: `orders/0/42-43` of `orders-enrich/orders/0/42-43;g=1`.
fn records_of(call: &HeaderMap) -> String {
    let key = call
        .get("idempotency-key")
        .and_then(|key| key.to_str().ok())
        .unwrap_or_default();
    let batch = key.split_once('/').map_or(key, |(_, batch)| batch);
    batch.split(';').next().unwrap_or_default().to_owned()
}

fn without_connection(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in OF_A_CONNECTION {
        headers.remove(name);
    }
    headers
}

/// A call on the wire, until this is dropped.
struct OnTheWire<'a>(&'a watch::Sender<usize>);

impl OnTheWire<'_> {
    fn one(counter: &watch::Sender<usize>) -> OnTheWire<'_> {
        counter.send_modify(|calls| *calls += 1);
        OnTheWire(counter)
    }
}

impl Drop for OnTheWire<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|calls| *calls -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calls_records_are_named_by_its_key() {
        for (key, expected) in [
            ("orders-enrich/orders/3/42-43,45", "orders/3/42-43,45"),
            ("orders/orders/3/42;g=2", "orders/3/42"),
        ] {
            let headers = HeaderMap::from_iter([("idempotency-key".parse().unwrap(), key.parse().unwrap())]);
            assert_eq!(records_of(&headers), expected);
        }
    }

    async fn call(gate: &Gate) -> (u16, String) {
        let request = axum::http::Request::post(format!("http://{}/", gate.address()))
            .header("idempotency-key", "p/t/0/7")
            .body(Bytes::from_static(b"{}"))
            .unwrap();
        let http = HttpClient::new(&HttpSettings::default());
        let answer = http
            .send(request, LONGEST_CALL, 1 << 20, &AnswerPool::new(1 << 20))
            .await
            .unwrap();
        (
            answer.status.as_u16(),
            String::from_utf8_lossy(&answer.body).into_owned(),
        )
    }

    #[tokio::test]
    async fn a_process_that_ends_in_a_call_leaves_its_last_words_with_the_record() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let (standing, seen) = watch::channel(Standing::Serves { run: 1, at });
        let output = Output::default();
        let gate = Gate::open(seen, output.clone()).await.unwrap();
        let crash = async {
            let connection = listener.accept().await.unwrap();
            gate.on_the_wire.clone().wait_for(|calls| *calls == 1).await.unwrap();
            output.push(Said::Err("panic: no".to_owned()));
            drop(connection);
            let how = "exit status: 2".to_owned();
            standing.send_replace(Standing::Ended { how, lines: vec![] });
        };
        let ((status, body), ()) = tokio::join!(call(&gate), crash);
        let how = "the function's process ended in this call (exit status: 2)";
        assert_eq!((status, body), (502, format!("{how}\npanic: no\n")));
        let failed = Said::Failed {
            records: "t/0/7".to_owned(),
            what: how.to_owned(),
            lines: vec!["panic: no".to_owned()],
        };
        assert_eq!(output.since(1).0, [failed]);
        gate.idle().await;
    }

    #[tokio::test]
    async fn a_call_waits_for_a_process_and_is_then_told_to_come_again() {
        let (_standing, seen) = watch::channel(Standing::Starts);
        let hold = Duration::from_millis(50);
        let gate = Gate::holding(hold, seen, Output::default()).await.unwrap();
        let began = Instant::now();
        let (status, why) = call(&gate).await;
        assert_eq!((status, why.as_str()), (503, "the function's process starts\n"));
        assert!(began.elapsed() >= hold);
    }
}

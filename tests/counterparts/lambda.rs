//! Handlers in AWS's own runtime client (awslambdaric), as they are deployed. Ours is the other end: the Runtime API that the
//! client asks for events, and the Invoke API that fnbridge calls.

use std::collections::BTreeMap;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use fnbridge::delivery::answer::{Answer, Verdict};
use fnbridge::delivery::record::Record;
use fnbridge::function::{AwsLambdaSettings, ContractKind, FunctionSettings, ItemFailures};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use crate::calls::{call, json, record, results, settings, with_header};
use crate::servers::{self, hosts_python, source};
use crate::{Test, test};

/// One a handler.
pub fn tests() -> Vec<Test> {
    vec![
        test("lambda::plain_handler", plain),
        test("lambda::handler_that_raises", raises),
        test("lambda::powertools_kafka_consumer", consumer),
        test("lambda::powertools_batch", batch),
    ]
}

fn plain() {
    let lambda = Lambda::start("lambda_plain.handler");
    let answered = results(call(lambda.function(ItemFailures::FromFirst), records()));
    let read: Vec<_> = answered.iter().map(|results| json(&results[0])).collect();
    let headers = json!({"shop": "Zoë"});
    let expected = [
        json!({"offset": 42, "key": "ké", "value": r#"{"amount":7}"#, "headers": headers}),
        json!({"offset": 43, "key": null, "value": r#"{"amount":8}"#, "headers": {}}),
    ];
    assert_eq!(read, expected);
}

fn raises() {
    let lambda = Lambda::start("lambda_plain.handler");
    let answer = call(lambda.function(ItemFailures::FromFirst), vec![record(42, r#""raise""#)]);
    let Answer::Failed(failure) = answer else {
        panic!("{answer:?}")
    };
    assert!(
        failure.reason.contains("x-amz-function-error: Unhandled"),
        "{}",
        failure.reason
    );
    let response = String::from_utf8_lossy(&failure.response);
    assert!(response.contains("a handler that raises"), "{response}");
}

fn consumer() {
    let lambda = Lambda::start("lambda_consumer.handler");
    let answered = results(call(lambda.function(ItemFailures::FromFirst), records()));
    let read: Vec<_> = answered.iter().map(|results| json(&results[0])).collect();
    let of = |offset: i64, key, amount: i32, headers| {
        json!({"topic": "orders", "partition": 3, "offset": offset, "timestamp": 1_764_000_000_123_i64, "key": key,
            "value": {"amount": amount}, "headers": headers})
    };
    let expected = [
        of(42, json!("ké"), 7, json!({"shop": "Zoë"})),
        of(43, json!(null), 8, json!({})),
    ];
    assert_eq!(read, expected);
}

fn batch() {
    let lambda = Lambda::start("lambda_batch.handler");
    let values = ["1", r#""poison""#, "3", r#""poison""#];
    let records = || {
        (42..)
            .zip(values)
            .map(|(offset, value)| record(offset, value))
            .collect()
    };
    let verdicts = |failures| match call(lambda.function(failures), records()) {
        Answer::Verdicts(verdicts) => verdicts.iter().map(name).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(verdicts(ItemFailures::Listed), ["deliver", "retry", "deliver", "retry"]);
    assert_eq!(
        verdicts(ItemFailures::FromFirst),
        ["deliver", "retry", "again", "retry"]
    );
    let fine = call(lambda.function(ItemFailures::Listed), vec![record(42, "1")]);
    assert_eq!(fine, Answer::Verdicts(vec![Verdict::Deliver(Vec::new())]));
}

fn name(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Deliver(_) => "deliver",
        Verdict::Retry { .. } => "retry",
        Verdict::Again => "again",
        Verdict::Drop | Verdict::DeadLetter { .. } => "another",
    }
}

fn records() -> Vec<Record> {
    let mut first = with_header(record(42, r#"{"amount":7}"#), "shop", "Zoë");
    first.key = Some("ké".into());
    vec![first, record(43, r#"{"amount":8}"#)]
}

/// A handler in its runtime client, and both APIs.
struct Lambda {
    address: String,
    client: Mutex<Child>,
    _runtime: Runtime,
}

/// Events on their way to the handler, and who waits for its answers.
struct Api {
    events: mpsc::Sender<(String, Bytes)>,
    inbox: tokio::sync::Mutex<mpsc::Receiver<(String, Bytes)>>,
    waiting: Mutex<BTreeMap<String, oneshot::Sender<(bool, Bytes)>>>,
}

impl Drop for Lambda {
    fn drop(&mut self) {
        let mut client = self.client.lock().unwrap();
        let _ = client.kill();
        let _ = client.wait();
    }
}

impl Lambda {
    fn start(handler: &str) -> Lambda {
        let runtime = Runtime::new().unwrap();
        let (events, inbox) = mpsc::channel(1);
        let api = Arc::new(Api {
            events,
            inbox: inbox.into(),
            waiting: Mutex::default(),
        });
        let routes = Router::new()
            .route("/2015-03-31/functions/{name}/invocations", post(invoke))
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/{kind}", post(answered))
            .with_state(api);
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        runtime.spawn(async move { axum::serve(listener, routes).await });
        let mut client = hosts_python();
        deployed(&mut client, &address).args(["-m", "awslambdaric", handler]);
        Lambda {
            address,
            client: Mutex::new(servers::start(client).0),
            _runtime: runtime,
        }
    }

    fn function(&self, item_failures: ItemFailures) -> FunctionSettings {
        let url = format!("http://{}/2015-03-31/functions/enrich/invocations", self.address);
        let lambda = AwsLambdaSettings {
            bootstrap_servers: "b-1:9092,b-2:9092".to_owned(),
            cluster_arn: None,
            item_failures,
        };
        settings(url.parse().unwrap(), ContractKind::AwsLambda(lambda))
    }
}

fn deployed<'c>(client: &'c mut Command, address: &str) -> &'c mut Command {
    let code = source("python");
    client
        .current_dir(&code)
        .env("AWS_LAMBDA_RUNTIME_API", address)
        .env("AWS_REGION", "eu-west-1")
        .env("LAMBDA_TASK_ROOT", &code)
        .env("PYTHONPATH", &code)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("POWERTOOLS_SERVICE_NAME", "enrich")
}

/// The Invoke API: it waits for the answer, and says in a header that the handler failed.
async fn invoke(State(api): State<Arc<Api>>, headers: HeaderMap, event: Bytes) -> impl IntoResponse {
    assert_eq!(headers["x-amz-invocation-type"], "RequestResponse");
    let id = format!("{:032x}", fastrand::u128(..));
    let (answer, answered) = oneshot::channel();
    api.waiting.lock().unwrap().insert(id.clone(), answer);
    api.events.send((id, event)).await.expect("an inbox");
    let (failed, body) = answered.await.expect("an answer");
    let said = HeaderMap::from_iter(failed.then(|| {
        let name = "x-amz-function-error".parse().expect("a header's name");
        (name, "Unhandled".parse().expect("a header's value"))
    }));
    (said, body)
}

async fn next(State(api): State<Arc<Api>>) -> impl IntoResponse {
    let (id, event) = api.inbox.lock().await.recv().await.expect("an event");
    let deadline = jiff::Timestamp::now().as_millisecond() + Duration::from_secs(60).as_millis() as i64;
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        ("content-type", "application/json".to_owned()),
    ];
    (headers, event)
}

async fn answered(
    State(api): State<Arc<Api>>,
    Path((id, kind)): Path<(String, String)>,
    body: Bytes,
) -> impl IntoResponse {
    let waiting = api.waiting.lock().unwrap().remove(&id).expect("a call that waits");
    let _ = waiting.send((kind == "error", body));
    StatusCode::ACCEPTED
}

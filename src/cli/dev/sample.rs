//! The sample function: a real HTTP server on loopback that cleans and enriches flights, as the one in
//! `functions/flights/` does. It has one bug on purpose.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Where the function is that does not have the bug; called once, it takes the place of the one that has.
pub(super) const FIXED: &str = "/fixed";

const KM_PER_MILE: f64 = 1.609_344;

/// The running function; it ends when this is dropped.
pub(super) struct SampleFunction {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl SampleFunction {
    /// Starts the function on a free port.
    pub(super) async fn start() -> std::io::Result<SampleFunction> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let is_fixed: Arc<AtomicBool> = Arc::default();
        let fixed = is_fixed.clone();
        let routes = Router::new()
            .route("/", post(move |body| answer(body, is_fixed.load(Ordering::Relaxed))))
            // Whoever has tried it has seen that it is right: from then on it is the one that runs.
            .route(
                FIXED,
                post(move |body| {
                    fixed.store(true, Ordering::Relaxed);
                    answer(body, true)
                }),
            );
        let server = tokio::spawn(async move {
            // Serving ends with the task; accepting errors are retried inside.
            let _ = axum::serve(listener, routes).await;
        });
        Ok(SampleFunction { address, server })
    }

    /// Where it is called.
    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Drop for SampleFunction {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Deserialize)]
struct Batch {
    records: Vec<FlightRecord>,
}

#[derive(Deserialize)]
struct FlightRecord {
    id: String,
    #[serde(default)]
    value: Value,
}

async fn answer(body: Bytes, is_fixed: bool) -> Response {
    let batch: Batch = match serde_json::from_slice(&body) {
        Ok(batch) => batch,
        Err(error) => {
            let problem = json!({"error": format!("expected a batch of records as JSON: {error}")});
            return (StatusCode::BAD_REQUEST, problem.to_string()).into_response();
        }
    };
    let bug = batch.records.iter().find(|record| triggers_the_bug(&record.value));
    if let Some(record) = bug.filter(|_| !is_fixed) {
        let problem = json!({"error": "division by zero in flights.speed()", "record": record.id});
        return (StatusCode::INTERNAL_SERVER_ERROR, problem.to_string()).into_response();
    }
    let results: Vec<Value> = batch.records.into_iter().map(verdict).collect();
    let headers = [("content-type", "application/json")];
    (headers, json!({"results": results}).to_string()).into_response()
}

/// The bug: a flight that took no time makes the whole call fail, as a forgotten check would.
fn triggers_the_bug(value: &Value) -> bool {
    value["air_time"] == json!(0)
}

fn verdict(record: FlightRecord) -> Value {
    match clean(record.value) {
        Ok(Some(flight)) => json!({"id": record.id, "action": "deliver", "records": [{"value": enrich(flight)}]}),
        Ok(None) => json!({"id": record.id, "action": "drop"}),
        Err(reason) => json!({"id": record.id, "action": "dead_letter", "reason": reason}),
    }
}

/// The flight with tidy fields; `None` if it never arrived.
fn clean(value: Value) -> Result<Option<Map<String, Value>>, String> {
    let mut flight = match value {
        Value::Null => return Ok(None),
        Value::Object(flight) => flight,
        other => {
            return Err(format!(
                "expected a flight as a JSON object, found {}",
                found(Some(&other))
            ));
        }
    };
    match flight.get("delay") {
        Some(Value::Null) => return Ok(None),
        Some(Value::Number(_)) => {}
        other => {
            let found = found(other);
            return Err(format!(
                "delay: expected minutes as a number, or null for a flight that never arrived, found {found}"
            ));
        }
    }
    let distance = flight.get("distance");
    if !distance.and_then(Value::as_f64).is_some_and(|miles| miles > 0.0) {
        return Err(format!(
            "distance: expected miles as a number above 0, found {}",
            found(distance)
        ));
    }
    for name in ["origin", "destination"] {
        if let Some(value) = flight.get(name).filter(|value| !value.is_null()) {
            let code = airport(name, value)?;
            flight.insert(name.to_owned(), Value::String(code));
        }
    }
    Ok(Some(flight))
}

/// What can be computed from the flight, and the flight.
fn enrich(flight: Map<String, Value>) -> Map<String, Value> {
    let number = |name: &str| flight.get(name).and_then(Value::as_f64).unwrap_or_default();
    let airports = ["origin", "destination"].map(|name| flight.get(name).and_then(Value::as_str));
    let mut result = Map::new();
    if let [Some(origin), Some(destination)] = airports {
        result.insert("route".to_owned(), json!(format!("{origin}-{destination}")));
    }
    result.insert("status".to_owned(), json!(status(number("delay"))));
    result.insert(
        "distance_km".to_owned(),
        json!((number("distance") * KM_PER_MILE).round() as i64),
    );
    for (name, value) in flight {
        result.entry(name).or_insert(value);
    }
    result
}

fn status(delay_minutes: f64) -> &'static str {
    match delay_minutes {
        early if early <= -15.0 => "early",
        on_time if on_time < 15.0 => "on time",
        late if late < 120.0 => "late",
        _ => "very late",
    }
}

fn airport(name: &str, value: &Value) -> Result<String, String> {
    let code = value.as_str().unwrap_or_default().trim().to_ascii_uppercase();
    if code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase()) {
        return Ok(code);
    }
    Err(format!(
        "{name}: expected an airport's three-letter code, found {}",
        found(Some(value))
    ))
}

/// A value as compact JSON, shortened.
fn found(value: Option<&Value>) -> String {
    let Some(value) = value else {
        return "nothing".to_owned();
    };
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_of_the_functions_gets_its_verdict() {
        let cases: Vec<Value> = serde_json::from_str(include_str!("../../../functions/flights/cases.json")).unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let id = "flights/0/7";
            let expected = match (case.get("deliver"), case.get("dead_letter")) {
                (Some(value), _) => json!({"id": id, "action": "deliver", "records": [{"value": value}]}),
                (_, Some(reason)) => json!({"id": id, "action": "dead_letter", "reason": reason}),
                _ => json!({"id": id, "action": "drop"}),
            };
            let record = FlightRecord {
                id: id.to_owned(),
                value: case["value"].clone(),
            };
            assert_eq!(verdict(record), expected, "{}", case["name"]);
        }
    }

    #[tokio::test]
    async fn one_flight_that_took_no_time_fails_the_whole_call() {
        let body = |air_time: u32| {
            let value = json!({"delay": 1, "distance": 100, "air_time": air_time});
            Bytes::from(json!({"records": [{"id": "flights/0/7", "value": value}]}).to_string())
        };
        let status = async |body: Bytes, is_fixed: bool| answer(body, is_fixed).await.status();
        assert_eq!(status(body(0), false).await, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(status(body(0), true).await, StatusCode::OK);
        assert_eq!(status(body(30), false).await, StatusCode::OK);
        assert_eq!(status(Bytes::from_static(b"{"), false).await, StatusCode::BAD_REQUEST);
    }
}

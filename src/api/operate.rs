//! What operators do to a pipeline that is registered.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use hyper::Uri;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{Name, Sent, allow, precondition};
use super::pipelines::answer;
use super::problem::{Kind, Problem};
use super::standing::Fleetwide;
use super::wire::{Pipeline, Probed, ProblemDocument, SeekRequest, SkipRequest, Tried, TryRequest};
use super::{App, author};
use crate::control::access::{Caller, Role};
use crate::control::fleet::seek_to;
use crate::control::registry::{self, Author, Outcome, Refusal, Registered, SeekOrder, SkipOrder};
use crate::delivery::record::{Output, TopicPartition};
use crate::function::check_url;
use crate::http::reach;
use crate::pipeline::{PipelineSettings, try_record};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(restart))
        .routes(routes!(probe))
        .routes(routes!(seek))
        .routes(routes!(skip))
        .routes(routes!(try_on))
}

/// Pauses a pipeline: it keeps its partitions, and calls nothing once what is on the wire has ended.
#[utoipa::path(post, path = "/v1/pipelines/{name}/pause", tag = "pipelines", params(("name" = String, Path, example = "orders")), responses(
    (status = 200, body = Pipeline),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn pause(
    State(app): State<App>,
    caller: Caller,
    Name(name): Name,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let at = precondition(&headers)?;
    change(&app, &caller, &name, |existing, author| {
        registry::set_state(existing, true, at, author)
    })
    .await
}

/// Lets a pipeline that was paused go on.
#[utoipa::path(post, path = "/v1/pipelines/{name}/resume", tag = "pipelines", params(("name" = String, Path, example = "orders")), responses(
    (status = 200, body = Pipeline),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn resume(
    State(app): State<App>,
    caller: Caller,
    Name(name): Name,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let at = precondition(&headers)?;
    change(&app, &caller, &name, |existing, author| {
        registry::set_state(existing, false, at, author)
    })
    .await
}

/// Drains a pipeline and starts it anew, on all of its workers.
#[utoipa::path(post, path = "/v1/pipelines/{name}/restart", tag = "pipelines", params(("name" = String, Path, example = "orders")), responses(
    (status = 200, body = Pipeline),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn restart(State(app): State<App>, caller: Caller, Name(name): Name) -> Result<Response, Problem> {
    change(&app, &caller, &name, registry::restart).await
}

/// Lets reading go on elsewhere. Workers leave the group for it; the status tells when it has ended.
#[utoipa::path(post, path = "/v1/pipelines/{name}/seek", tag = "pipelines", params(("name" = String, Path, example = "orders")),
    request_body = SeekRequest,
    responses(
        (status = 202, body = Pipeline, description = "Ordered."),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ))]
async fn seek(
    State(app): State<App>,
    caller: Caller,
    Name(name): Name,
    Sent(request): Sent<SeekRequest>,
) -> Result<Response, Problem> {
    allow(&caller, Role::Operator, &name)?;
    seek_to(&request.to).map_err(|reason| Problem::new(Kind::InvalidRequest, reason).at("to"))?;
    refuse_embedded(&app, &name, "move a group's offsets").await?;
    if let Some(wrong) = request.partitions.iter().find(|partition| **partition < 0) {
        let detail = format!("found the partition {wrong}, expected 0 or more");
        return Err(Problem::new(Kind::InvalidRequest, detail).at("partitions"));
    }
    let order = SeekOrder {
        to: request.to,
        topic: request.topic,
        partitions: request.partitions,
    };
    let decide =
        |existing: Option<&Registered>, author: &Author| registry::seek(existing, &order, request.pause, author);
    let mut ordered = change_saying(&app, &caller, &name, &format!("to {}", order.to), decide).await?;
    *ordered.status_mut() = StatusCode::ACCEPTED;
    Ok(ordered)
}

/// Passes over records: they become dead letters of stage `operator`, without a call.
#[utoipa::path(post, path = "/v1/pipelines/{name}/skip", tag = "pipelines", params(("name" = String, Path, example = "orders")),
    request_body = SkipRequest,
    responses(
        (status = 202, body = Pipeline, description = "Ordered."),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ))]
async fn skip(
    State(app): State<App>,
    caller: Caller,
    Name(name): Name,
    Sent(request): Sent<SkipRequest>,
) -> Result<Response, Problem> {
    if request.reason.trim().is_empty() || request.reason.len() > MAX_REASON_BYTES {
        let detail = format!("expected a reason of 1 to {MAX_REASON_BYTES} bytes: it stands in the dead letters");
        return Err(Problem::new(Kind::InvalidRequest, detail).at("reason"));
    }
    let order = skip_order(&request).map_err(|detail| Problem::new(Kind::InvalidRequest, detail).at("records"))?;
    let detail = format!("{}: {}", request.records, request.reason);
    let decide = |existing: Option<&Registered>, author: &Author| registry::skip(existing, &order, author);
    let mut ordered = change_saying(&app, &caller, &name, &detail, decide).await?;
    *ordered.status_mut() = StatusCode::ACCEPTED;
    Ok(ordered)
}

/// A reason to skip has at most so many bytes.
const MAX_REASON_BYTES: usize = 1000;
/// Records in one order to skip, at most: a digit too many is not an order.
const MAX_SKIPPED: i64 = 100_000;

/// Reads `TOPIC/P/O` or `TOPIC/P/O-O2`.
fn skip_order(request: &SkipRequest) -> Result<SkipOrder, String> {
    let found = &request.records;
    let wrong = || format!("found {found:?}, expected TOPIC/PARTITION/OFFSET, or TOPIC/PARTITION/FIRST-LAST");
    let mut parts = found.rsplitn(3, '/');
    let (Some(offsets), Some(partition), Some(topic)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(wrong());
    };
    let (from, to) = offsets.split_once('-').unwrap_or((offsets, offsets));
    let (Ok(partition), Ok(from), Ok(to)) = (partition.parse::<i32>(), from.parse::<i64>(), to.parse::<i64>()) else {
        return Err(wrong());
    };
    if topic.is_empty() || partition < 0 || from < 0 || to < from {
        return Err(wrong());
    }
    if to - from >= MAX_SKIPPED {
        return Err(format!(
            "found {} records, expected at most {MAX_SKIPPED} in one order",
            to - from + 1
        ));
    }
    Ok(SkipOrder {
        topic: topic.to_owned(),
        partition,
        from,
        to,
        reason: request.reason.clone(),
    })
}

/// Calls the function with one record, and tells what would become of it. Nothing is delivered.
#[utoipa::path(post, path = "/v1/pipelines/{name}/try", tag = "pipelines",
    params(("name" = String, Path, example = "orders")),
    request_body = TryRequest,
    responses(
        (status = 200, body = Tried),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ))]
async fn try_on(
    State(app): State<App>,
    caller: Caller,
    Name(name): Name,
    Sent(request): Sent<TryRequest>,
) -> Result<Json<Tried>, Problem> {
    allow(&caller, Role::Operator, &name)?;
    let wrong = |field: &str, detail: String| Problem::new(Kind::InvalidRequest, detail).at(field);
    let place = skip_order(&SkipRequest {
        records: request.at.clone(),
        reason: String::new(),
    });
    let place = place.map_err(|_| wrong("at", format!("found {:?}, expected TOPIC/PARTITION/OFFSET", request.at)))?;
    let settings = settings(&app, &name).await?;
    let url = match &request.url {
        None => None,
        Some(text) => {
            let url: Uri = text
                .parse()
                .map_err(|error| wrong("url", format!("this is no URL: {error}")))?;
            check_url(&url).map_err(|detail| wrong("url", detail.to_string()))?;
            Some(url)
        }
    };
    let source = TopicPartition {
        topic: place.topic.as_str().into(),
        partition: place.partition,
    };
    let trial = try_record(&settings, &source, place.from, url).await;
    let trial = trial.map_err(|reason| Problem::new(Kind::CannotTry, reason))?;
    Ok(Json(Tried {
        id: format!("{source}/{}", place.from),
        url: trial.url,
        request: shown(&trial.request),
        response: trial.status.map(|_| shown(&trial.response)),
        status: trial.status,
        took_ms: u64::try_from(trial.took.as_millis()).unwrap_or(u64::MAX),
        meaning: trial.meaning,
        results: trial.results.iter().map(result).collect(),
    }))
}

/// Bytes as text, cut short.
fn shown(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 4096;
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES)]).into_owned()
}

fn result(output: &Output) -> Value {
    let text = |bytes: &Option<Bytes>| bytes.as_ref().map(|bytes| shown(bytes));
    let value = output
        .value
        .as_ref()
        .map(|bytes| serde_json::from_slice::<Value>(bytes).unwrap_or_else(|_| Value::String(shown(bytes))));
    json!({"key": text(&output.key), "value": value})
}

/// A pipeline's settings, whether it is from a file or registered.
pub(super) async fn settings(app: &App, name: &str) -> Result<PipelineSettings, Problem> {
    if let Some(file) = app.fleet.file(name) {
        return Ok(file.settings);
    }
    let pipeline = app
        .fleet
        .registry()
        .get(name)
        .await?
        .ok_or_else(|| Problem::no_pipeline(name))?;
    let secrets = app.fleet.secrets().await?;
    let built = app
        .fleet
        .foundation()
        .pipeline(&pipeline.document.to_string(), &secrets);
    Ok(built.map_err(|problems| Problem::of_document(&problems))?.settings)
}

/// What the embedded broker of `fnbridge dev` lacks is refused by name, and before anything is changed.
pub(super) async fn refuse_embedded(app: &App, name: &str, what: &str) -> Result<(), Problem> {
    let Some(pipeline) = app.fleet.registry().get(name).await? else {
        return Ok(());
    };
    let (cluster, _) = registry::belongs_to(&pipeline.document);
    let settings = app.fleet.foundation().worker().clusters.get(&cluster);
    match settings.is_some_and(|settings| settings.embedded) {
        true => Err(Problem::new(
            Kind::NotSupportedHere,
            format!("the embedded broker can't {what}; a Kafka can: fnbridge dev --broker HOST:PORT"),
        )),
        false => Ok(()),
    }
}

/// Tells whether a pipeline's function can be reached, by connecting: nothing is sent.
#[utoipa::path(post, path = "/v1/pipelines/{name}/probe", tag = "pipelines", params(("name" = String, Path, example = "orders")), responses(
    (status = 200, body = Probed),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn probe(State(app): State<App>, caller: Caller, Name(name): Name) -> Result<Json<Probed>, Problem> {
    allow(&caller, Role::Operator, &name)?;
    let settings = settings(&app, &name).await?;
    let in_the_way = match settings.function {
        Some(function) => reach(&function.url, &function.policy).await.err(),
        None => None,
    };
    Ok(Json(Probed { in_the_way }))
}

async fn change(
    app: &App,
    caller: &Caller,
    name: &str,
    decide: impl Fn(Option<&Registered>, &Author) -> Result<Outcome, Refusal>,
) -> Result<Response, Problem> {
    change_saying(app, caller, name, "", decide).await
}

async fn change_saying(
    app: &App,
    caller: &Caller,
    name: &str,
    detail: &str,
    decide: impl Fn(Option<&Registered>, &Author) -> Result<Outcome, Refusal>,
) -> Result<Response, Problem> {
    allow(caller, Role::Operator, name)?;
    let fleetwide = Fleetwide::look(app).await?;
    if fleetwide.holder_of(name).is_some() {
        return Err(Problem::held_by_file(name));
    }
    let author = author(&caller.name);
    let made = app
        .fleet
        .registry()
        .change(name, &author, detail, |existing, _| decide(existing, &author))
        .await;
    let made = made.map_err(|error| Problem::of_change(name, error))?;
    let pipeline = made.pipeline.ok_or_else(|| Problem::no_pipeline(name))?;
    Ok(answer(app, &fleetwide, caller, StatusCode::OK, pipeline))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bad_bytes::bad_text;

    fn order(records: &str) -> Result<(String, i32, i64, i64), String> {
        let request = SkipRequest {
            records: records.to_owned(),
            reason: "poison".to_owned(),
        };
        skip_order(&request).map(|order| (order.topic, order.partition, order.from, order.to))
    }

    #[test]
    fn records_to_skip_are_one_or_a_range_of_one_partition() {
        assert_eq!(order("orders/3/42"), Ok(("orders".to_owned(), 3, 42, 42)));
        assert_eq!(order("a.b-c/0/0-99999"), Ok(("a.b-c".to_owned(), 0, 0, 99_999)));
        for wrong in [
            "orders",
            "orders/3",
            "/3/42",
            "orders/-1/4",
            "orders/3/9-3",
            "orders/3/x",
            "orders/3/0-100000",
            "orders/3/4-",
        ] {
            assert!(order(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn an_order_to_skip_is_a_bounded_range_or_is_refused(records in bad_text("ids")) {
            match order(&records) {
                Ok((topic, partition, from, to)) => {
                    prop_assert!(!topic.is_empty() && partition >= 0 && (0..=to).contains(&from) && to - from < MAX_SKIPPED);
                    let again = order(&format!("{topic}/{partition}/{from}-{to}"));
                    prop_assert_eq!(again, Ok((topic, partition, from, to)));
                }
                Err(why) => prop_assert!(why.contains("expected")),
            }
        }
    }
}

//! Dead letters: found, grouped, and shown in full.

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{Name, Params, allow};
use super::problem::{Kind, Problem};
use super::wire::{
    DeadLetter, LetterGroup, LetterGroups, LetterHeader, LetterList, LetterMark, LetterPage, LetterQuery, PageQuery,
    ProblemDocument, ShownLetter,
};
use super::{App, pipelines, rfc3339};
use crate::control::access::{Caller, Role};
use crate::deadletter::source_headers;
use crate::delivery::record::Record;
use crate::kafka::{ClusterSettings, KafkaError, Kind as KafkaKind, read_record};
use crate::letters::{Filter, Index, IndexError, Letter, Newest, Standing, key_digest, place_of};

/// Parts of a histogram.
const BUCKETS: usize = 24;
const MOST_GROUPS: usize = 100;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(groups))
        .routes(routes!(show))
}

/// Lists dead letters, newest first. What was written in the last second or two may be missing yet.
#[utoipa::path(get, path = "/v1/dead-letters", tag = "dead letters", params(LetterQuery, LetterPage), responses(
    (status = 200, body = LetterList),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<LetterQuery>,
    Params(page): Params<LetterPage>,
) -> Result<Json<LetterList>, Problem> {
    let filter = filter(&caller, query)?;
    let limit = pipelines::limit(&PageQuery {
        after: None,
        limit: page.limit,
    })?;
    let newest = match page.oldest_first {
        false => Newest::First,
        true => Newest::Last,
    };
    let listed = index(&app)
        .await?
        .list(&filter, newest, page.after.as_deref(), limit)
        .await?;
    Ok(Json(LetterList {
        letters: listed.letters.iter().map(told).collect(),
        next: listed.next,
    }))
}

/// Groups dead letters by how they failed, the largest group first.
#[utoipa::path(get, path = "/v1/dead-letters:groups", tag = "dead letters", params(LetterQuery), responses(
    (status = 200, body = LetterGroups),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
async fn groups(
    State(app): State<App>,
    caller: Caller,
    Params(query): Params<LetterQuery>,
) -> Result<Json<LetterGroups>, Problem> {
    let filter = filter(&caller, query)?;
    let groups = index(&app).await?.groups(&filter, BUCKETS, MOST_GROUPS).await?;
    let groups = groups.into_iter().map(|group| LetterGroup {
        first: rfc3339(group.first_ms),
        last: rfc3339(group.last_ms),
        sample: told(&group.sample),
        fingerprint: group.fingerprint,
        count: group.count,
        histogram: group.histogram,
    });
    Ok(Json(LetterGroups {
        groups: groups.collect(),
    }))
}

/// Shows a dead letter in full, as it stands in its topic. The id's slashes are written as `%2F`.
#[utoipa::path(get, path = "/v1/dead-letters/{id}", tag = "dead letters", params(("id" = String, Path, example = "orders.dead-letter/0/0")),
    responses(
        (status = 200, body = ShownLetter),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ))]
async fn show(State(app): State<App>, caller: Caller, Name(id): Name) -> Result<Json<ShownLetter>, Problem> {
    let (place, offset) = place_of(&id).ok_or_else(|| {
        let detail = format!("found the id {id:?}, expected TOPIC/PARTITION/OFFSET of a dead-letter topic");
        Problem::new(Kind::InvalidRequest, detail).at("id")
    })?;
    let nothing = || {
        Problem::new(
            Kind::NotFound,
            format!("found no dead letter {id:?}; GET /v1/dead-letters lists them"),
        )
    };
    let letter = index(&app).await?.get(&place, offset).await?.ok_or_else(nothing)?;
    let pipeline = letter.told.pipeline.clone().unwrap_or_default();
    allow(&caller, Role::Viewer, &pipeline)?;
    let clusters = app.fleet.clusters_with(&place.topic).await?;
    let mut failure = None;
    for cluster in clusters {
        let (settings, at) = (cluster.clone(), place.clone());
        match read(settings, at, offset).await {
            Ok(record) => {
                let marked = marked(&app, &letter).await?;
                return Ok(Json(ShownLetter {
                    marked,
                    ..shown(&letter, &record)
                }));
            }
            Err(error) => failure = Some(error),
        }
    }
    Err(match failure {
        None => nothing(),
        Some(error) if matches!(error.kind, KafkaKind::OutOfRange | KafkaKind::Missing) => Problem::new(
            Kind::NotFound,
            format!("{id} is no longer in its topic: {}", error.text),
        ),
        Some(error) => Problem::new(Kind::ClusterAway, error.to_string()),
    })
}

/// What was done about a letter.
async fn marked(app: &App, letter: &Letter) -> Result<Option<LetterMark>, Problem> {
    if letter.stands.standing.is_open() {
        return Ok(None);
    }
    let mark = app.fleet.marks().get(&letter.place, letter.offset).await?;
    let Some(mark) = mark else { return Ok(None) };
    let differences = match letter.stands.standing {
        Standing::Edited => app.fleet.marks().edit(&letter.place, letter.offset).await?,
        _ => Vec::new(),
    };
    Ok(Some(LetterMark {
        at: rfc3339(mark.at_ms),
        by: mark.by,
        why: mark.why,
        differences,
    }))
}

pub(super) async fn read(
    cluster: std::sync::Arc<ClusterSettings>,
    place: crate::delivery::record::TopicPartition,
    offset: i64,
) -> Result<Record, KafkaError> {
    let read = tokio::task::spawn_blocking(move || read_record(&cluster, &place, offset)).await;
    read.unwrap_or_else(|error| Err(KafkaError::new(KafkaKind::Other, error.to_string())))
}

pub(super) async fn index(app: &App) -> Result<&Index, Problem> {
    app.fleet.letters().await?.map_err(|leader| match leader {
        Some(address) => Problem::new(
            Kind::IndexElsewhere,
            format!("the worker at {address} leads, and has the index of dead letters; ask it"),
        ),
        None => Problem::new(Kind::StoreAway, "no worker leads the fleet yet; send the request again"),
    })
}

pub(super) fn filter(caller: &Caller, query: LetterQuery) -> Result<Filter, Problem> {
    if let Some(pipeline) = &query.pipeline {
        allow(caller, Role::Viewer, pipeline)?;
    } else {
        allow(caller, Role::Viewer, &caller.prefix)?;
    }
    Ok(Filter {
        standings: standings(query.mark.as_deref())?,
        job: query.redrive,
        prefix: caller.prefix.clone(),
        since_ms: time("since", query.since.as_deref())?,
        until_ms: time("until", query.until.as_deref())?,
        key: query.key.map(|key| key_digest(key.as_bytes())),
        pipeline: query.pipeline,
        topic: query.topic,
        partition: query.partition,
        from_offset: query.from_offset,
        to_offset: query.to_offset,
        stage: query.stage,
        status: query.status,
        reason: query.reason,
        fingerprint: query.fingerprint,
    })
}

/// `open` where nothing is said: letters that somebody has to see to, among them those of which nobody knows.
fn standings(marks: Option<&str>) -> Result<Vec<Standing>, Problem> {
    let marks = match marks {
        None => return Ok(vec![Standing::Open, Standing::Unknown]),
        Some("all") => return Ok(Vec::new()),
        Some(marks) => marks,
    };
    let standing = |name: &str| {
        Standing::of(name.trim()).ok_or_else(|| {
            let names: Vec<&str> = Standing::ALL.iter().map(|standing| standing.name()).collect();
            let detail = format!("found {name:?}, expected all, or one or more of {}", names.join(", "));
            Problem::new(Kind::InvalidRequest, detail).at("mark")
        })
    };
    marks.split(',').map(standing).collect()
}

pub(super) fn time(field: &str, text: Option<&str>) -> Result<Option<i64>, Problem> {
    let Some(text) = text else { return Ok(None) };
    match text.parse::<Timestamp>() {
        Ok(time) => Ok(Some(time.as_millisecond())),
        Err(_) => {
            let detail = format!("found {text:?}, expected a time such as 2026-01-31T12:00:00Z");
            Err(Problem::new(Kind::InvalidRequest, detail).at(field))
        }
    }
}

fn told(letter: &Letter) -> DeadLetter {
    let told = &letter.told;
    let source = told.source.as_ref().zip(told.offset);
    DeadLetter {
        id: letter.id(),
        pipeline: told.pipeline.clone(),
        source: source.map(|(place, offset)| format!("{place}/{offset}")),
        stage: told.stage.clone(),
        status: told.status,
        reason: told.reason.clone(),
        fingerprint: told.fingerprint.clone(),
        at: rfc3339(letter.at_ms),
        first_failed: told.first_failed_ms.map(rfc3339),
        attempts: told.attempts,
        redrives: told.redrives,
        sink: told.sink.clone(),
        foreign: told.foreign,
        bytes: letter.bytes,
        mark: letter.stands.standing.name().to_owned(),
        redrive: letter.stands.job.clone(),
        outcome: letter.stands.result.clone(),
    }
}

fn shown(letter: &Letter, record: &Record) -> ShownLetter {
    let last = |name: &str| {
        let header = record.headers.iter().rev().find(|header| header.name == name)?;
        Some(String::from_utf8_lossy(header.value.as_ref()?).into_owned())
    };
    let (key, key_base64) = text_or_base64(record.key.as_ref());
    let (text, value_base64) = text_or_base64(record.value.as_ref());
    ShownLetter {
        letter: told(letter),
        timestamp: (record.timestamp_ms >= 0).then(|| rfc3339(record.timestamp_ms)),
        key,
        key_base64,
        value: text.map_or(Value::Null, |text| {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        }),
        value_base64,
        headers: source_headers(record)
            .map(|header| LetterHeader {
                name: header.name.clone(),
                value: header
                    .value
                    .as_ref()
                    .map(|value| String::from_utf8_lossy(value).into_owned()),
            })
            .collect(),
        response: last("fnbridge.response"),
        result: last("fnbridge.result").map(|text| serde_json::from_str(&text).unwrap_or(Value::String(text))),
        marked: None,
        truncated: last("fnbridge.truncated"),
    }
}

fn text_or_base64(bytes: Option<&Bytes>) -> (Option<String>, Option<String>) {
    match bytes.map(|bytes| (std::str::from_utf8(bytes), bytes)) {
        None => (None, None),
        Some((Ok(text), _)) => (Some(text.to_owned()), None),
        Some((Err(_), bytes)) => (None, Some(STANDARD.encode(bytes))),
    }
}

impl From<IndexError> for Problem {
    fn from(error: IndexError) -> Problem {
        match error {
            IndexError::NoCursor(_) => Problem::new(Kind::InvalidRequest, error.to_string()).at("after"),
            IndexError::Unusable(_) => Problem::new(Kind::StoreAway, error.to_string()),
        }
    }
}

//! One dead letter, with everything that is known of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::Value;

use super::{index, told};
use crate::api::asked::{Name, Params, allow};
use crate::api::operate::settings;
use crate::api::problem::{Kind, Problem};
use crate::api::wire::{LaterRecords, LetterHeader, LetterMark, ProblemDocument, ShowQuery, ShownLetter, WouldSend};
use crate::api::{App, rfc3339};
use crate::control::access::{Caller, Role};
use crate::deadletter::source_headers;
use crate::delivery::record::{Record, TopicPartition};
use crate::kafka::{ClusterSettings, KafkaError, Kind as KafkaKind, committed, read_record};
use crate::letters::{Letter, Standing, later, place_of};
use crate::pipeline::{PipelineSettings, would_send};

/// The beginning of a body that is shown.
const SHOWN_BYTES: usize = 4096;

/// Shows a dead letter in full, as it stands in its topic. The id's slashes are written as `%2F`.
#[utoipa::path(get, path = "/v1/dead-letters/{id}", tag = "dead letters",
    params(("id" = String, Path, example = "orders.dead-letter/0/0"), ShowQuery),
    responses(
        (status = 200, body = ShownLetter),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ))]
pub(in crate::api) async fn show(
    State(app): State<App>,
    caller: Caller,
    Name(id): Name,
    Params(query): Params<ShowQuery>,
) -> Result<Json<ShownLetter>, Problem> {
    let (place, offset) = place_of(&id).ok_or_else(|| {
        let detail = format!("found the id {id:?}, expected TOPIC/PARTITION/OFFSET of a dead-letter topic");
        Problem::new(Kind::InvalidRequest, detail).at("id")
    })?;
    let letter = index(&app)
        .await?
        .get(&place, offset)
        .await?
        .ok_or_else(|| nothing(&id))?;
    let pipeline = letter.told.pipeline.clone().unwrap_or_default();
    allow(&caller, Role::Viewer, &pipeline)?;
    let record = find(&app, &letter).await?;
    let settings = settings(&app, &pipeline).await.ok();
    let later = match query.later {
        true => Some(look_later(&letter, &record, settings.as_ref()).await),
        false => None,
    };
    Ok(Json(ShownLetter {
        marked: marked(&app, &letter).await?,
        would_send: Some(request(settings.as_ref(), record.clone())),
        later,
        ..shown(&letter, &record, query.raw)
    }))
}

fn nothing(id: &str) -> Problem {
    let detail = format!("found no dead letter {id:?}; GET /v1/dead-letters lists them");
    Problem::new(Kind::NotFound, detail)
}

/// The letter's record, from whichever cluster has it.
async fn find(app: &App, letter: &Letter) -> Result<Record, Problem> {
    let mut failure = None;
    for cluster in app.fleet.clusters_with(&letter.place.topic).await? {
        match read(cluster, letter.place.clone(), letter.offset).await {
            Ok(record) => return Ok(record),
            Err(error) => failure = Some(error),
        }
    }
    let id = letter.id();
    Err(match failure {
        None => nothing(&id),
        Some(error) if matches!(error.kind, KafkaKind::OutOfRange | KafkaKind::Missing) => {
            let detail = format!("{id} is no longer in its topic: {}", error.text);
            Problem::new(Kind::NotFound, detail)
        }
        Some(error) => Problem::new(Kind::ClusterAway, error.to_string()),
    })
}

/// Reads one record.
pub(in crate::api) async fn read(
    cluster: Arc<ClusterSettings>,
    place: TopicPartition,
    offset: i64,
) -> Result<Record, KafkaError> {
    blocking(move || read_record(&cluster, &place, offset)).await
}

pub(in crate::api) async fn blocking<T: Send + 'static>(
    ask: impl FnOnce() -> Result<T, KafkaError> + Send + 'static,
) -> Result<T, KafkaError> {
    let asked = tokio::task::spawn_blocking(ask).await;
    asked.unwrap_or_else(|error| Err(KafkaError::new(KafkaKind::Other, error.to_string())))
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

/// The request that the function would get now.
fn request(settings: Option<&PipelineSettings>, record: Record) -> WouldSend {
    let sent = match settings {
        Some(settings) => would_send(settings, record),
        None => Err("its pipeline is gone, or can't be built here".to_owned()),
    };
    match sent {
        Ok(sent) => WouldSend {
            url: Some(sent.url),
            headers: (sent.headers.into_iter())
                .map(|(name, value)| LetterHeader {
                    name,
                    value: Some(value),
                })
                .collect(),
            body: String::from_utf8_lossy(&sent.body[..sent.body.len().min(SHOWN_BYTES)]).into_owned(),
            not_since: None,
        },
        Err(reason) => WouldSend {
            url: None,
            headers: Vec::new(),
            body: String::new(),
            not_since: Some(reason),
        },
    }
}

/// Whether records of the same key followed a letter's, and went through.
async fn look_later(letter: &Letter, record: &Record, settings: Option<&PipelineSettings>) -> LaterRecords {
    let not_since = |reason: &str| LaterRecords {
        not_since: Some(reason.to_owned()),
        ..LaterRecords::default()
    };
    let Some(settings) = settings else {
        return not_since("its pipeline is gone, or can't be built here");
    };
    let Some(key) = record.key.clone() else {
        return not_since("it has no key: no other record has to come behind it");
    };
    let (Some(source), Some(offset)) = (letter.told.source.clone(), letter.told.offset) else {
        return not_since("its headers do not say which record it was");
    };
    let (read_from, at) = (settings.source.clone(), source.clone());
    let found = blocking(move || {
        let committed = committed(&read_from)?;
        let committed = committed.get(&at).map(|(offset, _)| *offset);
        later(&read_from.cluster, &at, offset, &key, committed)
    });
    match found.await {
        Err(error) => not_since(&error.to_string()),
        Ok(found) => LaterRecords {
            records: found.records,
            passed: found.passed,
            ids: found.first.iter().map(|offset| format!("{source}/{offset}")).collect(),
            looked_at: found.looked_at,
            up_to: found.up_to.map(|offset| format!("{source}/{offset}")),
            to_the_end: found.to_the_end,
            gone: found.gone,
            not_since: None,
        },
    }
}

pub(super) fn shown(letter: &Letter, record: &Record, is_raw: bool) -> ShownLetter {
    let last = |name: &str| {
        let header = record.headers.iter().rev().find(|header| header.name == name)?;
        Some(String::from_utf8_lossy(header.value.as_ref()?).into_owned())
    };
    let (key, key_base64) = text_or_base64(record.key.as_ref());
    let (text, value_base64) = match (is_raw, &record.value) {
        (true, Some(value)) => (None, Some(STANDARD.encode(value))),
        _ => text_or_base64(record.value.as_ref()),
    };
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
        would_send: None,
        later: None,
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

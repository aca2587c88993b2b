//! Dead letters: found, grouped, and shown in full.

mod export;
mod records;
pub(super) mod shown;

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asked::{Params, allow};
use super::problem::{Kind, Problem};
use super::wire::{
    DeadLetter, LetterGroup, LetterGroups, LetterList, LetterPage, LetterQuery, PageQuery, ProblemDocument,
};
use super::{App, pipelines, rfc3339};
use crate::control::access::{Caller, Role};
use crate::control::fleet::Identity;
use crate::letters::{Contents, Filter, Index, IndexError, Letter, Newest, Standing, cursor, key_digest};
use records::Records;

/// Parts of a histogram.
const BUCKETS: usize = 24;
const MOST_GROUPS: usize = 100;
/// Records are looked through for so long; the next page goes on.
const SEARCH_FOR: Duration = Duration::from_secs(5);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(groups))
        .routes(routes!(shown::show))
        .routes(routes!(export::export))
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
    let contents = contents(&query)?;
    let filter = filter(&caller, query)?;
    let limit = pipelines::limit(&PageQuery {
        after: None,
        limit: page.limit,
    })?;
    let newest = match page.oldest_first {
        false => Newest::First,
        true => Newest::Last,
    };
    if contents.is_anything() {
        return search(app, filter, newest, page.after, limit, &contents).await;
    }
    let listed = index(&app)
        .await?
        .list(&filter, newest, page.after.as_deref(), limit)
        .await?;
    Ok(Json(LetterList {
        letters: listed.letters.iter().map(told).collect(),
        next: listed.next,
        looked_at: None,
    }))
}

/// Letters whose records hold something: as many as are found in time.
async fn search(
    app: App,
    filter: Filter,
    newest: Newest,
    after: Option<String>,
    limit: usize,
    contents: &Contents,
) -> Result<Json<LetterList>, Problem> {
    index(&app).await?;
    let began = Instant::now();
    let mut records = Records::new(app, filter, newest, after);
    let mut found = LetterList {
        letters: Vec::new(),
        next: None,
        looked_at: Some(0),
    };
    let mut looked_at = 0;
    loop {
        let part = records.next().await?;
        if part.is_empty() {
            found.next = None;
            break;
        }
        for (letter, record) in part {
            if found.letters.len() == limit {
                break;
            }
            looked_at += 1;
            found.next = Some(cursor(&letter));
            if record.is_some_and(|record| contents.are_in(&record)) {
                found.letters.push(told(&letter));
            }
        }
        if found.letters.len() == limit || began.elapsed() >= SEARCH_FOR {
            break;
        }
    }
    found.looked_at = Some(looked_at);
    Ok(Json(found))
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
    refuse_contents(&query)?;
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

pub(super) async fn index(app: &App) -> Result<&Index, Problem> {
    app.fleet.letters().await?.map_err(|leader| match leader {
        Some(Identity { id, address, .. }) => Problem::new(
            Kind::IndexElsewhere,
            format!(
                "the worker {id} at {address} leads, and has the index of dead letters: ask it, or say in its `advertise` how \
                 others reach it"
            ),
        ),
        None => Problem::new(Kind::StoreAway, "no worker leads the fleet yet; send the request again"),
    })
}

/// What letters' records have to hold.
fn contents(query: &LetterQuery) -> Result<Contents, Problem> {
    let read = Contents::read(query.header.as_deref(), query.value.as_deref());
    read.map_err(|(field, detail)| Problem::new(Kind::InvalidRequest, detail).at(field))
}

/// What only an index is asked for is not asked what records hold.
pub(super) fn refuse_contents(query: &LetterQuery) -> Result<(), Problem> {
    if query.header.is_none() && query.value.is_none() {
        return Ok(());
    }
    let field = if query.header.is_some() { "header" } else { "value" };
    let detail = "only lists and exports read records: list the letters with it, and name them by their ids";
    Err(Problem::new(Kind::InvalidRequest, detail).at(field))
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

impl From<IndexError> for Problem {
    fn from(error: IndexError) -> Problem {
        match error {
            IndexError::NoCursor(_) => Problem::new(Kind::InvalidRequest, error.to_string()).at("after"),
            IndexError::Unusable(_) => Problem::new(Kind::StoreAway, error.to_string()),
        }
    }
}

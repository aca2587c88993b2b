//! Letters that nobody needs any more.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;

use super::chosen::{Which, choose};
use crate::api::asked::Sent;
use crate::api::letters::index;
use crate::api::problem::{Kind, Problem};
use crate::api::wire::{DiscardRequest, Discarded, ProblemDocument};
use crate::api::{App, author};
use crate::control::access::{Caller, Role};
use crate::control::audit::{self, Audited};
use crate::control::redrives::{Block, Mark};
use crate::delivery::record::TopicPartition;
use crate::letters::{Filter, Letter, Marked, Newest, Standing};
use crate::redrive::Wanted;
use crate::store::{CommitError, Transaction};

const PAGE: usize = 1000;
/// A request goes on for so long, and says that there is more.
const GOES_ON_FOR: Duration = Duration::from_secs(15);
/// A reason has at most so many bytes.
const MAX_REASON_BYTES: usize = 1000;

/// Marks letters as not needed. They stay in their topic.
#[utoipa::path(post, path = "/v1/dead-letters:discard", tag = "dead letters", request_body = DiscardRequest, responses(
    (status = 200, body = Discarded),
    (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
))]
pub(super) async fn discard(
    State(app): State<App>,
    caller: Caller,
    Sent(request): Sent<DiscardRequest>,
) -> Result<Json<Discarded>, Problem> {
    let reason = request.reason.trim();
    if reason.is_empty() || reason.len() > MAX_REASON_BYTES {
        let detail = format!("expected a reason of 1 to {MAX_REASON_BYTES} bytes: it stands with each letter");
        return Err(Problem::new(Kind::InvalidRequest, detail).at("reason"));
    }
    let which = Which {
        pipeline: request.pipeline,
        ids: request.ids,
        matching: request.matching,
        all: request.all,
    };
    let chosen = choose(&app, &caller, Role::Operator, which).await?;
    let (name, topic) = (chosen.settings.name.clone(), chosen.settings.dead_letter.topic.clone());
    let began = Instant::now();
    let mut letters = 0;
    let mut more = false;
    match &chosen.wanted {
        Wanted::Ids(ids) => {
            let mut open = Vec::new();
            for (partition, offset) in ids {
                let place = TopicPartition {
                    topic: topic.as_str().into(),
                    partition: *partition,
                };
                open.extend(index(&app).await?.get(&place, *offset).await?);
            }
            open.retain(|letter| letter.stands.standing.is_open());
            letters += mark(&app, &caller, &name, reason, &open).await?;
        }
        Wanted::Matching(filter) => {
            let open = Filter {
                standings: vec![Standing::Open, Standing::Unknown],
                ..(**filter).clone()
            };
            loop {
                let page = index(&app).await?.list(&open, Newest::Last, None, PAGE).await?;
                letters += mark(&app, &caller, &name, reason, &page.letters).await?;
                // Those that are marked are open no more: what is left stands first.
                if page.next.is_none() {
                    break;
                }
                if began.elapsed() >= GOES_ON_FOR {
                    more = true;
                    break;
                }
            }
        }
    }
    Ok(Json(Discarded { letters, more }))
}

async fn mark(app: &App, caller: &Caller, pipeline: &str, reason: &str, letters: &[Letter]) -> Result<u64, Problem> {
    if letters.is_empty() {
        return Ok(0);
    }
    let author = author(&caller.name);
    let mark = Mark {
        standing: Standing::Discarded,
        at_ms: author.at_ms,
        by: author.name.clone(),
        job: None,
        result: None,
        why: Some(reason.to_owned()),
    };
    let mut marks: BTreeMap<TopicPartition, Block> = BTreeMap::new();
    for letter in letters {
        marks
            .entry(letter.place.clone())
            .or_default()
            .insert(letter.offset, mark.clone());
    }
    let count = letters.len();
    let detail = match letters {
        [one] => format!("{}: {reason}", one.id()),
        _ => format!("{count} letters, {} and others: {reason}", letters[0].id()),
    };
    let besides = Transaction {
        conditions: Vec::new(),
        writes: vec![audit::write(&Audited {
            at_ms: author.at_ms,
            by: author.name,
            action: "dead_letter.discarded".to_owned(),
            target: pipeline.to_owned(),
            detail,
        })],
    };
    match app.fleet.marks().set(&marks, besides).await {
        Ok(_) | Err(CommitError::Conflict { .. }) => {}
        Err(CommitError::Store(error)) => return Err(error.into()),
    }
    let marked: Vec<Marked> = (letters.iter())
        .map(|letter| mark.marked(&letter.place, letter.offset))
        .collect();
    app.fleet.show_marks(&marked).await?;
    Ok(count as u64)
}

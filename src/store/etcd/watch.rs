//! etcd's stream of changes: a JSON object a line, for as long as the connection lives.

use std::sync::Arc;

use super::Endpoints;
use super::wire::{WatchCreate, WatchLine, WatchRequest};
use crate::store::changes::Changes;
use crate::store::{CALL_TIMEOUT, LOOK_EVERY, behind, kind};

/// A line longer than this is none of a watch.
const MAX_LINE_BYTES: usize = 64 << 20;

/// Watches for ever. Whatever may have been missed between two connections, everybody looks at.
pub(super) async fn watch(endpoints: Arc<Endpoints>, changes: Arc<Changes>) {
    let mut turn = 0;
    loop {
        if stream(&endpoints, turn, &changes).await.is_err() {
            turn += 1;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The member can't be watched: it is away, refuses, or says nothing.
struct Silent;

impl From<reqwest::Error> for Silent {
    fn from(_: reqwest::Error) -> Silent {
        Silent
    }
}

async fn stream(endpoints: &Endpoints, turn: usize, changes: &Changes) -> Result<(), Silent> {
    let request = WatchRequest {
        create_request: WatchCreate {
            key: endpoints.key(""),
            range_end: super::wire::encoded(behind(&endpoints.prefix).as_bytes()),
        },
    };
    let (_, url) = endpoints.url("watch", turn);
    let asked = endpoints.client.post(url).json(&request).send();
    let Ok(answered) = tokio::time::timeout(CALL_TIMEOUT, asked).await else {
        return Err(Silent);
    };
    let mut response = answered?.error_for_status()?;
    let mut line = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        for byte in chunk {
            if byte != b'\n' {
                line.push(byte);
                continue;
            }
            take_in(&line, &endpoints.prefix, changes);
            line.clear();
        }
        if line.len() > MAX_LINE_BYTES {
            break;
        }
    }
    Ok(())
}

/// The first line says that the watch stands, and from which revision: what happened up to it may have been missed.
fn take_in(line: &[u8], prefix: &str, changes: &Changes) {
    let Ok(WatchLine { result: Some(result) }) = serde_json::from_slice(line) else {
        return;
    };
    if result.events.is_empty() {
        changes.tell_all(result.header.revision());
    }
    for event in result.events {
        if let Some(key) = event.kv.key(prefix) {
            changes.tell(kind(&key), event.kv.revision());
        }
    }
}

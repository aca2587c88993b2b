//! etcd's stream of changes: a JSON object a line, for as long as the connection lives.

use std::sync::Arc;

use super::Endpoints;
use super::wire::{WatchCreate, WatchLine, WatchRequest};
use crate::store::changes::Changes;
use crate::store::{LOOK_EVERY, behind, kind};

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

async fn stream(endpoints: &Endpoints, turn: usize, changes: &Changes) -> Result<(), reqwest::Error> {
    let request = WatchRequest {
        create_request: WatchCreate {
            key: endpoints.key(""),
            range_end: super::wire::encoded(behind(&endpoints.prefix).as_bytes()),
        },
    };
    let (_, url) = endpoints.url("watch", turn);
    let mut response = endpoints
        .client
        .post(url)
        .json(&request)
        .send()
        .await?
        .error_for_status()?;
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

/// The first line says that the watch stands: what happened before it may have been missed.
fn take_in(line: &[u8], prefix: &str, changes: &Changes) {
    let Ok(WatchLine { result: Some(result) }) = serde_json::from_slice(line) else {
        return;
    };
    if result.events.is_empty() {
        changes.tell_all();
    }
    for event in result.events {
        if let Some(key) = event.kv.key(prefix) {
            changes.tell(kind(&key), event.kv.revision());
        }
    }
}

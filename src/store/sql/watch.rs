//! Learning of changes that other processes made.

use std::sync::Arc;

use sqlx::postgres::PgListener;
use sqlx::{AnyPool, Row};
use tokio::time::timeout;

use super::in_time;
use crate::store::changes::Changes;
use crate::store::{LOOK_EVERY, Revision};

/// Looks every now and then: SQLite tells other processes nothing.
pub(super) async fn look(pool: AnyPool, changes: Arc<Changes>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        look_once(&pool, &changes).await;
    }
}

/// Is told by PostgreSQL's `NOTIFY`, and looks every now and then all the same.
pub(super) async fn listen(pool: AnyPool, url: String, changes: Arc<Changes>) {
    loop {
        if let Ok(Ok(mut listener)) = in_time(PgListener::connect(&url)).await
            && let Ok(Ok(())) = in_time(listener.listen("fnbridge")).await
        {
            loop {
                look_once(&pool, &changes).await;
                // Nothing was told in time, or something: both are a reason to look.
                if let Ok(Err(_)) = timeout(LOOK_EVERY, listener.recv()).await {
                    break;
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
        look_once(&pool, &changes).await;
    }
}

async fn look_once(pool: &AnyPool, changes: &Changes) {
    let kinds = sqlx::query("SELECT kind, revision FROM fnbridge_kinds").fetch_all(pool);
    let Ok(Ok(rows)) = in_time(kinds).await else { return };
    for row in rows {
        if let (Ok(kind), Ok(revision)) = (row.try_get::<String, _>(0), row.try_get(1)) {
            changes.tell(&kind, Revision(revision));
        }
    }
}

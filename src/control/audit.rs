//! Who changed what, and when.

use serde::{Deserialize, Serialize};

use crate::store::{Order, Store, StoreError, Write};

/// Something that somebody changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audited {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Who: a token's name, or `anonymous` where none is asked for.
    pub by: String,
    /// What was done, such as `pipeline.paused`.
    pub action: String,
    /// To what: a pipeline's, secret's or token's name.
    pub target: String,
    /// More about it.
    #[serde(default)]
    pub detail: String,
}

/// What makes it part of a transaction.
pub fn write(audited: &Audited) -> Write {
    let value = serde_json::to_vec(audited).expect("texts and a number are JSON");
    Write::put(format!("audit/{:015}-{:08x}", audited.at_ms, fastrand::u32(..)), value)
}

/// The log, newest first, from before the key `before` on, each with its key; and whether there is more.
///
/// # Errors
/// The store is away.
pub async fn list(
    store: &dyn Store,
    before: Option<&str>,
    limit: usize,
) -> Result<(Vec<(String, Audited)>, bool), StoreError> {
    let before = before.map(|key| format!("audit/{key}"));
    let page = store
        .list("audit/", Order::Descending, before.as_deref(), limit)
        .await?;
    let entries = page.entries.into_iter().filter_map(|entry| {
        let audited = serde_json::from_slice(&entry.value).ok()?;
        Some((entry.key.strip_prefix("audit/")?.to_owned(), audited))
    });
    Ok((entries.collect(), page.more))
}

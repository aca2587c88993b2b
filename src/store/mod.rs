//! Where the fleet's state is kept: a small ordered map with revisions, in SQLite, PostgreSQL or etcd.
//!
//! Everything above (registry, leases, tokens, audit log) is written against [`Store`]. A key is a path such as
//! `pipelines/orders`; what stands before the first `/` is its kind, and kinds are what is watched.

mod changes;
mod etcd;
mod sql;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

/// Grows with every commit to the store, and is never given twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub i64);

/// What stands under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// At most [`MAX_VALUE_BYTES`].
    pub value: Bytes,
    /// The commit that wrote it last.
    pub revision: Revision,
}

/// What has to hold for a transaction to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Nothing stands under the key.
    Absent(String),
    /// The key was last written by this commit.
    At(String, Revision),
}

/// A change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets it.
    Put {
        /// The key.
        key: String,
        /// Its value.
        value: Bytes,
        /// It is gone after so long, by the store's clock, unless it is put again; `None`: it stays.
        lives: Option<Duration>,
    },
    /// Removes it, where it is there.
    Delete {
        /// The key.
        key: String,
    },
}

impl Write {
    /// Sets a key for good.
    pub fn put(key: impl Into<String>, value: impl Into<Bytes>) -> Write {
        Write::Put {
            key: key.into(),
            value: value.into(),
            lives: None,
        }
    }

    /// The key that is written.
    pub fn key(&self) -> &str {
        match self {
            Write::Put { key, .. } | Write::Delete { key } => key,
        }
    }
}

/// Changes that are made together, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// All of them have to hold; at most [`MAX_OPERATIONS`].
    pub conditions: Vec<Condition>,
    /// At most [`MAX_OPERATIONS`], no key twice.
    pub writes: Vec<Write>,
}

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In the order that was asked for.
    pub entries: Vec<Entry>,
    /// There are more.
    pub more: bool,
}

/// In which order a list is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// By the keys' bytes.
    Ascending,
    /// The other way round.
    Descending,
}

/// A value has at most so many bytes.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// A transaction has at most so many conditions, and so many writes.
pub const MAX_OPERATIONS: usize = 100;
/// How long one call may take.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// How often changes are looked for where nothing tells of them.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why a store did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It does not answer, or not in time. Whether a commit was carried out is not known.
    #[error("the store is away: {0}")]
    Away(String),
    /// It can't be used as it is.
    #[error("the store can't be used: {0}")]
    Unusable(String),
}

/// Why a transaction was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// A condition does not hold.
    #[error("{key} was changed by somebody else")]
    Conflict {
        /// The condition's key.
        key: String,
        /// The commit that wrote it last; `None`: nothing stands there.
        found: Option<Revision>,
    },
    /// The store's own.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A small ordered map with revisions.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// What stands under a key.
    ///
    /// # Errors
    /// The store is away.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>>;

    /// The entries whose keys begin with `prefix`, in key order, from behind `after` on; at most `limit`.
    ///
    /// # Errors
    /// The store is away.
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        order: Order,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>>;

    /// Carries a transaction out, whole or not at all.
    ///
    /// # Errors
    /// A condition that does not hold, or the store is away.
    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision, CommitError>>;

    /// Changes after each commit, of whatever process, to a key of this kind, mostly at once and at the latest after
    /// [`LOOK_EVERY`]. That an entry has ended its life is not told.
    fn watch(&self, kind: &str) -> watch::Receiver<Revision>;
}

impl dyn Store + '_ {
    /// All entries whose keys begin with `prefix`, in key order.
    ///
    /// # Errors
    /// The store is away.
    pub async fn all(&self, prefix: &str) -> Result<Vec<Entry>, StoreError> {
        const PAGE: usize = 500;
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let after = entries.last().map(|entry| entry.key.clone());
            let page = self.list(prefix, Order::Ascending, after.as_deref(), PAGE).await?;
            entries.extend(page.entries);
            if !page.more {
                return Ok(entries);
            }
        }
    }
}

/// Opens the store that a URL names: `sqlite://PATH`, `sqlite::memory:`, `postgres://…` or
/// `etcd://HOST:2379,HOST:2379/PREFIX`. It is not spoken to before it is used. Must be called within a Tokio runtime.
///
/// # Errors
/// What is wrong with the URL.
pub fn open(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    let scheme = url.split(':').next().unwrap_or_default();
    match scheme {
        "sqlite" => Ok(Arc::new(sql::SqlStore::sqlite(url)?)),
        "postgres" | "postgresql" => Ok(Arc::new(sql::SqlStore::postgres(url)?)),
        "etcd" => Ok(Arc::new(etcd::EtcdStore::open(url)?)),
        other => Err(StoreError::Unusable(format!(
            "found a URL that begins with {other:?}, expected sqlite://PATH, postgres://… or etcd://HOST:2379/PREFIX"
        ))),
    }
}

/// What stands before the first `/` of a key.
pub(crate) fn kind(key: &str) -> &str {
    key.split('/').next().unwrap_or_default()
}

/// The first string that is behind all those that begin with `prefix`.
pub(crate) fn behind(prefix: &str) -> String {
    let mut letters: Vec<char> = prefix.chars().collect();
    while let Some(last) = letters.pop() {
        if let Some(next) = (u32::from(last) + 1..=0x0010_FFFF).find_map(char::from_u32) {
            letters.push(next);
            return letters.into_iter().collect();
        }
    }
    char::MAX.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_behind_a_prefix_is_behind_all_that_begin_with_it() {
        assert_eq!(behind("pipelines/"), "pipelines0");
        assert_eq!(behind("a\u{D7FF}"), "a\u{E000}");
        assert_eq!(behind("a\u{10FFFF}"), "b");
        assert_eq!(behind(""), "\u{10FFFF}");
    }

    #[test]
    fn a_url_of_another_kind_is_refused_with_what_was_expected() {
        let error = open("mysql://here/db").unwrap_err().to_string();
        assert!(
            error.contains("found a URL that begins with \"mysql\", expected sqlite://PATH"),
            "{error}"
        );
    }
}

//! SQLite and PostgreSQL: the same three tables, and the same statements.
//!
//! Commits follow one another: each begins by raising the one row of `fnbridge_revision`, so that a reader who has seen a
//! revision has seen all before it.

mod migrations;
mod watch;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use sqlx::any::AnyRow;
use sqlx::{Any, AnyConnection, AnyPool, Row};
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;

use super::changes::Changes;
use super::{
    CALL_TIMEOUT, CommitError, Condition, Entry, Order, Page, Revision, Store, StoreError, Transaction, Write, behind,
    kind,
};
use crate::database::{self, Dialect, Limits};

/// A store in a SQL database.
#[derive(Debug)]
pub(super) struct SqlStore {
    pool: AnyPool,
    dialect: Dialect,
    migrated: OnceCell<()>,
    changes: Arc<Changes>,
    looking: JoinHandle<()>,
    sweeping: JoinHandle<()>,
}

/// How often entries whose life is over are removed; they are not seen from its end on.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// Connections to PostgreSQL, beside the one that listens.
const POSTGRES_CONNECTIONS: u32 = 8;

/// The statements; both databases know `$1`.
struct Statements {
    get: &'static str,
    ascending: &'static str,
    descending: &'static str,
    put: &'static str,
    sweep: &'static str,
    begin: &'static str,
}

macro_rules! statements {
    ($now:literal, $begin:literal) => {
        Statements {
            get: concat!(
                "SELECT key, value, revision FROM fnbridge_entries WHERE key = $1 AND (ends_ms IS NULL OR ends_ms > ",
                $now,
                ")"
            ),
            ascending: concat!(
                "SELECT key, value, revision FROM fnbridge_entries WHERE key >= $1 AND key < $2 AND key > $3 \
                 AND (ends_ms IS NULL OR ends_ms > ",
                $now,
                ") ORDER BY key LIMIT $4"
            ),
            descending: concat!(
                "SELECT key, value, revision FROM fnbridge_entries WHERE key >= $1 AND key < $2 AND key < $3 \
                 AND (ends_ms IS NULL OR ends_ms > ",
                $now,
                ") ORDER BY key DESC LIMIT $4"
            ),
            put: concat!(
                "INSERT INTO fnbridge_entries (key, value, revision, ends_ms) \
                 VALUES ($1, $2, $3, CASE WHEN $4 < 0 THEN NULL ELSE $4 + ",
                $now,
                " END) ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision, \
                 ends_ms = excluded.ends_ms"
            ),
            sweep: concat!("DELETE FROM fnbridge_entries WHERE ends_ms <= ", $now),
            begin: $begin,
        }
    };
}

const SQLITE: Statements = statements!("CAST(unixepoch('subsec') * 1000 AS INTEGER)", "BEGIN IMMEDIATE");
const POSTGRES: Statements = statements!("CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)", "BEGIN");

fn statements(dialect: Dialect) -> &'static Statements {
    match dialect {
        Dialect::Sqlite => &SQLITE,
        Dialect::Postgres => &POSTGRES,
    }
}

impl SqlStore {
    /// `sqlite://PATH` or `sqlite::memory:`. The file is made where it is missing, its folder has to be there.
    pub(super) fn sqlite(url: &str) -> Result<SqlStore, StoreError> {
        let path = url.trim_start_matches("sqlite:").trim_start_matches("//");
        let folder = std::path::Path::new(path)
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            return Err(StoreError::Unusable(format!(
                "{path}: found no folder {}; make it, or name another file in `store`",
                folder.display()
            )));
        }
        // One connection: writers wait for one another here, not in SQLite.
        SqlStore::open(url, 1)
    }

    /// `postgres://user:password@host/database`.
    pub(super) fn postgres(url: &str) -> Result<SqlStore, StoreError> {
        SqlStore::open(url, POSTGRES_CONNECTIONS)
    }

    fn open(url: &str, connections: u32) -> Result<SqlStore, StoreError> {
        let unusable = |error: sqlx::Error| StoreError::Unusable(format!("its URL can't be read: {error}"));
        let limits = Limits {
            connections,
            patience: CALL_TIMEOUT,
        };
        let (dialect, pool) = database::connections(url, limits).map_err(unusable)?;
        let changes = Arc::new(Changes::default());
        let looking = match dialect {
            Dialect::Sqlite => tokio::spawn(watch::look(pool.clone(), changes.clone())),
            Dialect::Postgres => tokio::spawn(watch::listen(pool.clone(), url.to_owned(), changes.clone())),
        };
        let sweeping = tokio::spawn(sweep(pool.clone(), dialect));
        Ok(SqlStore {
            pool,
            dialect,
            migrated: OnceCell::new(),
            changes,
            looking,
            sweeping,
        })
    }

    /// The pool, once its tables have this version's shape.
    async fn pool(&self) -> Result<&AnyPool, StoreError> {
        let migrate = || async { in_time(migrations::run(&self.pool, self.dialect)).await? };
        self.migrated.get_or_try_init(migrate).await?;
        Ok(&self.pool)
    }

    async fn page(&self, prefix: &str, order: Order, after: Option<&str>, limit: usize) -> Result<Page, sqlx::Error> {
        let end = behind(prefix);
        let (statement, start) = match order {
            Order::Ascending => (statements(self.dialect).ascending, after.unwrap_or_default()),
            Order::Descending => (statements(self.dialect).descending, after.unwrap_or(&end)),
        };
        let most = i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1;
        let rows = sqlx::query(statement)
            .bind(prefix)
            .bind(end.as_str())
            .bind(start)
            .bind(most)
            .fetch_all(&self.pool)
            .await?;
        let more = rows.len() > limit;
        let entries = rows.iter().take(limit).map(entry).collect::<Result<_, _>>()?;
        Ok(Page { entries, more })
    }

    async fn carry_out(&self, transaction: &Transaction) -> Result<Revision, Refused> {
        let mut open = self.pool.begin_with(statements(self.dialect).begin).await?;
        let raised = sqlx::query("UPDATE fnbridge_revision SET revision = revision + 1 RETURNING revision")
            .fetch_one(&mut *open)
            .await?;
        let revision = Revision(raised.try_get(0)?);
        for condition in &transaction.conditions {
            self.check(condition, &mut open).await?;
        }
        for write in &transaction.writes {
            self.write(write, revision, &mut open).await?;
        }
        let kinds: BTreeSet<&str> = transaction.writes.iter().map(|write| kind(write.key())).collect();
        for kind in &kinds {
            sqlx::query(
                "INSERT INTO fnbridge_kinds (kind, revision) VALUES ($1, $2) \
                 ON CONFLICT (kind) DO UPDATE SET revision = excluded.revision",
            )
            .bind(*kind)
            .bind(revision.0)
            .execute(&mut *open)
            .await?;
        }
        if self.dialect == Dialect::Postgres {
            sqlx::query("SELECT pg_notify('fnbridge', '')")
                .execute(&mut *open)
                .await?;
        }
        open.commit().await?;
        kinds.into_iter().for_each(|kind| self.changes.tell(kind, revision));
        Ok(revision)
    }

    async fn check(&self, condition: &Condition, connection: &mut AnyConnection) -> Result<(), Refused> {
        let (key, expected) = match condition {
            Condition::Absent(key) => (key, None),
            Condition::At(key, revision) => (key, Some(*revision)),
        };
        let row = sqlx::query(statements(self.dialect).get)
            .bind(key.as_str())
            .fetch_optional(connection)
            .await?;
        let found = row.map(|row| row.try_get(2).map(Revision)).transpose()?;
        if found == expected {
            return Ok(());
        }
        Err(Refused::Conflict {
            key: key.clone(),
            found,
        })
    }

    async fn write(
        &self,
        write: &Write,
        revision: Revision,
        connection: &mut AnyConnection,
    ) -> Result<(), sqlx::Error> {
        match write {
            Write::Put { key, value, lives } => {
                let lives_ms = lives.map_or(-1, |lives| i64::try_from(lives.as_millis()).unwrap_or(i64::MAX / 2));
                sqlx::query(statements(self.dialect).put)
                    .bind(key.as_str())
                    .bind(value.to_vec())
                    .bind(revision.0)
                    .bind(lives_ms)
                    .execute(connection)
                    .await?
            }
            Write::Delete { key } => {
                sqlx::query("DELETE FROM fnbridge_entries WHERE key = $1")
                    .bind(key.as_str())
                    .execute(connection)
                    .await?
            }
        };
        Ok(())
    }
}

impl Store for SqlStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Entry>, StoreError>> {
        async move {
            let statement = sqlx::query::<Any>(statements(self.dialect).get).bind(key);
            let row = in_time(statement.fetch_optional(self.pool().await?))
                .await?
                .map_err(away)?;
            row.as_ref().map(entry).transpose().map_err(away)
        }
        .boxed()
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        order: Order,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Page, StoreError>> {
        async move {
            self.pool().await?;
            in_time(self.page(prefix, order, after, limit)).await?.map_err(away)
        }
        .boxed()
    }

    fn commit(&self, transaction: Transaction) -> BoxFuture<'_, Result<Revision, CommitError>> {
        async move {
            self.pool().await?;
            match in_time(self.carry_out(&transaction)).await? {
                Ok(revision) => Ok(revision),
                Err(Refused::Conflict { key, found }) => Err(CommitError::Conflict { key, found }),
                Err(Refused::Failed(error)) => Err(CommitError::Store(away(error))),
            }
        }
        .boxed()
    }

    fn watch(&self, kind: &str) -> tokio::sync::watch::Receiver<Revision> {
        self.changes.watch(kind)
    }
}

impl Drop for SqlStore {
    fn drop(&mut self) {
        self.looking.abort();
        self.sweeping.abort();
    }
}

/// Why a transaction was rolled back.
enum Refused {
    Conflict { key: String, found: Option<Revision> },
    Failed(sqlx::Error),
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Refused {
        Refused::Failed(error)
    }
}

async fn sweep(pool: AnyPool, dialect: Dialect) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    loop {
        ticks.tick().await;
        // What was not removed is not seen, and is removed the next time.
        let _ = in_time(sqlx::query(statements(dialect).sweep).execute(&pool)).await;
    }
}

fn entry(row: &AnyRow) -> Result<Entry, sqlx::Error> {
    Ok(Entry {
        key: row.try_get(0)?,
        value: Bytes::from(row.try_get::<Vec<u8>, _>(1)?),
        revision: Revision(row.try_get(2)?),
    })
}

pub(super) async fn in_time<T>(call: impl Future<Output = T>) -> Result<T, StoreError> {
    let late = |_| StoreError::Away(format!("no answer within {} s", CALL_TIMEOUT.as_secs()));
    tokio::time::timeout(CALL_TIMEOUT, call).await.map_err(late)
}

/// The database's word. Those that sqlx makes of URLs hold no password, but say nothing either.
pub(super) fn away(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::PoolTimedOut => StoreError::Away(format!("no connection within {} s", CALL_TIMEOUT.as_secs())),
        other => StoreError::Away(other.to_string()),
    }
}

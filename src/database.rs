//! SQLite and PostgreSQL: which of them a URL names, and connections to it.

use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, Connection};

/// What the two databases have in different words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// A file, or memory.
    Sqlite,
    /// A server.
    Postgres,
}

/// The connections that one user of a database has.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// At most so many; a database in memory has one, and lives as long as it.
    pub connections: u32,
    /// How long one is waited for.
    pub patience: Duration,
}

/// Connections to `sqlite::memory:`, `sqlite://PATH` or `postgres://…`. None is opened before it is used. A file is made where it
/// is missing, its folder has to be there. Must be called within a Tokio runtime.
///
/// # Errors
/// What is wrong with the URL.
pub fn connections(url: &str, limits: Limits) -> Result<(Dialect, AnyPool), sqlx::Error> {
    sqlx::any::install_default_drivers();
    let dialect = match url.starts_with("sqlite:") {
        true => Dialect::Sqlite,
        false => Dialect::Postgres,
    };
    let in_memory = url == "sqlite::memory:";
    let whole = match dialect == Dialect::Sqlite && !in_memory {
        true => format!("{url}?mode=rwc"),
        false => url.to_owned(),
    };
    let mut options = AnyPoolOptions::new()
        .acquire_timeout(limits.patience)
        .max_connections(limits.connections);
    if in_memory {
        options = options.max_connections(1).idle_timeout(None).max_lifetime(None);
    }
    if dialect == Dialect::Sqlite && !in_memory {
        options = options.before_acquire(|connection, _| Box::pin(async move { Ok(is_sound(connection).await) }));
    }
    if dialect == Dialect::Sqlite {
        options = options.after_connect(|connection, _| {
            Box::pin(async move {
                for pragma in [
                    "PRAGMA journal_mode = WAL",
                    "PRAGMA synchronous = NORMAL",
                    "PRAGMA busy_timeout = 4000",
                ] {
                    sqlx::query(pragma).execute(&mut *connection).await?;
                }
                Ok(())
            })
        });
    }
    Ok((dialect, options.connect_lazy_with(AnyConnectOptions::from_str(&whole)?)))
}

/// Whether a transaction can be begun. SQLite ends one by itself where a write fails, as on a full disk; a connection that was not
/// told counts it as open from then on, and is no use any more.
async fn is_sound(connection: &mut AnyConnection) -> bool {
    match connection.begin_with("BEGIN").await {
        Ok(open) => open.rollback().await.is_ok(),
        Err(_) => false,
    }
}

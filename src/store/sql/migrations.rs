//! The tables, and how they come to be. Migrations go forward only.

use sqlx::{AnyPool, Row};

use super::away;
use crate::database::Dialect;
use crate::store::StoreError;

/// Each step is carried out once, in order; its number is its place, from 1.
const STEPS: &[&[Step]] = &[&[
    Step {
        sqlite: "CREATE TABLE fnbridge_entries \
                 (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision BIGINT NOT NULL, ends_ms BIGINT) WITHOUT ROWID",
        postgres: "CREATE TABLE fnbridge_entries \
                   (key TEXT COLLATE \"C\" PRIMARY KEY, value BYTEA NOT NULL, revision BIGINT NOT NULL, ends_ms BIGINT)",
    },
    Step::same("CREATE INDEX fnbridge_entries_end ON fnbridge_entries (ends_ms)"),
    Step::same("CREATE TABLE fnbridge_revision (only_row INTEGER PRIMARY KEY, revision BIGINT NOT NULL)"),
    Step::same("INSERT INTO fnbridge_revision (only_row, revision) VALUES (1, 0)"),
    Step::same("CREATE TABLE fnbridge_kinds (kind TEXT PRIMARY KEY, revision BIGINT NOT NULL)"),
]];

struct Step {
    sqlite: &'static str,
    postgres: &'static str,
}

impl Step {
    const fn same(statement: &'static str) -> Step {
        Step {
            sqlite: statement,
            postgres: statement,
        }
    }
}

/// Names the one lock under which workers that start together take turns.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7217001)";

/// Brings the tables to this version's shape.
///
/// # Errors
/// A store that a newer version has written; the database's own.
pub(super) async fn run(pool: &AnyPool, dialect: Dialect) -> Result<(), StoreError> {
    let found = steps(pool, dialect).await.map_err(away)?;
    let known = STEPS.len() as i64;
    if found > known {
        return Err(StoreError::Unusable(format!(
            "found its version {found}, expected at most {known}: a newer fnbridge has used it; run that version or a newer one"
        )));
    }
    Ok(())
}

async fn steps(pool: &AnyPool, dialect: Dialect) -> Result<i64, sqlx::Error> {
    let mut open = pool.begin_with(super::statements(dialect).begin).await?;
    if dialect == Dialect::Postgres {
        sqlx::query(LOCK).execute(&mut *open).await?;
    }
    sqlx::query("CREATE TABLE IF NOT EXISTS fnbridge_migrations (version BIGINT PRIMARY KEY)")
        .execute(&mut *open)
        .await?;
    let row = sqlx::query("SELECT COALESCE(MAX(version), 0) FROM fnbridge_migrations")
        .fetch_one(&mut *open)
        .await?;
    let found: i64 = row.try_get(0)?;
    for (step, version) in STEPS.iter().zip(1_i64..).filter(|(_, version)| *version > found) {
        for statement in *step {
            let text = match dialect {
                Dialect::Sqlite => statement.sqlite,
                Dialect::Postgres => statement.postgres,
            };
            sqlx::query(text).execute(&mut *open).await?;
        }
        sqlx::query("INSERT INTO fnbridge_migrations (version) VALUES ($1)")
            .bind(version)
            .execute(&mut *open)
            .await?;
    }
    open.commit().await?;
    Ok(found)
}

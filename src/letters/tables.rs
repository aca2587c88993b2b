//! The index's tables, in SQLite or PostgreSQL.

use sqlx::{AnyPool, AssertSqlSafe, Row};

use super::IndexError;
use crate::database::Dialect;
use crate::telemetry::WorkerTelemetry;

/// Tables of another version are made anew: the index is a cache.
const VERSION: i64 = 3;

/// `{row}` and `{key}` stand for what SQLite says otherwise.
const TABLES: [&str; 10] = [
    "CREATE TABLE fnbridge_letters ({row}topic TEXT NOT NULL, part BIGINT NOT NULL, off BIGINT NOT NULL, at_ms BIGINT NOT NULL, \
     bytes BIGINT NOT NULL, key_digest TEXT, pipeline TEXT NOT NULL, source_topic TEXT, source_part BIGINT, source_off BIGINT, \
     stage TEXT NOT NULL, status BIGINT, reason TEXT NOT NULL, fingerprint TEXT NOT NULL, attempts BIGINT, first_ms BIGINT, \
     last_ms BIGINT, redrives BIGINT NOT NULL, sink TEXT, is_foreign BIGINT NOT NULL, \
     mark TEXT NOT NULL, is_open BIGINT NOT NULL, job TEXT, result TEXT, {key} (topic, part, off))",
    "CREATE INDEX fnbridge_letters_time ON fnbridge_letters (is_open, at_ms, topic, part, off)",
    "CREATE INDEX fnbridge_letters_pipeline ON fnbridge_letters (pipeline, is_open, at_ms, topic, part, off)",
    "CREATE INDEX fnbridge_letters_group ON fnbridge_letters (fingerprint, is_open, at_ms, topic, part, off)",
    "CREATE INDEX fnbridge_letters_key ON fnbridge_letters (key_digest, is_open, at_ms, topic, part, off)",
    "CREATE INDEX fnbridge_letters_job ON fnbridge_letters (job, at_ms, topic, part, off) WHERE job IS NOT NULL",
    "CREATE TABLE fnbridge_letters_marks (topic TEXT NOT NULL, part BIGINT NOT NULL, off BIGINT NOT NULL, mark TEXT NOT NULL, \
     is_open BIGINT NOT NULL, job TEXT, result TEXT, at_ms BIGINT NOT NULL, PRIMARY KEY (topic, part, off))",
    "CREATE TABLE fnbridge_letters_groups (pipeline TEXT NOT NULL, fingerprint TEXT NOT NULL, stage TEXT NOT NULL, status BIGINT, \
     PRIMARY KEY (pipeline, fingerprint))",
    "CREATE TABLE fnbridge_letters_read (topic TEXT NOT NULL, part BIGINT NOT NULL, next_off BIGINT NOT NULL, \
     PRIMARY KEY (topic, part))",
    "CREATE TABLE fnbridge_letters_version (version BIGINT NOT NULL, born_ms BIGINT)",
];

const DROPPED: [&str; 5] = [
    "fnbridge_letters",
    "fnbridge_letters_marks",
    "fnbridge_letters_groups",
    "fnbridge_letters_read",
    "fnbridge_letters_version",
];

/// Every three letters of the reasons that follow one another. The letters themselves are looked at too, so that it is enough to
/// know in which reasons three letters are, and not where.
const SQLITE_REASONS: [&str; 4] = [
    "DROP TABLE IF EXISTS fnbridge_letters_reasons",
    "CREATE VIRTUAL TABLE fnbridge_letters_reasons USING fts5 (text, content = '', contentless_delete = 1, detail = none, \
     tokenize = 'trigram')",
    "CREATE TRIGGER fnbridge_letters_added AFTER INSERT ON fnbridge_letters BEGIN \
     INSERT INTO fnbridge_letters_reasons (rowid, text) VALUES (new.row_id, new.reason); END",
    "CREATE TRIGGER fnbridge_letters_removed AFTER DELETE ON fnbridge_letters BEGIN \
     DELETE FROM fnbridge_letters_reasons WHERE rowid = old.row_id; END",
];

/// Needs a right that not all have; without it, reasons are read one by one.
const POSTGRES_REASONS: [&str; 2] = [
    "CREATE EXTENSION IF NOT EXISTS pg_trgm",
    "CREATE INDEX IF NOT EXISTS fnbridge_letters_reason ON fnbridge_letters USING gin (lower(reason) gin_trgm_ops)",
];

/// What the tables can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tables {
    /// Whether reasons are found by the texts that are in them, without reading each.
    pub(super) finds_texts: bool,
}

/// The tables of this version; those of another are dropped.
pub(super) async fn make(pool: &AnyPool, dialect: Dialect) -> Result<Tables, IndexError> {
    let version = sqlx::query("SELECT version FROM fnbridge_letters_version")
        .fetch_optional(pool)
        .await;
    let is_there = match &version {
        Ok(Some(row)) => row.try_get::<i64, _>(0)? == VERSION,
        _ => false,
    };
    if !is_there {
        make_anew(pool, dialect).await?;
    }
    Ok(Tables {
        finds_texts: match dialect {
            Dialect::Sqlite => true,
            Dialect::Postgres => is_there_a_text_index(pool).await?,
        },
    })
}

/// Whether [`make_anew`] could make it.
async fn is_there_a_text_index(pool: &AnyPool) -> Result<bool, IndexError> {
    let row =
        sqlx::query("SELECT CAST(COUNT(*) AS BIGINT) FROM pg_indexes WHERE indexname = 'fnbridge_letters_reason'")
            .fetch_one(pool)
            .await?;
    Ok(row.try_get::<i64, _>(0)? > 0)
}

pub(super) async fn make_anew(pool: &AnyPool, dialect: Dialect) -> Result<(), IndexError> {
    let (text, row, key) = match dialect {
        Dialect::Sqlite => ("TEXT", "row_id INTEGER PRIMARY KEY, ", "UNIQUE"),
        // Texts are compared by their bytes, as they are here.
        Dialect::Postgres => ("TEXT COLLATE \"C\"", "", "PRIMARY KEY"),
    };
    let mut open = pool.begin().await?;
    for table in DROPPED {
        sqlx::query(AssertSqlSafe(format!("DROP TABLE IF EXISTS {table}")))
            .execute(&mut *open)
            .await?;
    }
    for table in TABLES {
        let table = table.replace(" TEXT", &format!(" {text}"));
        let table = table.replace("{row}", row).replace("{key}", key);
        sqlx::query(AssertSqlSafe(table)).execute(&mut *open).await?;
    }
    if dialect == Dialect::Sqlite {
        for table in SQLITE_REASONS {
            sqlx::query(table).execute(&mut *open).await?;
        }
    }
    sqlx::query("INSERT INTO fnbridge_letters_version (version) VALUES ($1)")
        .bind(VERSION)
        .execute(&mut *open)
        .await?;
    open.commit().await?;
    if dialect == Dialect::Postgres {
        for step in POSTGRES_REASONS {
            if let Err(error) = sqlx::query(step).execute(pool).await {
                WorkerTelemetry.warned(&format_args!(
                    "PostgreSQL's extension pg_trgm can't be used; where dead letters are looked for by a text, each reason is \
                     read: {error}"
                ));
                break;
            }
        }
    }
    Ok(())
}

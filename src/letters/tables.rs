//! The index's tables, in SQLite or PostgreSQL.

use sqlx::{AnyPool, AssertSqlSafe, Row};

use super::IndexError;

/// Tables of another version are made anew: the index is a cache.
const VERSION: i64 = 2;

const TABLES: [&str; 10] = [
    "CREATE TABLE fnbridge_letters (topic TEXT NOT NULL, part BIGINT NOT NULL, off BIGINT NOT NULL, at_ms BIGINT NOT NULL, \
     bytes BIGINT NOT NULL, key_digest TEXT, pipeline TEXT NOT NULL, source_topic TEXT, source_part BIGINT, source_off BIGINT, \
     stage TEXT NOT NULL, status BIGINT, reason TEXT NOT NULL, fingerprint TEXT NOT NULL, attempts BIGINT, first_ms BIGINT, \
     last_ms BIGINT, redrives BIGINT NOT NULL, sink TEXT, is_foreign BIGINT NOT NULL, \
     mark TEXT NOT NULL, is_open BIGINT NOT NULL, job TEXT, result TEXT, PRIMARY KEY (topic, part, off))",
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

/// The tables of this version; those of another are dropped.
pub(super) async fn make(pool: &AnyPool, text: &str) -> Result<(), IndexError> {
    let version = sqlx::query("SELECT version FROM fnbridge_letters_version")
        .fetch_optional(pool)
        .await;
    if let Ok(Some(row)) = &version
        && row.try_get::<i64, _>(0)? == VERSION
    {
        return Ok(());
    }
    make_anew(pool, text).await
}

pub(super) async fn make_anew(pool: &AnyPool, text: &str) -> Result<(), IndexError> {
    let mut open = pool.begin().await?;
    for table in DROPPED {
        sqlx::query(AssertSqlSafe(format!("DROP TABLE IF EXISTS {table}")))
            .execute(&mut *open)
            .await?;
    }
    for table in TABLES {
        let table = table.replace(" TEXT", &format!(" {text}"));
        sqlx::query(AssertSqlSafe(table)).execute(&mut *open).await?;
    }
    sqlx::query("INSERT INTO fnbridge_letters_version (version) VALUES ($1)")
        .bind(VERSION)
        .execute(&mut *open)
        .await?;
    Ok(open.commit().await?)
}

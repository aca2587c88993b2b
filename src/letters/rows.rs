//! Letters as rows, and statements with their values.

use std::collections::BTreeMap;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe, Row};

use super::filter::Bind;
use super::{Letter, Standing, Stands};
use crate::deadletter::Told;
use crate::delivery::record::TopicPartition;

pub(super) const COLUMNS: &str = "topic, part, off, at_ms, bytes, key_digest, pipeline, source_topic, source_part, source_off, stage, status, \
                       reason, fingerprint, attempts, first_ms, last_ms, redrives, sink, is_foreign, mark, is_open, job, result";
const COLUMN_COUNT: usize = 24;

pub(super) fn insertion(rows: usize) -> String {
    format!(
        "INSERT INTO fnbridge_letters ({COLUMNS}) VALUES {} ON CONFLICT (topic, part, off) DO NOTHING",
        values(rows, COLUMN_COUNT)
    )
}

/// `($1, $2), ($3, $4)` for two rows of two columns.
pub(super) fn values(rows: usize, columns: usize) -> String {
    let row = |n: usize| {
        let numbers: Vec<String> = (1..=columns)
            .map(|column| format!("${}", n * columns + column))
            .collect();
        format!("({})", numbers.join(", "))
    };
    (0..rows).map(row).collect::<Vec<String>>().join(", ")
}

/// The first and the last offset of each place.
pub(super) fn spans<'a>(
    offsets: impl Iterator<Item = (&'a TopicPartition, i64)>,
) -> BTreeMap<&'a TopicPartition, (i64, i64)> {
    let mut spans = BTreeMap::new();
    for (place, offset) in offsets {
        let (first, last) = spans.entry(place).or_insert((offset, offset));
        (*first, *last) = ((*first).min(offset), (*last).max(offset));
    }
    spans
}

pub(super) type Statement<'q> = Query<'q, Any, AnyArguments>;

pub(super) fn bound<'q>(statement: String, binds: &[Bind]) -> Statement<'q> {
    binds
        .iter()
        .fold(sqlx::query(AssertSqlSafe(statement)), |statement, bind| match bind {
            Bind::Text(text) => statement.bind(text.clone()),
            Bind::Number(number) => statement.bind(*number),
        })
}

pub(super) fn bind_letter<'q>(statement: Statement<'q>, letter: &Letter) -> Statement<'q> {
    let told = &letter.told;
    statement
        .bind(letter.place.topic.to_string())
        .bind(i64::from(letter.place.partition))
        .bind(letter.offset)
        .bind(letter.at_ms)
        .bind(i64::try_from(letter.bytes).unwrap_or(i64::MAX))
        .bind(letter.key.clone())
        .bind(told.pipeline.clone().unwrap_or_default())
        .bind(told.source.as_ref().map(|source| source.topic.to_string()))
        .bind(told.source.as_ref().map(|source| i64::from(source.partition)))
        .bind(told.offset)
        .bind(told.stage.clone())
        .bind(told.status.map(i64::from))
        .bind(told.reason.clone())
        .bind(told.fingerprint.clone())
        .bind(told.attempts.map(i64::from))
        .bind(told.first_failed_ms)
        .bind(told.last_failed_ms)
        .bind(i64::from(told.redrives))
        .bind(told.sink.clone())
        .bind(i64::from(told.foreign))
        .bind(letter.stands.standing.name())
        .bind(i64::from(letter.stands.standing.is_open()))
        .bind(letter.stands.job.clone())
        .bind(letter.stands.result.clone())
}

pub(super) fn letter(row: &AnyRow) -> Result<Letter, sqlx::Error> {
    let small = |column: usize| -> Result<Option<u32>, sqlx::Error> {
        let number: Option<i64> = row.try_get(column)?;
        Ok(number.and_then(|number| u32::try_from(number).ok()))
    };
    let source_topic: Option<String> = row.try_get(7)?;
    let source_part: Option<i64> = row.try_get(8)?;
    let pipeline: String = row.try_get(6)?;
    Ok(Letter {
        place: place(row.try_get(0)?, row.try_get(1)?),
        offset: row.try_get(2)?,
        at_ms: row.try_get(3)?,
        bytes: u64::try_from(row.try_get::<i64, _>(4)?).unwrap_or_default(),
        key: row.try_get(5)?,
        told: Told {
            pipeline: Some(pipeline).filter(|name| !name.is_empty()),
            source: source_topic.zip(source_part).map(|(topic, part)| place(topic, part)),
            offset: row.try_get(9)?,
            stage: row.try_get(10)?,
            status: small(11)?.and_then(|status| u16::try_from(status).ok()),
            reason: row.try_get(12)?,
            fingerprint: row.try_get(13)?,
            attempts: small(14)?,
            first_failed_ms: row.try_get(15)?,
            last_failed_ms: row.try_get(16)?,
            redrives: small(17)?.unwrap_or_default(),
            sink: row.try_get(18)?,
            foreign: row.try_get::<i64, _>(19)? != 0,
        },
        stands: Stands {
            standing: Standing::of(&row.try_get::<String, _>(20)?).unwrap_or_default(),
            job: row.try_get(22)?,
            result: row.try_get(23)?,
        },
    })
}

pub(super) fn place(topic: String, partition: i64) -> TopicPartition {
    TopicPartition {
        topic: topic.into(),
        partition: i32::try_from(partition).unwrap_or_default(),
    }
}

//! What was done about letters, as the index has it: the store keeps it, and the index shows it with its letters.

use std::collections::BTreeMap;

use sqlx::{Any, AssertSqlSafe, Row, Transaction};

use super::filter::Where;
use super::rows::{bound, place, spans, values};
use super::{Filter, Index, IndexError, Standing, Stands};
use crate::delivery::record::TopicPartition;
use crate::telemetry::Depth;

const ROWS_AT_ONCE: usize = 200;
/// What was done this long before a letter was given up was done about another letter, of a topic that had its name: workers'
/// clocks differ by less.
pub const CLOCKS_DIFFER_MS: i64 = 60_000;

/// What was done about a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// Its dead-letter partition.
    pub place: TopicPartition,
    /// Its offset there.
    pub offset: i64,
    /// How it stands now.
    pub stands: Stands,
    /// Since when, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// Letters of which the same can be said as to whether they may be redriven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// The pipeline that gave them up.
    pub pipeline: String,
    /// The stage.
    pub stage: String,
    /// The sink that refused them.
    pub sink: Option<String>,
    /// How often they were redriven.
    pub redrives: u32,
    /// Another tool wrote them.
    pub foreign: bool,
    /// They say where they came from.
    pub has_source: bool,
    /// How they stand.
    pub standing: Standing,
    /// How many they are.
    pub count: u64,
    /// Bytes of keys, values and headers.
    pub bytes: u64,
}

impl Index {
    /// Notes what was done about letters, whether they are here yet or not. Said again, it changes nothing.
    ///
    /// # Errors
    /// The database's.
    pub async fn mark(&self, marked: &[Marked]) -> Result<(), IndexError> {
        let mut open = self.pool().await?.begin().await?;
        for some in marked.chunks(ROWS_AT_ONCE) {
            let statement = format!(
                "INSERT INTO fnbridge_letters_marks (topic, part, off, mark, is_open, job, result, at_ms) VALUES {} ON CONFLICT \
                 (topic, part, off) DO UPDATE SET mark = excluded.mark, is_open = excluded.is_open, job = excluded.job, \
                 result = excluded.result, at_ms = excluded.at_ms",
                values(some.len(), 8)
            );
            let mut statement = sqlx::query(AssertSqlSafe(statement));
            for mark in some {
                statement = (statement.bind(mark.place.topic.to_string()))
                    .bind(i64::from(mark.place.partition))
                    .bind(mark.offset)
                    .bind(mark.stands.standing.name())
                    .bind(i64::from(mark.stands.standing.is_open()))
                    .bind(mark.stands.job.clone())
                    .bind(mark.stands.result.clone())
                    .bind(mark.at_ms);
            }
            statement.execute(&mut *open).await?;
        }
        for (place, (first, last)) in spans(marked.iter().map(|mark| (&mark.place, mark.offset))) {
            show(&mut open, place, first, last).await?;
        }
        Ok(open.commit().await?)
    }

    /// Counts letters by what decides whether they may be redriven.
    ///
    /// # Errors
    /// The database's.
    pub async fn tally(&self, filter: &Filter) -> Result<Vec<Tally>, IndexError> {
        let wanted = Where::of(filter);
        let statement = format!(
            "SELECT pipeline, stage, sink, redrives, is_foreign, CASE WHEN source_off IS NULL THEN 0 ELSE 1 END, mark, COUNT(*), \
             CAST(SUM(bytes) AS BIGINT) FROM fnbridge_letters{} GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 8 DESC, 1, 2, 3, 4, 7",
            wanted.text()
        );
        let rows = bound(statement, &wanted.binds).fetch_all(self.pool().await?).await?;
        let tally = |row: &sqlx::any::AnyRow| {
            Ok(Tally {
                pipeline: row.try_get(0)?,
                stage: row.try_get(1)?,
                sink: row.try_get(2)?,
                redrives: u32::try_from(row.try_get::<i64, _>(3)?).unwrap_or_default(),
                foreign: number(row, 4)? != 0,
                has_source: number(row, 5)? != 0,
                standing: Standing::of(&row.try_get::<String, _>(6)?).unwrap_or_default(),
                count: u64::try_from(row.try_get::<i64, _>(7)?).unwrap_or_default(),
                bytes: u64::try_from(row.try_get::<i64, _>(8)?).unwrap_or_default(),
            })
        };
        Ok(rows.iter().map(tally).collect::<Result<_, sqlx::Error>>()?)
    }

    /// The letters that somebody has to see to, by pipeline, stage and group.
    ///
    /// # Errors
    /// The database's.
    pub async fn open_letters(&self) -> Result<Vec<Depth>, IndexError> {
        let statement = "SELECT pipeline, stage, fingerprint, COUNT(*), MIN(at_ms) FROM fnbridge_letters WHERE is_open = 1 \
                         GROUP BY 1, 2, 3";
        let rows = sqlx::query(statement).fetch_all(self.pool().await?).await?;
        let depth = |row: &sqlx::any::AnyRow| {
            Ok(Depth {
                pipeline: row.try_get(0)?,
                stage: row.try_get(1)?,
                fingerprint: row.try_get(2)?,
                letters: u64::try_from(row.try_get::<i64, _>(3)?).unwrap_or_default(),
                oldest_ms: row.try_get(4)?,
            })
        };
        Ok(rows.iter().map(depth).collect::<Result<_, sqlx::Error>>()?)
    }

    /// The first and the last offset of the letters that are wanted, by place.
    ///
    /// # Errors
    /// The database's.
    pub async fn spans(&self, filter: &Filter) -> Result<BTreeMap<TopicPartition, (i64, i64)>, IndexError> {
        let wanted = Where::of(filter);
        let statement = format!(
            "SELECT topic, part, MIN(off), MAX(off) FROM fnbridge_letters{} GROUP BY 1, 2",
            wanted.text()
        );
        let rows = bound(statement, &wanted.binds).fetch_all(self.pool().await?).await?;
        let span = |row: &sqlx::any::AnyRow| {
            let at = place(row.try_get(0)?, row.try_get(1)?);
            Ok((at, (row.try_get(2)?, row.try_get(3)?)))
        };
        Ok(rows.iter().map(span).collect::<Result<_, sqlx::Error>>()?)
    }
}

/// A number that PostgreSQL gives as a smaller one.
fn number(row: &sqlx::any::AnyRow, column: usize) -> Result<i64, sqlx::Error> {
    row.try_get::<i64, _>(column)
        .or_else(|_| row.try_get::<i32, _>(column).map(i64::from))
}

/// Letters of a place from one offset to another show how they stand.
pub(super) async fn show(
    open: &mut Transaction<'_, Any>,
    place: &TopicPartition,
    first: i64,
    last: i64,
) -> Result<(), sqlx::Error> {
    let statement = format!(
        "UPDATE fnbridge_letters SET mark = m.mark, is_open = m.is_open, job = m.job, result = m.result \
         FROM fnbridge_letters_marks m WHERE fnbridge_letters.topic = $1 AND fnbridge_letters.part = $2 \
         AND fnbridge_letters.off BETWEEN $3 AND $4 AND m.topic = $1 AND m.part = $2 AND m.off = fnbridge_letters.off \
         AND m.at_ms + {CLOCKS_DIFFER_MS} >= fnbridge_letters.at_ms"
    );
    let bound = sqlx::query(AssertSqlSafe(statement))
        .bind(place.topic.to_string())
        .bind(i64::from(place.partition))
        .bind(first)
        .bind(last);
    bound.execute(&mut **open).await?;
    Ok(())
}

//! The index, in SQLite or PostgreSQL: one row a letter, and how far each topic was read.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::any::AnyRow;
use sqlx::{AnyPool, AssertSqlSafe, Row};
use tokio::sync::OnceCell;

use super::Letter;
use super::filter::{Filter, Newest};
use super::rows::{bind_letter, insertion, place, spans};
use super::tables::{Tables, make, make_anew};
use crate::database::{self, Dialect, Limits};
use crate::delivery::record::TopicPartition;

/// Rows in one statement: their values stay within what both databases take in one.
const ROWS_AT_ONCE: usize = 200;
const CONNECTIONS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the index did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// Its database is away, or can't be used.
    #[error("the index of dead letters can't be used: {0}")]
    Unusable(String),
    /// A part of a list was asked for that is none.
    #[error("found {0:?}, expected the last page's `next`")]
    NoCursor(String),
}

impl From<sqlx::Error> for IndexError {
    fn from(error: sqlx::Error) -> IndexError {
        IndexError::Unusable(error.to_string())
    }
}

/// The index.
#[derive(Debug)]
pub struct Index {
    pool: AnyPool,
    pub(super) dialect: Dialect,
    made: OnceCell<Tables>,
}

impl Index {
    /// Opens the index in this database: `sqlite::memory:`, `sqlite://PATH` or `postgres://…`. It is not spoken to before it
    /// is used. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn open(url: &str) -> Result<Index, IndexError> {
        let limits = Limits {
            connections: CONNECTIONS,
            patience: PATIENCE,
        };
        let (dialect, pool) = database::connections(url, limits)?;
        Ok(Index {
            pool,
            dialect,
            made: OnceCell::new(),
        })
    }

    /// The tables, once they have this version's shape.
    pub(super) async fn tables(&self) -> Result<&Tables, IndexError> {
        self.made.get_or_try_init(|| make(&self.pool, self.dialect)).await
    }

    pub(super) async fn pool(&self) -> Result<&AnyPool, IndexError> {
        self.tables().await?;
        Ok(&self.pool)
    }

    /// Says which store keeps what was done about the letters, by the time at which it was made, in milliseconds since the Unix
    /// epoch. What the index has from beside another store is dropped.
    ///
    /// # Errors
    /// The database's.
    pub async fn belongs_to(&self, born_ms: i64) -> Result<(), IndexError> {
        let pool = self.pool().await?;
        let row = sqlx::query("SELECT born_ms FROM fnbridge_letters_version")
            .fetch_one(pool)
            .await?;
        let before: Option<i64> = row.try_get(0)?;
        if before.is_some_and(|before| before != born_ms) {
            make_anew(pool, self.dialect).await?;
        }
        let noted = sqlx::query("UPDATE fnbridge_letters_version SET born_ms = $1").bind(born_ms);
        noted.execute(pool).await?;
        Ok(())
    }

    /// Adds letters, and notes how far their topics were read; both or neither. A letter that is there already stays. Returns the
    /// first letter of each group that a pipeline has not had before.
    ///
    /// # Errors
    /// The database's.
    pub async fn add<'a>(
        &self,
        letters: &'a [Letter],
        read: &BTreeMap<TopicPartition, i64>,
    ) -> Result<Vec<&'a Letter>, IndexError> {
        let mut open = self.pool().await?.begin().await?;
        for some in letters.chunks(ROWS_AT_ONCE) {
            let mut statement = sqlx::query(AssertSqlSafe(insertion(some.len())));
            for letter in some {
                statement = bind_letter(statement, letter);
            }
            statement.execute(&mut *open).await?;
        }
        for (place, (first, last)) in spans(letters.iter().map(|letter| (&letter.place, letter.offset))) {
            super::marks::show(&mut open, place, first, last).await?;
        }
        let mut groups: BTreeMap<(&str, &str), &Letter> = BTreeMap::new();
        for letter in letters {
            let pipeline = letter.told.pipeline.as_deref().unwrap_or_default();
            groups.entry((pipeline, &letter.told.fingerprint)).or_insert(letter);
        }
        let mut new = Vec::new();
        for ((pipeline, fingerprint), letter) in groups {
            let told = &letter.told;
            let noted = sqlx::query(
                "INSERT INTO fnbridge_letters_groups (pipeline, fingerprint, stage, status) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (pipeline, fingerprint) DO NOTHING",
            )
            .bind(pipeline.to_owned())
            .bind(fingerprint.to_owned())
            .bind(told.stage.clone())
            .bind(told.status.map(i64::from))
            .execute(&mut *open)
            .await?;
            if noted.rows_affected() > 0 {
                new.push(letter);
            }
        }
        for (place, next) in read {
            sqlx::query(
                "INSERT INTO fnbridge_letters_read (topic, part, next_off) VALUES ($1, $2, $3) \
                 ON CONFLICT (topic, part) DO UPDATE SET next_off = excluded.next_off",
            )
            .bind(place.topic.to_string())
            .bind(i64::from(place.partition))
            .bind(*next)
            .execute(&mut *open)
            .await?;
        }
        open.commit().await?;
        Ok(new)
    }

    /// How far each partition was read: the offset after the last.
    ///
    /// # Errors
    /// The database's.
    pub async fn read_up_to(&self) -> Result<BTreeMap<TopicPartition, i64>, IndexError> {
        let rows = sqlx::query("SELECT topic, part, next_off FROM fnbridge_letters_read")
            .fetch_all(self.pool().await?)
            .await?;
        let read = |row: &AnyRow| Ok((place(row.try_get(0)?, row.try_get(1)?), row.try_get(2)?));
        Ok(rows.iter().map(read).collect::<Result<_, sqlx::Error>>()?)
    }

    /// The records before this offset are gone from the log: retention removed them, or, with `None`, the topic was deleted or
    /// made anew.
    ///
    /// # Errors
    /// The database's.
    pub async fn forget(&self, place: &TopicPartition, before: Option<i64>) -> Result<(), IndexError> {
        let mut open = self.pool().await?.begin().await?;
        sqlx::query("DELETE FROM fnbridge_letters WHERE topic = $1 AND part = $2 AND off < $3")
            .bind(place.topic.to_string())
            .bind(i64::from(place.partition))
            .bind(before.unwrap_or(i64::MAX))
            .execute(&mut *open)
            .await?;
        for table in ["fnbridge_letters_read", "fnbridge_letters_marks"]
            .iter()
            .filter(|_| before.is_none())
        {
            sqlx::query(AssertSqlSafe(format!(
                "DELETE FROM {table} WHERE topic = $1 AND part = $2"
            )))
            .bind(place.topic.to_string())
            .bind(i64::from(place.partition))
            .execute(&mut *open)
            .await?;
        }
        Ok(open.commit().await?)
    }

    /// A letter, where the index has it.
    ///
    /// # Errors
    /// The database's.
    pub async fn get(&self, place: &TopicPartition, offset: i64) -> Result<Option<Letter>, IndexError> {
        let filter = Filter {
            topic: Some(place.topic.to_string()),
            partition: Some(place.partition),
            from_offset: Some(offset),
            to_offset: Some(offset),
            ..Filter::default()
        };
        Ok(self.list(&filter, Newest::First, None, 1).await?.letters.pop())
    }
}

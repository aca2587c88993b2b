//! The index's tables, in SQLite or PostgreSQL: one row a letter, and how far each topic was read.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyArguments, AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyPool, AssertSqlSafe, Row};
use tokio::sync::OnceCell;

use super::Letter;
use super::filter::{Bind, Filter, Newest, Where};
use crate::deadletter::Told;
use crate::delivery::record::TopicPartition;

/// Tables of another version are made anew: the index is a cache.
const VERSION: i64 = 1;
/// Rows in one statement: their values stay within what both databases take in one.
const ROWS_AT_ONCE: usize = 200;
const CONNECTIONS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(5);

const COLUMNS: &str = "topic, part, off, at_ms, bytes, key_digest, pipeline, source_topic, source_part, source_off, stage, status, \
                       reason, fingerprint, attempts, first_ms, last_ms, redrives, sink, is_foreign";
const COLUMN_COUNT: usize = 20;

const TABLES: [&str; 8] = [
    "CREATE TABLE fnbridge_letters (topic TEXT NOT NULL, part BIGINT NOT NULL, off BIGINT NOT NULL, at_ms BIGINT NOT NULL, \
     bytes BIGINT NOT NULL, key_digest TEXT, pipeline TEXT NOT NULL, source_topic TEXT, source_part BIGINT, source_off BIGINT, \
     stage TEXT NOT NULL, status BIGINT, reason TEXT NOT NULL, fingerprint TEXT NOT NULL, attempts BIGINT, first_ms BIGINT, \
     last_ms BIGINT, redrives BIGINT NOT NULL, sink TEXT, is_foreign BIGINT NOT NULL, PRIMARY KEY (topic, part, off))",
    "CREATE INDEX fnbridge_letters_time ON fnbridge_letters (at_ms, topic, part, off)",
    "CREATE INDEX fnbridge_letters_pipeline ON fnbridge_letters (pipeline, at_ms, topic, part, off)",
    "CREATE INDEX fnbridge_letters_group ON fnbridge_letters (fingerprint, at_ms, topic, part, off)",
    "CREATE INDEX fnbridge_letters_key ON fnbridge_letters (key_digest, at_ms, topic, part, off)",
    "CREATE TABLE fnbridge_letters_groups (fingerprint TEXT PRIMARY KEY, stage TEXT NOT NULL, status BIGINT)",
    "CREATE TABLE fnbridge_letters_read (topic TEXT NOT NULL, part BIGINT NOT NULL, next_off BIGINT NOT NULL, \
     PRIMARY KEY (topic, part))",
    "CREATE TABLE fnbridge_letters_version (version BIGINT NOT NULL)",
];

const DROPPED: [&str; 4] = [
    "fnbridge_letters",
    "fnbridge_letters_groups",
    "fnbridge_letters_read",
    "fnbridge_letters_version",
];

/// A list of so many groups at most is put together from theirs; more of them fill a page soon enough.
const MERGED_GROUPS: usize = 50;

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

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// In the order that was asked for.
    pub letters: Vec<Letter>,
    /// What the next part comes after; `None`: there is no more.
    pub next: Option<String>,
}

/// Letters that failed in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What they have in common.
    pub fingerprint: String,
    /// How many there are.
    pub count: u64,
    /// When the first was given up, in milliseconds since the Unix epoch.
    pub first_ms: i64,
    /// When the last was given up, in milliseconds since the Unix epoch.
    pub last_ms: i64,
    /// How many there were in each of as many equal parts of the time from the first letter of all groups to the last.
    pub histogram: Vec<u64>,
    /// The last one.
    pub sample: Letter,
}

/// The index.
#[derive(Debug)]
pub struct Index {
    pool: AnyPool,
    /// How a text's column is declared: texts are compared by their bytes, as they are here.
    text: &'static str,
    made: OnceCell<()>,
}

impl Index {
    /// Opens the index in this database: `sqlite::memory:`, `sqlite://PATH` or `postgres://…`. It is not spoken to before it
    /// is used. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn open(url: &str) -> Result<Index, IndexError> {
        sqlx::any::install_default_drivers();
        let in_memory = url == "sqlite::memory:";
        let whole = match url.starts_with("sqlite://") {
            true => format!("{url}?mode=rwc"),
            false => url.to_owned(),
        };
        let mut options = AnyPoolOptions::new().acquire_timeout(PATIENCE);
        options = match in_memory {
            // What is in memory lives as long as its one connection.
            true => options.max_connections(1).idle_timeout(None).max_lifetime(None),
            false => options.max_connections(CONNECTIONS),
        };
        if url.starts_with("sqlite:") {
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
        Ok(Index {
            pool: options.connect_lazy_with(AnyConnectOptions::from_str(&whole)?),
            text: match url.starts_with("postgres") {
                true => "TEXT COLLATE \"C\"",
                false => "TEXT",
            },
            made: OnceCell::new(),
        })
    }

    async fn pool(&self) -> Result<&AnyPool, IndexError> {
        self.made.get_or_try_init(|| make(&self.pool, self.text)).await?;
        Ok(&self.pool)
    }

    /// Adds letters, and notes how far their topics were read; both or neither. A letter that is there already stays.
    ///
    /// # Errors
    /// The database's.
    pub async fn add(&self, letters: &[Letter], read: &BTreeMap<TopicPartition, i64>) -> Result<(), IndexError> {
        let mut open = self.pool().await?.begin().await?;
        for some in letters.chunks(ROWS_AT_ONCE) {
            let mut statement = sqlx::query(AssertSqlSafe(insertion(some.len())));
            for letter in some {
                statement = bind_letter(statement, letter);
            }
            statement.execute(&mut *open).await?;
        }
        let groups: BTreeMap<&str, &Told> = (letters.iter())
            .map(|letter| (letter.told.fingerprint.as_str(), &letter.told))
            .collect();
        for (fingerprint, told) in groups {
            sqlx::query(
                "INSERT INTO fnbridge_letters_groups (fingerprint, stage, status) VALUES ($1, $2, $3) \
                 ON CONFLICT (fingerprint) DO NOTHING",
            )
            .bind(fingerprint.to_owned())
            .bind(told.stage.clone())
            .bind(told.status.map(i64::from))
            .execute(&mut *open)
            .await?;
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
        Ok(open.commit().await?)
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
        if before.is_none() {
            sqlx::query("DELETE FROM fnbridge_letters_read WHERE topic = $1 AND part = $2")
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

    /// Letters, from behind `after` on, which is an earlier part's `next`; at most `limit`.
    ///
    /// # Errors
    /// The database's; an `after` that is none.
    pub async fn list(
        &self,
        filter: &Filter,
        newest: Newest,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listed, IndexError> {
        let after = after.map(cursor).transpose()?;
        let mut letters = match self.few_groups(filter).await? {
            None => {
                self.first(filter, newest, after.as_ref(), limit.saturating_add(1))
                    .await?
            }
            Some(groups) => {
                let mut merged = Vec::new();
                for fingerprint in groups {
                    let own = Filter {
                        fingerprint: Some(fingerprint),
                        stage: None,
                        status: None,
                        ..filter.clone()
                    };
                    merged.extend(
                        self.first(&own, newest, after.as_ref(), limit.saturating_add(1))
                            .await?,
                    );
                }
                merged.sort_by_cached_key(|letter| (letter.at_ms, letter.place.clone(), letter.offset));
                if newest == Newest::First {
                    merged.reverse();
                }
                merged
            }
        };
        let more = letters.len() > limit;
        letters.truncate(limit);
        let next = letters.last().filter(|_| more);
        let next = next.map(|last| format!("{}/{}", last.at_ms, last.id()));
        Ok(Listed { letters, next })
    }

    /// Stage and status are a group's, so that groups tell where letters of a rare one are. `None`: they do not, or there are
    /// too many.
    async fn few_groups(&self, filter: &Filter) -> Result<Option<Vec<String>>, IndexError> {
        if filter.fingerprint.is_some() || (filter.stage.is_none() && filter.status.is_none()) {
            return Ok(None);
        }
        let wanted = Where::of(&Filter {
            stage: filter.stage.clone(),
            status: filter.status,
            ..Filter::default()
        });
        let most = MERGED_GROUPS + 1;
        let statement = format!(
            "SELECT fingerprint FROM fnbridge_letters_groups{} LIMIT {most}",
            wanted.text()
        );
        let rows = bound(statement, &wanted.binds).fetch_all(self.pool().await?).await?;
        if rows.len() > MERGED_GROUPS {
            return Ok(None);
        }
        let groups: Result<Vec<String>, sqlx::Error> = rows.iter().map(|row| row.try_get(0)).collect();
        Ok(Some(groups?))
    }

    /// The first letters from behind `after` on, at most `most`.
    async fn first(
        &self,
        filter: &Filter,
        newest: Newest,
        after: Option<&Cursor>,
        most: usize,
    ) -> Result<Vec<Letter>, IndexError> {
        let mut wanted = Where::of(filter);
        if let Some((at, place, offset)) = after {
            let numbers = [
                wanted.bind(Bind::Number(*at)),
                wanted.bind(Bind::Text(place.topic.to_string())),
                wanted.bind(Bind::Number(i64::from(place.partition))),
                wanted.bind(Bind::Number(*offset)),
            ];
            let beyond = if newest == Newest::First { "<" } else { ">" };
            wanted.push(format!("(at_ms, topic, part, off) {beyond} ({})", numbers.join(", ")));
        }
        let order = if newest == Newest::First { " DESC" } else { "" };
        let statement = format!(
            "SELECT {COLUMNS} FROM fnbridge_letters{} ORDER BY at_ms{order}, topic{order}, part{order}, off{order} LIMIT {most}",
            wanted.text()
        );
        let rows = bound(statement, &wanted.binds).fetch_all(self.pool().await?).await?;
        Ok(rows.iter().map(letter).collect::<Result<_, _>>()?)
    }

    /// Letters by fingerprint, the largest group first; at most `limit` groups, each with its letters over time in `buckets`
    /// parts.
    ///
    /// # Errors
    /// The database's.
    pub async fn groups(&self, filter: &Filter, buckets: usize, limit: usize) -> Result<Vec<Group>, IndexError> {
        let wanted = Where::of(filter);
        let pool = self.pool().await?;
        let statement = format!(
            "SELECT fingerprint, COUNT(*), MIN(at_ms), MAX(at_ms) FROM fnbridge_letters{} GROUP BY fingerprint \
             ORDER BY 2 DESC, 1 LIMIT {limit}",
            wanted.text()
        );
        let rows = bound(statement, &wanted.binds).fetch_all(pool).await?;
        let mut counted: Vec<(String, i64, i64, i64)> = Vec::with_capacity(rows.len());
        for row in &rows {
            counted.push((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?));
        }
        let first = counted.iter().map(|group| group.2).min().unwrap_or_default();
        let last = counted.iter().map(|group| group.3).max().unwrap_or_default();
        let width = (last - first) / i64::try_from(buckets).unwrap_or(i64::MAX).max(1) + 1;
        let mut histograms = self.histograms(filter, first, width, buckets).await?;
        let mut groups = Vec::with_capacity(counted.len());
        for (fingerprint, count, first_ms, last_ms) in counted {
            let own = Filter {
                fingerprint: Some(fingerprint.clone()),
                ..filter.clone()
            };
            // One that was forgotten since it was counted is no group any more.
            if let Some(sample) = self.list(&own, Newest::First, None, 1).await?.letters.pop() {
                groups.push(Group {
                    histogram: histograms.remove(&fingerprint).unwrap_or_else(|| vec![0; buckets]),
                    fingerprint,
                    count: u64::try_from(count).unwrap_or_default(),
                    first_ms,
                    last_ms,
                    sample,
                });
            }
        }
        Ok(groups)
    }

    async fn histograms(
        &self,
        filter: &Filter,
        first: i64,
        width: i64,
        buckets: usize,
    ) -> Result<BTreeMap<String, Vec<u64>>, IndexError> {
        let wanted = Where::of(filter);
        let statement = format!(
            "SELECT fingerprint, (at_ms - {first}) / {width}, COUNT(*) FROM fnbridge_letters{} GROUP BY 1, 2",
            wanted.text()
        );
        let rows = bound(statement, &wanted.binds).fetch_all(self.pool().await?).await?;
        let mut histograms: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for row in &rows {
            let (bucket, count): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
            let histogram = histograms.entry(row.try_get(0)?).or_insert_with(|| vec![0; buckets]);
            let bucket = usize::try_from(bucket).unwrap_or_default();
            if let Some(counted) = histogram.get_mut(bucket) {
                *counted = u64::try_from(count).unwrap_or_default();
            }
        }
        Ok(histograms)
    }
}

/// The tables of this version; those of another are dropped.
async fn make(pool: &AnyPool, text: &str) -> Result<(), IndexError> {
    let version = sqlx::query("SELECT version FROM fnbridge_letters_version")
        .fetch_optional(pool)
        .await;
    if let Ok(Some(row)) = &version
        && row.try_get::<i64, _>(0)? == VERSION
    {
        return Ok(());
    }
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

fn insertion(rows: usize) -> String {
    let row = |n: usize| {
        let numbers: Vec<String> = (1..=COLUMN_COUNT)
            .map(|column| format!("${}", n * COLUMN_COUNT + column))
            .collect();
        format!("({})", numbers.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!(
        "INSERT INTO fnbridge_letters ({COLUMNS}) VALUES {} ON CONFLICT (topic, part, off) DO NOTHING",
        rows.join(", ")
    )
}

type Statement<'q> = Query<'q, Any, AnyArguments>;

fn bound<'q>(statement: String, binds: &[Bind]) -> Statement<'q> {
    binds
        .iter()
        .fold(sqlx::query(AssertSqlSafe(statement)), |statement, bind| match bind {
            Bind::Text(text) => statement.bind(text.clone()),
            Bind::Number(number) => statement.bind(*number),
        })
}

fn bind_letter<'q>(statement: Statement<'q>, letter: &Letter) -> Statement<'q> {
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
}

fn letter(row: &AnyRow) -> Result<Letter, sqlx::Error> {
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
    })
}

fn place(topic: String, partition: i64) -> TopicPartition {
    TopicPartition {
        topic: topic.into(),
        partition: i32::try_from(partition).unwrap_or_default(),
    }
}

/// When a letter was given up, and where it stands.
type Cursor = (i64, TopicPartition, i64);

/// Reads `AT/TOPIC/PARTITION/OFFSET`.
fn cursor(text: &str) -> Result<Cursor, IndexError> {
    let read = || {
        let (at, id) = text.split_once('/')?;
        let (place, offset) = super::place_of(id)?;
        Some((at.parse().ok()?, place, offset))
    };
    read().ok_or_else(|| IndexError::NoCursor(text.to_owned()))
}

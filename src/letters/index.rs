//! The index, in SQLite or PostgreSQL: one row a letter, and how far each topic was read.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::{AnyPool, AssertSqlSafe, Row};
use tokio::sync::OnceCell;

use super::filter::{Bind, Filter, Newest, Where};
use super::rows::{COLUMNS, bind_letter, bound, insertion, letter, place, spans};
use super::tables::{make, make_anew};
use super::{Letter, Standing};
use crate::delivery::record::TopicPartition;

/// Rows in one statement: their values stay within what both databases take in one.
const ROWS_AT_ONCE: usize = 200;
const CONNECTIONS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(5);

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

    pub(super) async fn pool(&self) -> Result<&AnyPool, IndexError> {
        self.made.get_or_try_init(|| make(&self.pool, self.text)).await?;
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
            make_anew(pool, self.text).await?;
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
        let after = after.map(parsed).transpose()?;
        let most = limit.saturating_add(1);
        let parts = self.parts(filter).await?;
        let mut letters = Vec::new();
        for part in &parts {
            letters.extend(self.first(part, newest, after.as_ref(), most).await?);
        }
        if parts.len() > 1 {
            letters.sort_by_cached_key(|letter| (letter.at_ms, letter.place.clone(), letter.offset));
            if newest == Newest::First {
                letters.reverse();
            }
        }
        let more = letters.len() > limit;
        letters.truncate(limit);
        let next = letters.last().filter(|_| more);
        let next = next.map(cursor);
        Ok(Listed { letters, next })
    }

    /// Filters that together want the same letters, of which each is answered along an index: those that somebody has to see to
    /// stand apart from others, and a group's from other groups'.
    async fn parts(&self, filter: &Filter) -> Result<Vec<Filter>, IndexError> {
        let by_group = match self.few_groups(filter).await? {
            None => vec![filter.clone()],
            Some(groups) => (groups.into_iter())
                .map(|fingerprint| Filter {
                    fingerprint: Some(fingerprint),
                    stage: None,
                    status: None,
                    ..filter.clone()
                })
                .collect(),
        };
        if filter.open().is_some() {
            return Ok(by_group);
        }
        let wanted = match filter.standings.is_empty() {
            true => &Standing::ALL[..],
            false => &filter.standings[..],
        };
        let (open, seen_to): (Vec<Standing>, Vec<Standing>) = wanted.iter().partition(|standing| standing.is_open());
        let of_both = by_group.into_iter().flat_map(|part| {
            [open.clone(), seen_to.clone()].map(|standings| Filter {
                standings,
                ..part.clone()
            })
        });
        Ok(of_both.collect())
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
            "SELECT DISTINCT fingerprint FROM fnbridge_letters_groups{} LIMIT {most}",
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

/// What a part of a list comes after: a letter, by when it was given up and where it stands.
pub fn cursor(letter: &Letter) -> String {
    format!("{}/{}", letter.at_ms, letter.id())
}

/// When a letter was given up, and where it stands.
type Cursor = (i64, TopicPartition, i64);

/// Reads `AT/TOPIC/PARTITION/OFFSET`.
fn parsed(text: &str) -> Result<Cursor, IndexError> {
    let read = || {
        let (at, id) = text.split_once('/')?;
        let (place, offset) = super::place_of(id)?;
        Some((at.parse().ok()?, place, offset))
    };
    read().ok_or_else(|| IndexError::NoCursor(text.to_owned()))
}

//! How many records of dead letters' keys are done with, though they stand behind them: what a redrive sends comes after those.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sqlx::Row;
use utoipa::ToSchema;

use super::filter::{Filter, Where};
use super::rows::{bound, place};
use super::{Index, IndexError, Letter, key_digest};
use crate::delivery::record::TopicPartition;
use crate::kafka::{ClusterSettings, KafkaError, LogReader};

/// Letters whose keys are looked for, at most.
const MOST_LETTERS: usize = 100_000;
/// Source records that are looked at, at most.
const MOST_RECORDS: u64 = 100_000;
/// And for how long.
const PATIENCE: Duration = Duration::from_secs(3);
const AT_ONCE: usize = 5_000;
const WAIT: Duration = Duration::from_millis(200);

/// The source records that letters were, by partition and by the key's digest.
#[derive(Clone, Debug, Default)]
pub struct KeysOfLetters {
    offsets: BTreeMap<TopicPartition, HashMap<String, BTreeSet<i64>>>,
    /// There are more letters than are looked at.
    more: bool,
}

/// Source records of the letters' keys that stand behind them, and are done with: but for those that are among the letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Passed {
    /// How many of the letters' keys have such records.
    pub keys: u64,
    /// How many records these are.
    pub records: u64,
    /// How many source records were looked at.
    pub looked_at: u64,
    /// That was all of them up to the group's last commit, and for all letters.
    pub all: bool,
    /// Why nothing was looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_since: Option<String>,
}

impl KeysOfLetters {
    /// Of these letters.
    pub fn of(letters: &[Letter]) -> KeysOfLetters {
        let mut all = KeysOfLetters::default();
        for letter in letters {
            let told = &letter.told;
            if let (Some(key), Some(source), Some(offset)) = (&letter.key, &told.source, told.offset) {
                all.add(source.clone(), key.clone(), offset);
            }
        }
        all
    }

    fn add(&mut self, source: TopicPartition, key: String, offset: i64) {
        let keys = self.offsets.entry(source).or_default();
        keys.entry(key).or_default().insert(offset);
    }

    /// Where reading starts, in the partitions that have anything to read before what is committed.
    fn starts(&self, committed: &BTreeMap<TopicPartition, i64>) -> BTreeMap<TopicPartition, i64> {
        let starts = self.offsets.iter().filter_map(|(source, keys)| {
            let from = keys.values().filter_map(BTreeSet::first).min()? + 1;
            (from < *committed.get(source)?).then(|| (source.clone(), from))
        });
        starts.collect()
    }
}

impl Index {
    /// The source records of these letters, with their keys.
    ///
    /// # Errors
    /// The database's.
    pub async fn keys(&self, filter: &Filter) -> Result<KeysOfLetters, IndexError> {
        let mut wanted = Where::of(filter);
        for column in ["key_digest", "source_topic", "source_part", "source_off"] {
            wanted.push(format!("{column} IS NOT NULL"));
        }
        let statement = format!(
            "SELECT source_topic, source_part, key_digest, source_off FROM fnbridge_letters{} LIMIT {}",
            wanted.text(),
            MOST_LETTERS + 1
        );
        let rows = bound(statement, &wanted.binds).fetch_all(self.pool().await?).await?;
        let mut all = KeysOfLetters {
            more: rows.len() > MOST_LETTERS,
            ..KeysOfLetters::default()
        };
        for row in rows.iter().take(MOST_LETTERS) {
            let source = place(row.try_get(0)?, row.try_get(1)?);
            all.add(source, row.try_get(2)?, row.try_get(3)?);
        }
        Ok(all)
    }
}

/// Counts the records of these keys that lie behind the letters' own and before what the pipeline's group has committed.
/// Blocks.
///
/// # Errors
/// The cluster's own.
pub fn passed(
    cluster: &Arc<ClusterSettings>,
    keys: &KeysOfLetters,
    committed: &BTreeMap<TopicPartition, i64>,
) -> Result<Passed, KafkaError> {
    let mut reader = LogReader::open(cluster, "fnbridge-dead-letters")?;
    let mut left = keys.starts(committed);
    for (source, from) in &mut left {
        let (low, high) = reader.watermarks(source)?;
        *from = (*from).clamp(low, high.max(low));
    }
    left.retain(|source, from| *from < committed[source]);
    let mut found = Passed::default();
    let mut seen: HashMap<(TopicPartition, String), u64> = HashMap::new();
    let began = Instant::now();
    // One partition after another: the end of one is then nobody else's.
    while let Some((source, from)) = left.pop_first() {
        let (offsets, end) = (&keys.offsets[&source], committed[&source]);
        reader.read_from(&BTreeMap::from([(source.clone(), from)]))?;
        let mut is_read = false;
        while !is_read {
            if found.looked_at >= MOST_RECORDS || began.elapsed() >= PATIENCE {
                return Ok(counted(found, seen));
            }
            for record in reader.take(AT_ONCE, WAIT)? {
                is_read |= record.offset + 1 >= end;
                if record.offset >= end {
                    break;
                }
                found.looked_at += 1;
                let key = record.key.as_deref().map(key_digest);
                let stands_behind = |letters: &BTreeSet<i64>| {
                    letters.first().is_some_and(|first| *first < record.offset) && !letters.contains(&record.offset)
                };
                if let Some(key) = key.filter(|key| offsets.get(key).is_some_and(stands_behind)) {
                    *seen.entry((source.clone(), key)).or_default() += 1;
                }
            }
            is_read |= reader.ended().contains(&source.partition);
        }
    }
    found.all = !keys.more;
    Ok(counted(found, seen))
}

fn counted(found: Passed, seen: HashMap<(TopicPartition, String), u64>) -> Passed {
    Passed {
        keys: seen.len() as u64,
        records: seen.values().sum(),
        ..found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_starts_behind_the_first_letter_of_a_partition_and_only_where_more_is_committed() {
        let place = |partition| TopicPartition {
            topic: "orders".into(),
            partition,
        };
        let mut keys = KeysOfLetters::default();
        for (partition, key, offset) in [(0, "a", 7), (0, "a", 9), (0, "b", 8), (1, "a", 3), (2, "a", 1)] {
            keys.add(place(partition), key.to_owned(), offset);
        }
        let committed = BTreeMap::from([(place(0), 20), (place(1), 4)]);
        assert_eq!(keys.starts(&committed), BTreeMap::from([(place(0), 8)]));
    }
}

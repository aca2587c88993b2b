//! What was done about dead letters, in the store: some hundred neighbours under one key, so that a million letters are a few
//! thousand entries.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::control::registry::Difference;
use crate::delivery::record::TopicPartition;
use crate::letters::{CLOCKS_DIFFER_MS, Letter, Marked, Standing, Stands};
use crate::store::{
    CommitError, Condition, Entry, MAX_OPERATIONS, MAX_VALUE_BYTES, Store, StoreError, Transaction, Write,
};

/// Offsets that share a key.
const BLOCK: i64 = 512;
/// A change is told to whoever keeps an index for so long; whoever comes later reads everything.
const TOLD_FOR: Duration = Duration::from_secs(600);
/// Each takes two writes, and what belongs to them is written with the last.
const BLOCKS_AT_ONCE: usize = MAX_OPERATIONS / 2 - 5;

/// What was done about a letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// How it stands now.
    #[serde(rename = "m")]
    pub standing: Standing,
    /// Since when, in milliseconds since the Unix epoch.
    #[serde(rename = "t")]
    pub at_ms: i64,
    /// Who did it, or asked for it.
    #[serde(rename = "b")]
    pub by: String,
    /// The redrive that sent it.
    #[serde(rename = "j", default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// What became of it then.
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Why: who discards says so, and a letter that was given up again does.
    #[serde(rename = "w", default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Mark {
    /// How the letter stands.
    pub fn stands(&self) -> Stands {
        Stands {
            standing: self.standing,
            job: self.job.clone(),
            result: self.result.clone(),
        }
    }

    /// The mark, as an index takes it.
    pub fn marked(&self, place: &TopicPartition, offset: i64) -> Marked {
        Marked {
            place: place.clone(),
            offset,
            stands: self.stands(),
            at_ms: self.at_ms,
        }
    }
}

/// Marks of one partition, by offset.
pub type Block = BTreeMap<i64, Mark>;

/// The marks of a fleet.
#[derive(Clone, Debug)]
pub struct Marks {
    store: Arc<dyn Store>,
}

impl Marks {
    /// The marks in this store.
    pub fn new(store: Arc<dyn Store>) -> Marks {
        Marks { store }
    }

    /// When the store was made, in milliseconds since the Unix epoch: what was done about letters before that, nobody knows. A
    /// store that does not say is new, and says `now_ms` from now on.
    ///
    /// # Errors
    /// The store is away.
    pub async fn born_ms(&self, now_ms: i64) -> Result<i64, StoreError> {
        const KEY: &str = "letters-born";
        loop {
            if let Some(entry) = self.store.get(KEY).await? {
                return Ok(serde_json::from_slice(&entry.value).unwrap_or(now_ms));
            }
            let first = Transaction {
                conditions: vec![Condition::Absent(KEY.to_owned())],
                writes: vec![Write::put(KEY, now_ms.to_string())],
            };
            match self.store.commit(first).await {
                // Somebody else may have been first: what stands there holds.
                Ok(_) | Err(CommitError::Conflict { .. }) => {}
                Err(CommitError::Store(error)) => return Err(error),
            }
        }
    }

    /// The marks of letters of one partition.
    ///
    /// # Errors
    /// The store is away.
    pub async fn of(&self, place: &TopicPartition, offsets: RangeInclusive<i64>) -> Result<Block, StoreError> {
        let mut marks = Block::new();
        for block in offsets.start() / BLOCK..=offsets.end() / BLOCK {
            if let Some(entry) = self.store.get(&key("marks", place, block)).await? {
                marks.extend(
                    read(&entry.value)
                        .into_iter()
                        .filter(|(offset, _)| offsets.contains(offset)),
                );
            }
        }
        Ok(marks)
    }

    /// The mark of a letter.
    ///
    /// # Errors
    /// The store is away.
    pub async fn get(&self, place: &TopicPartition, offset: i64) -> Result<Option<Mark>, StoreError> {
        Ok(self.of(place, offset..=offset).await?.remove(&offset))
    }

    /// What an edited value changed.
    ///
    /// # Errors
    /// The store is away.
    pub async fn edit(&self, place: &TopicPartition, offset: i64) -> Result<Vec<Difference>, StoreError> {
        let entry = self.store.get(&edit_key(place, offset)).await?;
        Ok(entry
            .and_then(|entry| serde_json::from_slice(&entry.value).ok())
            .unwrap_or_default())
    }

    /// Keeps what an edited value changes, as far as the store takes it.
    ///
    /// # Errors
    /// The store is away.
    pub async fn keep_edit(
        &self,
        place: &TopicPartition,
        offset: i64,
        differences: &[Difference],
    ) -> Result<(), CommitError> {
        let mut kept = differences.to_vec();
        let value = loop {
            let value = serde_json::to_vec(&kept).expect("differences are JSON");
            if value.len() <= MAX_VALUE_BYTES {
                break value;
            }
            kept.truncate(kept.len() / 2);
        };
        let writes = vec![Write::put(edit_key(place, offset), value)];
        self.store
            .commit(Transaction {
                conditions: Vec::new(),
                writes,
            })
            .await?;
        Ok(())
    }

    /// Sets marks, and with the last of them makes other changes, under their conditions.
    ///
    /// # Errors
    /// One of those conditions does not hold; the store is away.
    pub async fn set(
        &self,
        marks: &BTreeMap<TopicPartition, Block>,
        besides: Transaction,
    ) -> Result<crate::store::Revision, CommitError> {
        let mut blocks: Vec<(&TopicPartition, i64, Block)> = Vec::new();
        for (place, marks) in marks {
            for (offset, mark) in marks {
                match blocks.last_mut() {
                    Some((at, block, same)) if *at == place && *block == offset / BLOCK => {
                        same.insert(*offset, mark.clone());
                    }
                    _ => blocks.push((place, offset / BLOCK, Block::from([(*offset, mark.clone())]))),
                }
            }
        }
        let last = blocks.len().saturating_sub(1) / BLOCKS_AT_ONCE * BLOCKS_AT_ONCE;
        for some in blocks[..last].chunks(BLOCKS_AT_ONCE) {
            self.set_blocks(some, Transaction::default()).await?;
        }
        self.set_blocks(&blocks[last..], besides).await
    }

    async fn set_blocks(
        &self,
        blocks: &[(&TopicPartition, i64, Block)],
        besides: Transaction,
    ) -> Result<crate::store::Revision, CommitError> {
        loop {
            let mut transaction = besides.clone();
            for (place, block, marks) in blocks {
                let key = key("marks", place, *block);
                let before = self.store.get(&key).await?;
                let mut all = before.as_ref().map(|entry| read(&entry.value)).unwrap_or_default();
                all.extend(marks.iter().map(|(offset, mark)| (*offset, mark.clone())));
                transaction.conditions.push(match before {
                    Some(entry) => Condition::At(key.clone(), entry.revision),
                    None => Condition::Absent(key.clone()),
                });
                let value = serde_json::to_vec(&all).expect("marks are JSON");
                transaction.writes.push(Write::put(key, value));
                transaction.writes.push(Write::Put {
                    key: self::key("marked", place, *block),
                    value: Bytes::new(),
                    lives: Some(TOLD_FOR),
                });
            }
            match self.store.commit(transaction).await {
                // Somebody marked their neighbours.
                Err(CommitError::Conflict { key, .. }) if key.starts_with("marks/") => {}
                outcome => return outcome,
            }
        }
    }

    /// Changes when marks are set, from now on.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<crate::store::Revision> {
        self.store.watch("marked")
    }

    /// All marks, some at a time, for an index.
    ///
    /// # Errors
    /// The store is away.
    pub async fn page(&self, after: Option<&str>) -> Result<(Vec<Marked>, Option<String>), StoreError> {
        const PAGE: usize = 20;
        let page = self
            .store
            .list("marks/", crate::store::Order::Ascending, after, PAGE)
            .await?;
        let marked = page.entries.iter().flat_map(marked_in).collect();
        let next = page.entries.last().filter(|_| page.more).map(|entry| entry.key.clone());
        Ok((marked, next))
    }

    /// What was marked since `since`, and how far that is.
    ///
    /// # Errors
    /// The store is away.
    pub async fn since(
        &self,
        since: crate::store::Revision,
    ) -> Result<(Vec<Marked>, crate::store::Revision), StoreError> {
        let (mut marked, mut seen) = (Vec::new(), since);
        for told in self.store.all("marked/").await? {
            if told.revision <= since {
                continue;
            }
            seen = seen.max(told.revision);
            let key = told.key.replacen("marked/", "marks/", 1);
            if let Some(entry) = self.store.get(&key).await? {
                marked.extend(marked_in(&entry));
            }
        }
        Ok((marked, seen))
    }
}

/// How a letter stands, by its mark, where the store was made at that time. A mark from long before the letter is another's.
pub fn stands(letter: &Letter, mark: Option<&Mark>, born_ms: i64) -> Stands {
    match mark.filter(|mark| mark.at_ms + CLOCKS_DIFFER_MS >= letter.at_ms) {
        Some(mark) => mark.stands(),
        None => Stands {
            standing: match letter.at_ms < born_ms {
                true => Standing::Unknown,
                false => Standing::Open,
            },
            ..Stands::default()
        },
    }
}

fn edit_key(place: &TopicPartition, offset: i64) -> String {
    format!("edits/{place}/{offset}")
}

fn key(kind: &str, place: &TopicPartition, block: i64) -> String {
    format!("{kind}/{}/{:06}/{block:016}", place.topic, place.partition)
}

/// What can't be read was written by a later version, and is not this one's to change: it is left out.
fn read(value: &[u8]) -> Block {
    serde_json::from_slice(value).unwrap_or_default()
}

fn marked_in(entry: &Entry) -> Vec<Marked> {
    let mut parts = entry.key.split('/').skip(1);
    let (Some(topic), Some(Ok(partition))) = (parts.next(), parts.next().map(str::parse)) else {
        return Vec::new();
    };
    let place = TopicPartition {
        topic: topic.into(),
        partition,
    };
    let marks = read(&entry.value);
    marks
        .iter()
        .map(|(offset, mark)| mark.marked(&place, *offset))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(partition: i32) -> TopicPartition {
        TopicPartition {
            topic: "orders.dead-letter".into(),
            partition,
        }
    }

    fn mark(standing: Standing) -> Mark {
        Mark {
            standing,
            at_ms: 7,
            by: "ann".to_owned(),
            job: None,
            result: None,
            why: None,
        }
    }

    #[tokio::test]
    async fn marks_are_found_again_by_their_places_and_told_to_who_keeps_an_index() {
        let marks = Marks::new(crate::store::open("sqlite::memory:").unwrap());
        let all: Block = (0..2_000).map(|n| (n * 40, mark(Standing::Redriven))).collect();
        let many = BTreeMap::from([
            (place(0), all.clone()),
            (place(1), Block::from([(3, mark(Standing::Discarded))])),
        ]);
        let first = marks.set(&many, Transaction::default()).await.unwrap();
        assert_eq!(marks.of(&place(0), 0..=80_000).await.unwrap(), all);
        assert_eq!(marks.of(&place(0), 41..=120).await.unwrap().len(), 2);
        assert_eq!(
            marks.get(&place(1), 3).await.unwrap().unwrap().standing,
            Standing::Discarded
        );
        assert_eq!(marks.get(&place(1), 4).await.unwrap(), None);

        let (mut paged, mut after) = (0, None);
        loop {
            let (some, next) = marks.page(after.as_deref()).await.unwrap();
            paged += some.len();
            after = next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(paged, 2_001);

        let again = BTreeMap::from([(place(1), Block::from([(5, mark(Standing::Edited))]))]);
        marks.set(&again, Transaction::default()).await.unwrap();
        let (since, _) = marks.since(first).await.unwrap();
        assert_eq!(
            since.iter().map(|marked| marked.offset).collect::<Vec<_>>(),
            [3, 5],
            "the block that changed"
        );
    }

    #[tokio::test]
    async fn marks_and_what_is_written_with_them_are_kept_together_or_not_at_all() {
        let store = crate::store::open("sqlite::memory:").unwrap();
        let marks = Marks::new(store.clone());
        let one = BTreeMap::from([(place(0), Block::from([(3, mark(Standing::Redriven))]))]);
        let besides = Transaction {
            conditions: vec![Condition::At("job".to_owned(), crate::store::Revision(99))],
            writes: vec![Write::put("job", "far")],
        };
        assert!(matches!(marks.set(&one, besides).await, Err(CommitError::Conflict { key, .. }) if key == "job"));
        assert_eq!(marks.get(&place(0), 3).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_store_says_since_when_it_knows() {
        let marks = Marks::new(crate::store::open("sqlite::memory:").unwrap());
        assert_eq!(marks.born_ms(40).await.unwrap(), 40);
        assert_eq!(marks.born_ms(50).await.unwrap(), 40);
    }
}

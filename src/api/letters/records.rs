//! Letters with their records, read from their topics a few at a time.

use std::collections::{BTreeMap, VecDeque};

use super::index;
use super::shown::blocking;
use crate::api::App;
use crate::api::problem::{Kind as Problems, Problem};
use crate::delivery::record::Record;
use crate::kafka::{KafkaError, Kind, LogReader};
use crate::letters::{Filter, Letter, Newest, fetch};

const PAGE: usize = 2_000;
/// Records that are held at once come to so many bytes, or are one.
const MAX_BYTES: u64 = 8 << 20;

/// Letters with their records, one part after the other.
pub(super) struct Records {
    app: App,
    filter: Filter,
    newest: Newest,
    after: Option<String>,
    has_more: bool,
    /// Letters of the last page that are left.
    letters: VecDeque<Letter>,
    /// A client for each topic.
    readers: BTreeMap<String, LogReader>,
}

/// A letter, and its record where it is still in its topic.
pub(super) type WithRecord = (Letter, Option<Record>);

impl Records {
    pub(super) fn new(app: App, filter: Filter, newest: Newest, after: Option<String>) -> Records {
        Records {
            app,
            filter,
            newest,
            after,
            has_more: true,
            letters: VecDeque::new(),
            readers: BTreeMap::new(),
        }
    }

    /// The next part; none: that was all.
    ///
    /// # Errors
    /// What is in the way.
    pub(super) async fn next(&mut self) -> Result<Vec<WithRecord>, Problem> {
        while self.letters.is_empty() && self.has_more {
            let index = index(&self.app).await?;
            let page = index
                .list(&self.filter, self.newest, self.after.as_deref(), PAGE)
                .await?;
            self.letters.extend(page.letters);
            self.has_more = page.next.is_some();
            self.after = page.next;
        }
        let mut letters = Vec::new();
        let mut bytes = 0;
        while (self.letters.front()).is_some_and(|next| bytes == 0 || bytes + next.bytes <= MAX_BYTES) {
            let Some(letter) = self.letters.pop_front() else { break };
            bytes += letter.bytes.max(1);
            letters.push(letter);
        }
        let mut records =
            (self.fetch(&letters).await).map_err(|error| Problem::new(Problems::ClusterAway, error.to_string()))?;
        let with_record = |letter: Letter| {
            let record = records.remove(&letter.id());
            (letter, record)
        };
        Ok(letters.into_iter().map(with_record).collect())
    }

    async fn fetch(&mut self, letters: &[Letter]) -> Result<BTreeMap<String, Record>, KafkaError> {
        let mut by_topic: BTreeMap<String, Vec<(i32, i64)>> = BTreeMap::new();
        for letter in letters {
            let places = by_topic.entry(letter.place.topic.to_string()).or_default();
            places.push((letter.place.partition, letter.offset));
        }
        let mut records = BTreeMap::new();
        for (topic, places) in by_topic {
            let mut reader = self.reader(&topic).await?;
            let name = topic.clone();
            let read = move || {
                let found = fetch(&mut reader, &name, places.into_iter())?;
                Ok((reader, found))
            };
            let (reader, found) = blocking(read).await?;
            self.readers.insert(topic, reader);
            records.extend(found.into_values().map(|record| (record.id().to_string(), record)));
        }
        Ok(records)
    }

    async fn reader(&mut self, topic: &str) -> Result<LogReader, KafkaError> {
        if let Some(reader) = self.readers.remove(topic) {
            return Ok(reader);
        }
        let clusters = self.app.fleet.clusters_with(topic).await;
        let clusters = clusters.map_err(|error| KafkaError::new(Kind::Other, error.to_string()))?;
        let Some(cluster) = clusters.into_iter().next() else {
            let text = format!("no pipeline has the dead-letter topic `{topic}` any more");
            return Err(KafkaError::new(Kind::Missing, text));
        };
        blocking(move || LogReader::open(&cluster, "fnbridge-dead-letters")).await
    }
}

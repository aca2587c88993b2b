//! Letters by what went wrong.

use std::collections::BTreeMap;

use sqlx::Row;

use super::filter::{Filter, Newest, Where};
use super::rows::bound;
use super::{Index, IndexError, Letter};

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

impl Index {
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

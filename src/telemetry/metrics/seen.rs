//! What a scrape sees: a pipeline and its partitions at one moment.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::state::{PipelineState, Published};
use crate::delivery::event::{Oldest, PartitionView, Usage};

/// A pipeline at the moment of a scrape.
pub(crate) struct Seen {
    pub(crate) state: Arc<PipelineState>,
    pub(crate) published: Option<Arc<Published>>,
    pub(crate) now: Instant,
    pub(crate) now_unix_ms: i64,
}

/// A partition that is held, at the moment of a scrape.
pub(crate) struct Held<'a> {
    pub(crate) view: &'a PartitionView,
    /// The offset after the log's last record, once it is known.
    pub(crate) high_watermark: Option<i64>,
    /// Since when the committed offset is behind the end of the log.
    pub(crate) behind_since: Option<Instant>,
}

impl Seen {
    pub(crate) fn new(state: Arc<PipelineState>) -> Seen {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Seen {
            published: state.published(),
            state,
            now: Instant::now(),
            now_unix_ms: i64::try_from(unix.as_millis()).unwrap_or(i64::MAX),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.state.name
    }

    /// The partitions that were held when the pipeline last published how it looks.
    pub(crate) fn held(&self) -> Vec<Held<'_>> {
        let partitions = self.published.iter().flat_map(|p| &p.view.partitions);
        partitions
            .map(|view| {
                let state = self.state.partition_of(&view.source);
                Held {
                    view,
                    high_watermark: state.as_ref().and_then(|s| s.high_watermark()),
                    behind_since: state.as_ref().and_then(|s| s.behind_since()),
                }
            })
            .collect()
    }

    /// What the pipeline used of its limits when it last published how it looks.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.published.as_ref().map(|published| published.view.usage)
    }

    /// How long the partition's oldest unsettled record has been here, in seconds; 0 where there is none.
    pub(crate) fn oldest_age_seconds(&self, held: &Held<'_>) -> f64 {
        held.view
            .oldest_unsettled
            .map_or(0.0, |oldest| self.here_for_seconds(oldest))
    }

    /// The age of the partition's oldest unsettled record by its own timestamp, in seconds. Where the log has more and
    /// none of it has arrived, how long that has been so; 0 where all is settled.
    pub(crate) fn lag_seconds(&self, held: &Held<'_>) -> f64 {
        match held.view.oldest_unsettled {
            Some(oldest) => self.age_seconds(oldest),
            None => held
                .behind_since
                .map_or(0.0, |since| self.now.saturating_duration_since(since).as_secs_f64()),
        }
    }

    /// The age of the partition's oldest record that no call has carried yet and none carries now, in seconds. Where the log has
    /// more and none of it has arrived, how long that has been so; 0 where all is with the function, or done with.
    pub(crate) fn undispatched_seconds(&self, held: &Held<'_>) -> f64 {
        match held.view.oldest_waiting {
            Some(oldest) => self.age_seconds(oldest),
            None if held.view.unsettled == 0 && held.undispatched_records() > 0 => self.lag_seconds(held),
            None => 0.0,
        }
    }

    /// By its own timestamp, where it has one.
    fn age_seconds(&self, oldest: Oldest) -> f64 {
        match oldest.timestamp_ms {
            Some(stamped) if stamped >= 0 => self.now_unix_ms.saturating_sub(stamped).max(0) as f64 / 1000.0,
            _ => self.here_for_seconds(oldest),
        }
    }

    fn here_for_seconds(&self, oldest: Oldest) -> f64 {
        let Some(published) = &self.published else { return 0.0 };
        let then = (published.at - oldest.arrived).0 as f64 / 1000.0;
        then + self.now.duration_since(published.taken).as_secs_f64()
    }
}

impl Held<'_> {
    /// Offsets between the committed one and the end of the log, once the end is known. What was read is in the log,
    /// whenever its end was last told.
    pub(crate) fn lag_records(&self) -> Option<i64> {
        let high = self.high_watermark?.max(self.view.position);
        Some((high - self.view.committed).max(0))
    }

    /// Records that wait for a call, here and, as far as the end of the log is known, in the log. Offsets that hold no record
    /// count as well: nobody can tell them before they are read.
    pub(crate) fn undispatched_records(&self) -> u64 {
        let behind = self.high_watermark.map_or(0, |high| (high - self.view.position).max(0));
        behind.unsigned_abs() + self.view.waiting as u64
    }
}

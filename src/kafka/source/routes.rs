//! From a record in the library's memory to the batch of its assignment, without a look at names for each record.

use std::collections::HashMap;
use std::sync::Arc;

use super::events::SourceEvent;
use super::native::RawRecord;
use crate::delivery::event::Assignment;
use crate::delivery::group::Desk;
use crate::delivery::record::{Record, TopicPartition};

/// The batches that are being filled. To be [cleared](Routes::clear) whenever the desk changes.
#[derive(Default)]
pub(super) struct Routes {
    by_key: HashMap<(usize, i32), usize>,
    routes: Vec<Route>,
    /// Records of one partition follow each other.
    last: Option<((usize, i32), usize)>,
}

struct Route {
    /// `None`: not held, or not read any more.
    to: Option<(Assignment, TopicPartition)>,
    generation: u32,
    /// The next offset that can come; anything before it has been here.
    next: i64,
    records: Vec<Arc<Record>>,
}

impl Routes {
    /// Copies a record into its batch; the bytes that it counts for, or 0 where nobody wants it.
    pub(super) fn add(&mut self, raw: &RawRecord<'_>, desk: &Desk) -> usize {
        let key = (raw.topic_key(), raw.partition());
        let index = match self.last {
            Some((last, index)) if last == key => index,
            _ => self.find(key, raw, desk),
        };
        let route = &mut self.routes[index];
        let Some((_, source)) = route.to.as_ref().filter(|_| raw.offset() >= route.next) else {
            return 0;
        };
        let record = raw.copy(source.clone(), route.generation);
        route.next = record.offset + 1;
        let bytes = record.weight_bytes();
        route.records.push(Arc::new(record));
        bytes
    }

    fn find(&mut self, key: (usize, i32), raw: &RawRecord<'_>, desk: &Desk) -> usize {
        let routes = &mut self.routes;
        let index = *self.by_key.entry(key).or_insert_with(|| {
            let slot = desk.at(&(raw.topic(), key.1)).filter(|s| !s.draining);
            routes.push(Route {
                to: slot.map(|s| (s.assignment, s.source.clone())),
                generation: slot.map_or(0, |s| s.generation),
                next: slot.map_or(0, |s| s.position),
                records: Vec::new(),
            });
            routes.len() - 1
        });
        self.last = Some((key, index));
        index
    }

    /// The batches as events; the desk is told how far each partition is.
    pub(super) fn flush(&mut self, desk: &mut Desk, events: &mut Vec<SourceEvent>) -> bool {
        let before = events.len();
        for route in &mut self.routes {
            let Some((assignment, _)) = route.to else { continue };
            if route.records.is_empty() {
                continue;
            }
            if let Some(slot) = desk.get_mut(assignment) {
                slot.position = route.next;
            }
            let records = std::mem::take(&mut route.records);
            events.push(SourceEvent::Records { assignment, records });
        }
        events.len() > before
    }

    /// Forgets where records go: the desk has changed, and batches were flushed before.
    pub(super) fn clear(&mut self) {
        debug_assert!(
            self.routes.iter().all(|r| r.records.is_empty()),
            "batches are flushed before the desk changes"
        );
        self.by_key.clear();
        self.routes.clear();
        self.last = None;
    }
}

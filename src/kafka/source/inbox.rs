//! The hand-over from the poll thread to whoever runs the pipeline: in order, in batches, bounded in bytes.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::events::SourceEvent;

/// Bytes of records that are received at once: what has to be done with them takes its time, and others share the thread.
const RECEIVED_AT_ONCE_BYTES: usize = 512 << 10;

/// The receiving end: a source's events, in order.
pub struct SourceEvents {
    inbox: Arc<Inbox>,
}

/// What both ends share.
pub(super) struct Inbox {
    state: Mutex<State>,
    arrived: Notify,
    taken: Condvar,
    limit_bytes: usize,
}

#[derive(Default)]
struct State {
    events: VecDeque<SourceEvent>,
    bytes: usize,
    /// Nothing follows.
    ended: bool,
    /// Nobody receives.
    deserted: bool,
}

impl SourceEvents {
    /// Events that wait, at least one and as many as are received at once, added to `events`. False: the source has ended,
    /// and nothing follows.
    pub async fn recv_many(&mut self, events: &mut Vec<SourceEvent>) -> bool {
        loop {
            // Registered before looking, so that an event between the two is not slept over.
            let arrived = self.inbox.arrived.notified();
            if let Some(more) = self.inbox.take(events) {
                return more;
            }
            arrived.await;
        }
    }
}

impl SourceEvents {
    /// Events that wait now, if any, added to `events` as by [`recv_many`](Self::recv_many), which also tells of the end.
    pub fn recv_now(&mut self, events: &mut Vec<SourceEvent>) {
        self.inbox.take(events);
    }
}

impl Drop for SourceEvents {
    fn drop(&mut self) {
        let mut state = self.inbox.lock();
        state.deserted = true;
        state.events.clear();
        state.bytes = 0;
        drop(state);
        self.inbox.taken.notify_all();
    }
}

impl Inbox {
    pub(super) fn new(limit_bytes: usize) -> (Arc<Inbox>, SourceEvents) {
        let inbox = Arc::new(Inbox {
            state: Mutex::new(State::default()),
            arrived: Notify::new(),
            taken: Condvar::new(),
            limit_bytes,
        });
        let events = SourceEvents {
            inbox: Arc::clone(&inbox),
        };
        (inbox, events)
    }

    /// Hands events over. It never waits and never refuses: whoever fetches looks at [`has_room`](Self::has_room) first.
    pub(super) fn put(&self, events: &mut Vec<SourceEvent>) {
        if events.is_empty() {
            return;
        }
        let bytes: usize = events.iter().map(SourceEvent::weight_bytes).sum();
        let mut state = self.lock();
        if state.deserted {
            events.clear();
            return;
        }
        state.bytes += bytes;
        state.events.extend(events.drain(..));
        drop(state);
        self.arrived.notify_one();
    }

    /// Nothing follows.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.arrived.notify_one();
    }

    /// Whether more records may be fetched.
    pub(super) fn has_room(&self) -> bool {
        self.lock().bytes < self.limit_bytes
    }

    /// Whether so much was received that fetching is worth resuming.
    pub(super) fn is_half_empty(&self) -> bool {
        self.lock().bytes <= self.limit_bytes / 2
    }

    /// Waits for room, not for long. True: there is room.
    pub(super) fn wait_for_room(&self, patience: Duration) -> bool {
        let state = self.lock();
        let (state, _) = (self.taken)
            .wait_timeout_while(state, patience, |s| s.bytes >= self.limit_bytes && !s.deserted)
            .unwrap_or_else(PoisonError::into_inner);
        state.bytes < self.limit_bytes
    }

    /// Nobody receives any more.
    pub(super) fn deserted(&self) -> bool {
        self.lock().deserted
    }

    /// `None`: nothing waits. False: nothing follows.
    fn take(&self, into: &mut Vec<SourceEvent>) -> Option<bool> {
        let mut state = self.lock();
        if state.events.is_empty() {
            return state.ended.then_some(false);
        }
        let mut taken = 0;
        while taken < RECEIVED_AT_ONCE_BYTES
            && let Some(event) = state.events.pop_front()
        {
            taken += event.weight_bytes();
            into.push(event);
        }
        state.bytes -= taken;
        drop(state);
        self.taken.notify_all();
        Some(true)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::event::Assignment;
    use crate::delivery::group::GroupEvent;
    use crate::delivery::record::{Record, TopicPartition};

    fn records(offset: i64) -> SourceEvent {
        let record = Record {
            source: TopicPartition {
                topic: "orders".into(),
                partition: 0,
            },
            offset,
            generation: 0,
            timestamp_ms: 0,
            key: None,
            value: Some(bytes::Bytes::from(vec![0; 1000])),
            headers: Vec::new(),
        };
        SourceEvent::Records {
            assignment: Assignment(1),
            records: vec![Arc::new(record)],
        }
    }

    #[tokio::test]
    async fn events_come_out_in_the_order_they_went_in_and_then_it_ends() {
        let (inbox, mut events) = Inbox::new(10_000);
        inbox.put(&mut vec![
            records(1),
            SourceEvent::Group(GroupEvent::Revoked(vec![Assignment(1)])),
        ]);
        inbox.put(&mut vec![records(2)]);
        inbox.end();
        let mut seen = Vec::new();
        assert!(events.recv_many(&mut seen).await);
        assert!(matches!(
            seen.as_slice(),
            [
                SourceEvent::Records { .. },
                SourceEvent::Group(GroupEvent::Revoked(_)),
                SourceEvent::Records { .. }
            ]
        ));
        assert!(!events.recv_many(&mut seen).await);
    }

    #[tokio::test]
    async fn a_full_inbox_has_room_again_once_its_events_are_received() {
        let (inbox, mut events) = Inbox::new(2000);
        inbox.put(&mut vec![records(1)]);
        assert!(inbox.has_room());
        inbox.put(&mut vec![records(2)]);
        assert!(!inbox.has_room());
        assert!(!inbox.wait_for_room(Duration::ZERO));
        events.recv_many(&mut Vec::new()).await;
        assert!(inbox.has_room() && inbox.is_half_empty());
    }

    #[tokio::test]
    async fn much_is_received_in_pieces_and_nothing_is_left_behind() {
        let (inbox, mut events) = Inbox::new(10 << 20);
        inbox.put(&mut (0..2_000).map(records).collect());
        inbox.end();
        let (mut seen, mut most) = (Vec::new(), 0);
        loop {
            let before = seen.len();
            if !events.recv_many(&mut seen).await {
                break;
            }
            most = most.max(seen[before..].iter().map(SourceEvent::weight_bytes).sum());
        }
        assert_eq!(seen.len(), 2_000);
        assert!(most < RECEIVED_AT_ONCE_BYTES + 2_000, "{most} bytes at once");
    }

    #[tokio::test]
    async fn a_receiver_that_waits_is_woken() {
        let (inbox, mut events) = Inbox::new(2000);
        let sender = std::thread::spawn(move || inbox.put(&mut vec![records(1)]));
        let mut seen = Vec::new();
        assert!(events.recv_many(&mut seen).await);
        assert_eq!(seen.len(), 1);
        sender.join().expect("the sender");
    }

    #[test]
    fn what_nobody_will_receive_is_not_kept() {
        let (inbox, events) = Inbox::new(2000);
        drop(events);
        inbox.put(&mut vec![records(1)]);
        assert!(inbox.deserted() && inbox.has_room());
    }
}

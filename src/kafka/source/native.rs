//! The consumer's queue, polled through the library's own interface.
//!
//! `BaseConsumer::poll` would hide which partition an error belongs to, panics on a header name that is not UTF-8, and
//! allocates for each record; here, everything that the queue can hold is one enum.

use std::ffi::{CStr, CString};
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError as ClientError, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka_sys as sys;

use crate::delivery::group::{CommittedOffset, Place};
use crate::delivery::record::{Header, Record, TopicPartition};
use crate::kafka::native::{Event, RawQueue, result, slice, text};

/// The queue that a consumer's records and events arrive on.
pub(super) struct Queue<C: ConsumerContext> {
    /// First, for it has to go before its client.
    queue: RawQueue,
    consumer: Arc<BaseConsumer<C>>,
}

/// Everything that the queue can hold.
pub(super) enum Polled<'a> {
    /// A record, valid until the next poll.
    Record(RawRecord<'a>),
    /// The group gives partitions.
    Assign(Vec<Place>),
    /// The group takes partitions.
    Revoke(Vec<Place>),
    /// A commit ended: the error of the whole, then each partition's own.
    Committed(Result<(), Code>, Vec<(Place, Result<(), Code>)>),
    /// Something went wrong, perhaps with one partition.
    Error {
        /// What.
        code: Code,
        /// In the library's words.
        reason: String,
        /// The partition, and the offset that was asked for.
        at: Option<(Place, i64)>,
        /// The client can't go on.
        fatal: bool,
    },
    /// Something that concerns nobody, or a call to look at the commands.
    Nothing,
}

/// A record in the library's memory.
pub(super) struct RawRecord<'a> {
    message: *const sys::rd_kafka_message_t,
    _event: Event,
    _queue: PhantomData<&'a ()>,
}

impl<C: ConsumerContext> Queue<C> {
    /// `None`: the consumer has no group.
    pub(super) fn of(consumer: Arc<BaseConsumer<C>>) -> Option<Queue<C>> {
        // SAFETY: the client is alive as long as `consumer` is.
        let queue = unsafe { RawQueue::of_consumer(consumer.client().native_ptr()) }?;
        Some(Queue { queue, consumer })
    }

    /// The next record or event, waited for at most so long. `None`: nothing came. One thread at a time.
    pub(super) fn poll(&self, patience: Duration) -> Option<Polled<'_>> {
        let event = self.queue.poll(patience)?;
        Some(match event.kind() {
            sys::RD_KAFKA_EVENT_FETCH => self.record(event),
            sys::RD_KAFKA_EVENT_REBALANCE => rebalance(&event),
            sys::RD_KAFKA_EVENT_OFFSET_COMMIT => Polled::Committed(event.result(), partitions(&event)),
            sys::RD_KAFKA_EVENT_ERROR => error(&event),
            _ => Polled::Nothing,
        })
    }

    /// Makes a poll that waits, or the next one, return at once.
    pub(super) fn wake(&self) {
        self.queue.wake();
    }

    /// Whether the group still knows the client as a member, as far as the client knows.
    pub(super) fn is_member(&self) -> bool {
        // SAFETY: the client is alive; the text is the library's, given to us to free.
        unsafe {
            let id = sys::rd_kafka_memberid(self.consumer.client().native_ptr());
            let is_member = !text(id).is_empty();
            if !id.is_null() {
                sys::rd_kafka_mem_free(self.consumer.client().native_ptr(), id.cast());
            }
            is_member
        }
    }

    /// Commits; the answer arrives on the queue. (`BaseConsumer::commit` asks for one that never comes, as it sets no
    /// callback of the library's.)
    pub(super) fn commit(&self, offsets: &TopicPartitionList) -> Result<(), Code> {
        // SAFETY: client, list and queue are alive; the library copies the list. Without a callback, the answer is an
        // event.
        result(unsafe {
            let client = self.consumer.client().native_ptr();
            sys::rd_kafka_commit_queue(client, offsets.ptr(), self.queue.ptr(), None, std::ptr::null_mut())
        })
    }

    fn record(&self, event: Event) -> Polled<'_> {
        // SAFETY: the event is alive and is a fetch; the message lives as long as the event.
        let message = unsafe { sys::rd_kafka_event_message_next(event.ptr()) };
        if message.is_null() {
            return Polled::Nothing;
        }
        Polled::Record(RawRecord {
            message,
            _event: event,
            _queue: PhantomData,
        })
    }
}

fn partitions(event: &Event) -> Vec<(Place, Result<(), Code>)> {
    // SAFETY: the event is alive, and owns the list, which may be null.
    let list = unsafe { sys::rd_kafka_event_topic_partition_list(event.ptr()).as_ref() };
    (list.map(elements).unwrap_or_default().iter())
        .map(|e| (place(e), result(e.err)))
        .collect()
}

fn rebalance(event: &Event) -> Polled<'static> {
    let places = || partitions(event).into_iter().map(|(place, _)| place).collect();
    match event.code() {
        Code::AssignPartitions => Polled::Assign(places()),
        Code::RevokePartitions => Polled::Revoke(places()),
        code => Polled::Error {
            code,
            reason: code.to_string(),
            at: None,
            fatal: false,
        },
    }
}

fn error(event: &Event) -> Polled<'static> {
    // SAFETY: the event is alive. The partition is a copy, freed here.
    let at = unsafe {
        let partition = sys::rd_kafka_event_topic_partition(event.ptr());
        let at = partition.as_ref().map(|p| (place(p), p.offset));
        if !partition.is_null() {
            sys::rd_kafka_topic_partition_destroy(partition);
        }
        at
    };
    Polled::Error {
        code: event.code(),
        reason: event.reason(),
        at,
        fatal: event.is_fatal(),
    }
}

impl RawRecord<'_> {
    fn message(&self) -> &sys::rd_kafka_message_t {
        // SAFETY: it lives as long as the event, which `self` owns.
        unsafe { &*self.message }
    }

    /// The same for all records of a topic, while the client lives; another for each topic.
    pub(super) fn topic_key(&self) -> usize {
        self.message().rkt as usize
    }

    pub(super) fn partition(&self) -> i32 {
        self.message().partition
    }

    pub(super) fn offset(&self) -> i64 {
        self.message().offset
    }

    pub(super) fn topic(&self) -> String {
        // SAFETY: the topic object is alive as long as the message is.
        unsafe { text(sys::rd_kafka_topic_name(self.message().rkt)) }
    }

    /// A record of our own. Key and value, and header values, share one allocation.
    pub(super) fn copy(&self, source: TopicPartition, generation: u32) -> Record {
        let message = self.message();
        // SAFETY: pointers and lengths are the library's own, and null stands for null.
        let (key, value) = unsafe { (slice(message.key, message.key_len), slice(message.payload, message.len)) };
        let raw = self.headers();
        let header_bytes: usize = raw.iter().map(|(_, v)| v.map_or(0, <[u8]>::len)).sum();
        let mut all = Vec::with_capacity(key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + header_bytes);
        let parts = [key, value].into_iter().chain(raw.iter().map(|(_, v)| *v));
        parts.flatten().for_each(|part| all.extend_from_slice(part));
        let mut rest = Bytes::from(all);
        let mut cut = |part: Option<&[u8]>| part.map(|p| rest.split_to(p.len()));
        Record {
            source,
            offset: message.offset,
            generation,
            timestamp_ms: self.timestamp_ms(),
            key: cut(key),
            value: cut(value),
            headers: (raw.iter())
                .map(|(name, value)| Header {
                    name: name.to_string_lossy().into_owned(),
                    value: cut(*value),
                })
                .collect(),
        }
    }

    fn timestamp_ms(&self) -> i64 {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive, and `kind` is ours.
        let timestamp = unsafe { sys::rd_kafka_message_timestamp(self.message, &mut kind) };
        match kind {
            sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => -1,
            _ => timestamp,
        }
    }

    fn headers(&self) -> Vec<(&CStr, Option<&[u8]>)> {
        let mut list = std::ptr::null_mut();
        // SAFETY: the message is alive and keeps its headers; the library parses them on this first call.
        let found = unsafe { sys::rd_kafka_message_headers(self.message, &mut list) };
        if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Vec::new();
        }
        let mut headers = Vec::new();
        loop {
            let (mut name, mut value, mut len) = (std::ptr::null(), std::ptr::null(), 0);
            // SAFETY: the list is alive; past its end the call fails.
            let found = unsafe { sys::rd_kafka_header_get_all(list, headers.len(), &mut name, &mut value, &mut len) };
            if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return headers;
            }
            // SAFETY: a name is zero-terminated; a value is null or `len` bytes.
            headers.push(unsafe { (CStr::from_ptr(name), slice(value, len)) });
        }
    }
}

/// The low and high watermarks that the last fetch brought, if one did.
pub(super) fn cached_watermarks<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> Option<(i64, i64)> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the client is alive, the rest is ours.
    let code = unsafe {
        let client = consumer.client().native_ptr();
        sys::rd_kafka_get_watermark_offsets(client, topic.as_ptr(), partition, &mut low, &mut high)
    };
    (code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR && low >= 0 && high >= 0).then_some((low, high))
}

/// A partition's committed offset, if there is one, or why it is not known.
pub(super) type Committed = Result<Option<CommittedOffset>, Code>;

/// What a group has committed on each of the partitions.
pub(super) fn committed<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    places: &[Place],
    patience: Duration,
) -> Result<Vec<(Place, Committed)>, ClientError> {
    let mut list = TopicPartitionList::with_capacity(places.len());
    for (topic, partition) in places {
        list.add_partition(topic, *partition);
    }
    let list = consumer.committed_offsets(list, patience)?;
    // SAFETY: the list is alive until the end of this function.
    let elements = elements(unsafe { &*list.ptr() });
    let committed = |e: &sys::rd_kafka_topic_partition_t| {
        result(e.err)?;
        // SAFETY: metadata is null or so many bytes.
        let memo = unsafe { slice(e.metadata, e.metadata_size) }.filter(|m| !m.is_empty());
        Ok((e.offset >= 0).then(|| CommittedOffset {
            offset: e.offset,
            memo: memo.map(|m| String::from_utf8_lossy(m).into_owned()),
        }))
    };
    Ok(elements.iter().map(|e| (place(e), committed(e))).collect())
}

fn elements(list: &sys::rd_kafka_topic_partition_list_t) -> &[sys::rd_kafka_topic_partition_t] {
    match usize::try_from(list.cnt) {
        // SAFETY: the library keeps `cnt` elements there.
        Ok(count) if count > 0 => unsafe { std::slice::from_raw_parts(list.elems, count) },
        _ => &[],
    }
}

fn place(element: &sys::rd_kafka_topic_partition_t) -> Place {
    // SAFETY: a partition in a list always has a topic's name, zero-terminated.
    (unsafe { text(element.topic) }, element.partition)
}

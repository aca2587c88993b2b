//! What both ends need of the library's own interface: a queue, and an event from it.

use std::ffi::{CStr, c_char, c_void};
use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka_sys as sys;

/// A queue of the library. Whoever holds one keeps its client alive.
pub(super) struct RawQueue(*mut sys::rd_kafka_queue_t);

// SAFETY: librdkafka's queues may be used from any thread, and the pointer is only freed on drop.
unsafe impl Send for RawQueue {}
// SAFETY: as above.
unsafe impl Sync for RawQueue {}

/// A group, as one of its members knows it: who that is, and in which generation.
pub struct Membership(*mut sys::rd_kafka_consumer_group_metadata_t);

// SAFETY: it is a value that nobody changes, freed once.
unsafe impl Send for Membership {}

impl Membership {
    /// `None`: the consumer is no member just now. What it would say then, a group takes from anybody.
    ///
    /// # Safety
    /// `client` is a consumer that is alive.
    pub(super) unsafe fn of_consumer(client: *mut sys::rd_kafka_t) -> Option<Membership> {
        // SAFETY: the caller's promise.
        let metadata = unsafe { sys::rd_kafka_consumer_group_metadata(client) };
        if metadata.is_null() {
            return None;
        }
        let membership = Membership(metadata);
        // SAFETY: it is alive, and owns the text.
        let (generation, member) = unsafe {
            let generation = sys::rd_kafka_consumer_group_metadata_generation_id(metadata);
            (
                generation,
                text(sys::rd_kafka_consumer_group_metadata_member_id(metadata)),
            )
        };
        (generation >= 0 && !member.is_empty()).then_some(membership)
    }

    pub(super) fn ptr(&self) -> *const sys::rd_kafka_consumer_group_metadata_t {
        self.0
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        // SAFETY: got from the library, and freed once.
        unsafe { sys::rd_kafka_consumer_group_metadata_destroy(self.0) }
    }
}

/// An event of the library, freed on drop.
pub(super) struct Event(*mut sys::rd_kafka_event_t);

impl RawQueue {
    /// # Safety
    /// `client` is alive, and outlives the queue.
    pub(super) unsafe fn of_consumer(client: *mut sys::rd_kafka_t) -> Option<RawQueue> {
        // SAFETY: the caller's promise.
        let queue = unsafe { sys::rd_kafka_queue_get_consumer(client) };
        (!queue.is_null()).then_some(RawQueue(queue))
    }

    /// # Safety
    /// `client` is alive, and outlives the queue.
    pub(super) unsafe fn of_main(client: *mut sys::rd_kafka_t) -> RawQueue {
        // SAFETY: the caller's promise; every client has a main queue.
        RawQueue(unsafe { sys::rd_kafka_queue_get_main(client) })
    }

    /// The next event, waited for at most so long. One thread at a time.
    pub(super) fn poll(&self, patience: Duration) -> Option<Event> {
        let ms = i32::try_from(patience.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is alive.
        let event = unsafe { sys::rd_kafka_queue_poll(self.0, ms) };
        (!event.is_null()).then_some(Event(event))
    }

    /// Makes a poll that waits, or the next one, return at once.
    pub(super) fn wake(&self) {
        // SAFETY: the queue is alive; the call may come from any thread.
        unsafe { sys::rd_kafka_queue_yield(self.0) }
    }

    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_queue_t {
        self.0
    }
}

impl Drop for RawQueue {
    fn drop(&mut self) {
        // SAFETY: got from the library, and freed once.
        unsafe { sys::rd_kafka_queue_destroy(self.0) }
    }
}

impl Event {
    pub(super) fn ptr(&self) -> *mut sys::rd_kafka_event_t {
        self.0
    }

    /// One of the library's `RD_KAFKA_EVENT_*`.
    pub(super) fn kind(&self) -> i32 {
        // SAFETY: the event is alive.
        unsafe { sys::rd_kafka_event_type(self.0) }
    }

    pub(super) fn result(&self) -> Result<(), Code> {
        // SAFETY: the event is alive.
        result(unsafe { sys::rd_kafka_event_error(self.0) })
    }

    pub(super) fn code(&self) -> Code {
        self.result().err().unwrap_or(Code::NoError)
    }

    /// The client can't go on after this error.
    pub(super) fn is_fatal(&self) -> bool {
        // SAFETY: the event is alive.
        unsafe { sys::rd_kafka_event_error_is_fatal(self.0) != 0 }
    }

    /// What the library says of an error.
    pub(super) fn reason(&self) -> String {
        // SAFETY: the event is alive, and owns the text.
        unsafe { text(sys::rd_kafka_event_error_string(self.0)) }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: got from a poll, and freed once.
        unsafe { sys::rd_kafka_event_destroy(self.0) }
    }
}

pub(super) fn result(code: sys::rd_kafka_resp_err_t) -> Result<(), Code> {
    match code {
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(()),
        code => Err(code.into()),
    }
}

/// # Safety
/// `text` is null or zero-terminated.
pub(super) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// # Safety
/// `data` is null, or `len` bytes that stay as long as the result is used.
pub(super) unsafe fn slice<'a>(data: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data.cast(), len) })
}

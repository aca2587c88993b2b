//! The library's transactional calls. They block, and are made from one thread at a time.

use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka_sys as sys;

use crate::kafka::native::{Membership, text};

/// Why a call did not do what it was asked for.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) code: Code,
    /// In the library's words.
    pub(super) reason: String,
    /// The client can't go on.
    pub(super) fatal: bool,
    /// The same call may be made again, and goes on where this one ended.
    pub(super) retriable: bool,
}

/// A transactional producer of the library.
#[derive(Clone, Copy)]
pub(super) struct Transactional(*mut sys::rd_kafka_t);

// SAFETY: a client of the library may be used from any thread.
unsafe impl Send for Transactional {}

impl Transactional {
    /// # Safety
    /// `client` is a transactional producer that is alive, and outlives this.
    pub(super) unsafe fn of(client: *mut sys::rd_kafka_t) -> Transactional {
        Transactional(client)
    }

    /// Ends what is left of whoever had the same `transactional.id` before.
    pub(super) fn init(self, within: Duration) -> Result<(), Failed> {
        // SAFETY: the client is alive.
        unsafe { done(sys::rd_kafka_init_transactions(self.0, ms(within))) }
    }

    pub(super) fn begin(self) -> Result<(), Failed> {
        // SAFETY: the client is alive.
        unsafe { done(sys::rd_kafka_begin_transaction(self.0)) }
    }

    /// Waits until what was produced is acked, or the time is over; the reports say which.
    pub(super) fn flush(self, within: Duration) {
        // SAFETY: the client is alive.
        unsafe { sys::rd_kafka_flush(self.0, ms(within)) };
    }

    pub(super) fn send_offsets(
        self,
        offsets: &TopicPartitionList,
        by: &Membership,
        within: Duration,
    ) -> Result<(), Failed> {
        // SAFETY: client, list and membership are alive; the library copies what it needs.
        unsafe {
            let sent = sys::rd_kafka_send_offsets_to_transaction(self.0, offsets.ptr(), by.ptr(), ms(within));
            done(sent)
        }
    }

    /// Flushes what was produced, and commits. Reports have to be served meanwhile, by another thread.
    pub(super) fn commit(self, within: Duration) -> Result<(), Failed> {
        // SAFETY: the client is alive.
        unsafe { done(sys::rd_kafka_commit_transaction(self.0, ms(within))) }
    }

    /// Throws away what was not acked, which is reported, and aborts.
    pub(super) fn abort(self, within: Duration) -> Result<(), Failed> {
        // SAFETY: the client is alive.
        unsafe { done(sys::rd_kafka_abort_transaction(self.0, ms(within))) }
    }
}

fn ms(within: Duration) -> i32 {
    i32::try_from(within.as_millis()).unwrap_or(i32::MAX)
}

/// # Safety
/// `error` is null, or the library's, which is freed here.
unsafe fn done(error: *mut sys::rd_kafka_error_t) -> Result<(), Failed> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: it is alive until it is destroyed, and owns its text.
    unsafe {
        let failed = Failed {
            code: sys::rd_kafka_error_code(error).into(),
            reason: text(sys::rd_kafka_error_string(error)),
            fatal: sys::rd_kafka_error_is_fatal(error) != 0,
            retriable: sys::rd_kafka_error_is_retriable(error) != 0,
        };
        sys::rd_kafka_error_destroy(error);
        Err(failed)
    }
}

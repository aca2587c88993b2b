//! Delivery reports and errors, from the library's own queue. (`BaseProducer::poll` spins through the last millisecond of
//! each wait, which an idle pipeline would pay for.)

use std::time::Duration;

use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::util::IntoOpaque;
use rdkafka_sys as sys;

use super::deliveries::Place;
use crate::kafka::native::{RawQueue, result, text};

/// The queue that a producer's reports arrive on.
pub(super) struct Reports(RawQueue);

/// What it can hold.
pub(super) enum Report {
    /// A record was stored, or not, which is its topic's word.
    Delivered(Box<Place>, Result<(), (Code, String)>),
    /// Something went wrong that concerns no record, and may be fatal to the client.
    Error { code: Code, reason: String, fatal: bool },
}

impl Reports {
    /// # Safety
    /// `client` is a producer that is alive, whose records all carry a [`Place`], and which outlives the queue.
    pub(super) unsafe fn of(client: *mut sys::rd_kafka_t) -> Reports {
        // SAFETY: the caller's promise.
        Reports(unsafe { RawQueue::of_main(client) })
    }

    /// Hands out what is there, waiting for it at most so long. One thread at a time.
    pub(super) fn serve(&self, patience: Duration, mut hand: impl FnMut(Report)) {
        let Some(event) = self.0.poll(patience) else { return };
        match event.kind() {
            sys::RD_KAFKA_EVENT_DR => loop {
                // SAFETY: the event is alive, and the message as long as it.
                let Some(message) = (unsafe { sys::rd_kafka_event_message_next(event.ptr()).as_ref() }) else {
                    return;
                };
                // SAFETY: made of a place when the record was sent, and reported once.
                let place = unsafe { Box::<Place>::from_ptr(message._private) };
                // SAFETY: the topic is alive as long as the message.
                let topic = || unsafe { text(sys::rd_kafka_topic_name(message.rkt)) };
                hand(Report::Delivered(
                    place,
                    result(message.err).map_err(|code| (code, topic())),
                ));
            },
            sys::RD_KAFKA_EVENT_ERROR => hand(Report::Error {
                code: event.code(),
                reason: event.reason(),
                fatal: event.is_fatal(),
            }),
            _ => {}
        }
    }

    /// Makes a wait end.
    pub(super) fn wake(&self) {
        self.0.wake();
    }
}

//! CloudEvents 1.0 over HTTP. Records that are events already travel as the events they are; others become events.

mod batch;
mod binary;
mod event;
mod reply;
mod structured;
mod wrap;

use super::{Contract, Replies};
use crate::function::settings::{CloudEventsMode, CloudEventsSettings};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";

pub(super) fn of(settings: &CloudEventsSettings, replies: Replies) -> Box<dyn Contract> {
    let settings = settings.clone();
    match settings.mode {
        CloudEventsMode::Binary => Box::new(binary::Binary { settings, replies }),
        CloudEventsMode::Structured => Box::new(structured::Structured { settings, replies }),
        CloudEventsMode::Batch => Box::new(batch::Batched { settings, replies }),
    }
}

/// The media type that a content type names, without its parameters.
fn media_type(content_type: &str) -> String {
    let kind = content_type.split(';').next().unwrap_or_default();
    kind.trim().to_ascii_lowercase()
}

/// Whether data of a content type is JSON.
fn is_json(content_type: &str) -> bool {
    let kind = media_type(content_type);
    kind.ends_with("/json") || kind.ends_with("+json")
}

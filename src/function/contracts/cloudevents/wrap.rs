//! What event a record is, or becomes.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::CONTENT_TYPE;
use serde_json::value::RawValue;

use super::super::text::rfc3339;
use super::event::{Event, checked_name};
use super::{STRUCTURED, media_type};
use crate::delivery::record::{Header, Record};
use crate::function::settings::CloudEventsSettings;
use crate::json::check;

/// The beginning of the types whose data are whole events.
const EVENT_TYPES: &str = "application/cloudevents";
/// Headers that become attributes of a record that was no event.
const MAX_HEADERS: usize = 64;

/// A record's event.
pub(super) struct Carried {
    pub(super) event: Event,
    /// Its JSON as it stands in the record, where that is one in structured mode.
    pub(super) json: Option<Bytes>,
}

/// The event that a record is, in whichever mode; a record that is none, or only says that it is, becomes one.
pub(super) fn carried(record: &Record, settings: &CloudEventsSettings) -> Carried {
    let content_type = text_header(record, CONTENT_TYPE.as_str());
    if content_type.is_some_and(|stated| media_type(stated) == STRUCTURED)
        && let Some(value) = &record.value
        && let Ok(json) = serde_json::from_slice::<&RawValue>(value)
        && let Ok(event) = Event::of_json(value, json)
    {
        let json = Some(value.slice_ref(json.get().as_bytes()));
        return Carried { event, json };
    }
    // It would say the same of the event.
    let content_type = content_type.filter(|stated| !media_type(stated).starts_with(EVENT_TYPES));
    let event = binary(record, content_type).unwrap_or_else(|| wrapped(record, content_type, settings));
    Carried { event, json: None }
}

fn binary(record: &Record, content_type: Option<&str>) -> Option<Event> {
    text_header(record, "ce_specversion")?;
    let mut attributes: Vec<(String, String)> = Vec::new();
    for header in &record.headers {
        let Some(name) = header.name.strip_prefix("ce_") else {
            continue;
        };
        let (name, value) = (checked_name(name).ok()?, text(header)?);
        if !attributes.iter().any(|(other, _)| *other == name) {
            attributes.push((name, value.to_owned()));
        }
    }
    let content_type = content_type.map(str::to_owned);
    Event::new(attributes, content_type, record.value.clone(), false).ok()
}

/// As Knative's source for Kafka does it: `id`, `subject`, `key` and headers in attributes.
fn wrapped(record: &Record, content_type: Option<&str>, settings: &CloudEventsSettings) -> Event {
    let (topic, partition, offset) = (&record.source.topic, record.source.partition, record.offset);
    let generation = match record.generation {
        0 => String::new(),
        generation => format!(";g={generation}"),
    };
    let mut attributes = vec![
        ("specversion", "1.0".to_owned()),
        ("id", format!("partition:{partition}/offset:{offset}{generation}")),
        ("source", format!("{}#{topic}", settings.source)),
        ("type", settings.kind.clone()),
        ("subject", format!("partition:{partition}#{offset}")),
    ];
    attributes.extend(rfc3339(record).map(|time| ("time", time)));
    attributes.extend(record.key.as_deref().map(|key| ("key", text_or_base64(key))));
    let own = attributes.into_iter().map(|(name, value)| (name.to_owned(), value));
    let attributes = own.chain(headers(record)).collect();
    let kind = match (&record.value, content_type) {
        (None, _) => Kind::Nothing,
        (Some(_), Some(stated)) => Kind::Stated(stated),
        (Some(value), None) if check(value).is_ok() => Kind::Json,
        (Some(value), None) if std::str::from_utf8(value).is_ok() => Kind::Text,
        (Some(_), None) => Kind::Bytes,
    };
    let (content_type, is_json) = match kind {
        Kind::Nothing => (None, false),
        Kind::Stated(stated) => (Some(stated), false),
        Kind::Json => (Some("application/json"), true),
        Kind::Text => (Some("text/plain"), false),
        Kind::Bytes => (Some("application/octet-stream"), false),
    };
    Event::of_parts(
        attributes,
        content_type.map(str::to_owned),
        record.value.clone(),
        is_json,
    )
}

enum Kind<'r> {
    Nothing,
    Stated(&'r str),
    Json,
    Text,
    Bytes,
}

/// The first header of each name, as far as a name has letters and digits.
fn headers(record: &Record) -> impl Iterator<Item = (String, String)> {
    let mut seen = BTreeSet::new();
    let named = record.headers.iter().filter_map(move |header| {
        let letters = header.name.chars().filter(char::is_ascii_alphanumeric);
        let name = format!("kafkaheader{}", letters.collect::<String>().to_ascii_lowercase());
        let value = text_or_base64(header.value.as_deref()?);
        let is_type = header.name.eq_ignore_ascii_case(CONTENT_TYPE.as_str());
        (!is_type && seen.insert(name.clone())).then_some((name, value))
    });
    named.take(MAX_HEADERS)
}

fn text_header<'r>(record: &'r Record, name: &str) -> Option<&'r str> {
    let mut found = record
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case(name));
    found.find_map(text).filter(|text| !text.is_empty())
}

fn text(header: &Header) -> Option<&str> {
    std::str::from_utf8(header.value.as_deref()?).ok()
}

fn text_or_base64(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| STANDARD.encode(bytes), str::to_owned)
}

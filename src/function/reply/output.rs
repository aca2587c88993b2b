//! A result as the function gave it, made complete.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde_json::value::RawValue;

use super::shape::{ResultShape, given};
use super::{MAX_HEADERS, Reply, shown};
use crate::delivery::record::{Header, Output, Record, SinkId};
use crate::json::Format;

const TRACEPARENT: &str = "traceparent";

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a result of `record` is where the function says nothing else: its key, timestamp and headers, and the attempt's
/// trace context where it has none of its own.
pub(in crate::function) fn inherited(record: &Record, traceparent: Option<&Bytes>) -> Output {
    Output {
        sink: None,
        key: record.key.clone(),
        value: None,
        headers: inherited_headers(record, traceparent),
        timestamp_ms: record.timestamp_ms,
    }
}

/// The text of a JSON string.
///
/// # Errors
/// What was found instead.
pub(in crate::function) fn text_of(json: &RawValue) -> Result<Cow<'_, str>, &'static str> {
    let text = json.get();
    match text.as_bytes() {
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => Ok(Cow::Borrowed(&text[1..text.len() - 1])),
        [b'"', ..] => serde_json::from_str(text)
            .map(Cow::Owned)
            .map_err(|_| "a broken string"),
        _ => Err(kind(json)),
    }
}

impl Reply<'_> {
    /// The result of the record at `place`, complete.
    pub(super) fn output(&self, body: &Bytes, result: &ResultShape<'_>, place: usize) -> Result<Output, String> {
        let record = &self.records[place];
        let headers = match given(result.headers) {
            None => inherited_headers(record, self.traceparent),
            Some(json) => with_traceparent(headers(body, json)?, record, self.traceparent),
        };
        self.take_headers(headers.len())?;
        Ok(Output {
            sink: self.sink(result)?,
            key: self.key(body, result, record)?,
            value: value(body, result)?,
            headers,
            timestamp_ms: match given(result.timestamp) {
                None => record.timestamp_ms,
                Some(json) => timestamp_ms(json)?,
            },
        })
    }

    fn sink(&self, result: &ResultShape<'_>) -> Result<Option<SinkId>, String> {
        let Some(json) = given(result.sink) else {
            return Ok(None);
        };
        let name = text_of(json).map_err(|found| format!("has {found} as its sink, expected a name"))?;
        let place = self.sinks.iter().position(|sink| *sink == name);
        match place.map(u16::try_from) {
            Some(Ok(place)) => Ok(Some(SinkId(place))),
            _ if self.sinks.is_empty() => Err("names a sink, and the pipeline has none".to_owned()),
            _ => Err(format!(
                "names the unknown sink {:?}, expected one of {}",
                shown(&name),
                self.sinks.join(", ")
            )),
        }
    }

    /// A key is text in an answer, unless the pipeline's keys are JSON. Null is no key.
    fn key(&self, body: &Bytes, result: &ResultShape<'_>, record: &Record) -> Result<Option<Bytes>, String> {
        match (result.key, given(result.key_base64)) {
            (None, None) => Ok(record.key.clone()),
            (Some(json), None) if json.get() == "null" => Ok(None),
            (Some(json), None) if self.formats.key == Some(Format::Json) => Ok(Some(slice(body, json))),
            (Some(json), None) => text_or_json(body, json)
                .map(Some)
                .map_err(|found| format!("has {found} as its key")),
            (key, Some(encoded)) => {
                if given(key).is_some() {
                    return Err("has both key and key_base64, expected one of them".to_owned());
                }
                base64_of(encoded)
                    .map(Some)
                    .map_err(|found| format!("has {found} as its key_base64, expected base64"))
            }
        }
    }
}

/// A value's own text as it stands in the answer, or the bytes of its base64. Null is a tombstone.
fn value(body: &Bytes, result: &ResultShape<'_>) -> Result<Option<Bytes>, String> {
    match (result.value, given(result.value_base64)) {
        (None, None) => Err("has neither value nor value_base64 (a tombstone is \"value\": null)".to_owned()),
        (Some(json), None) if json.get() == "null" => Ok(None),
        (Some(json), None) => Ok(Some(slice(body, json))),
        (value, Some(_)) if given(value).is_some() => {
            Err("has both value and value_base64, expected one of them".to_owned())
        }
        (_, Some(encoded)) => base64_of(encoded)
            .map(Some)
            .map_err(|found| format!("has {found} as its value_base64, expected base64")),
    }
}

/// Headers in the shape in which requests have them. Numbers, true and false stand for their text.
fn headers(body: &Bytes, json: &RawValue) -> Result<Vec<Header>, String> {
    const EXPECTED: &str = "expected strings, null, {\"base64\": …} or arrays of these";
    let members = members(json).ok_or_else(|| format!("has {} as its headers, expected an object", kind(json)))?;
    let mut headers = Vec::with_capacity(members.len());
    for (name, json) in members {
        let many: Vec<&RawValue> = match kind(json) {
            ARRAY => serde_json::from_str(json.get()).unwrap_or_default(),
            _ => vec![json],
        };
        for json in many {
            if headers.len() >= MAX_HEADERS {
                return Err(format!("has more than {MAX_HEADERS} headers"));
            }
            let value = header_value(body, json).map_err(|found| format!("has a header with {found}, {EXPECTED}"))?;
            headers.push(Header {
                name: name.clone(),
                value,
            });
        }
    }
    Ok(headers)
}

fn header_value(body: &Bytes, json: &RawValue) -> Result<Option<Bytes>, &'static str> {
    match kind(json) {
        NULL => Ok(None),
        ARRAY => Err("an array within an array"),
        OBJECT => match members(json).as_deref() {
            Some([(name, encoded)]) if name == "base64" => base64_of(encoded).map(Some),
            _ => Err(OBJECT),
        },
        _ => text_or_json(body, json).map(Some),
    }
}

fn inherited_headers(record: &Record, traceparent: Option<&Bytes>) -> Vec<Header> {
    let mut headers = Vec::with_capacity(record.headers.len() + 1);
    headers.extend_from_slice(&record.headers);
    with_traceparent(headers, record, traceparent)
}

/// Headers with a trace context: the one they have, else the source record's, else the attempt's.
pub(in crate::function) fn with_traceparent(
    mut headers: Vec<Header>,
    record: &Record,
    traceparent: Option<&Bytes>,
) -> Vec<Header> {
    if headers.iter().any(|header| header.name == TRACEPARENT) {
        return headers;
    }
    let own = record.headers.iter().find(|header| header.name == TRACEPARENT);
    let value = match own {
        Some(own) => own.value.clone(),
        None => traceparent.cloned(),
    };
    if value.is_some() {
        headers.push(Header {
            name: TRACEPARENT.to_owned(),
            value,
        });
    }
    headers
}

fn timestamp_ms(json: &RawValue) -> Result<i64, String> {
    match json.get().parse::<i64>() {
        Ok(ms) if ms >= 0 => Ok(ms),
        _ => Err("has a timestamp that is not a whole number of milliseconds from 0".to_owned()),
    }
}

/// An object's members in their order.
pub(in crate::function) fn members(json: &RawValue) -> Option<Vec<(String, &RawValue)>> {
    struct Members;
    impl<'de> serde::de::Visitor<'de> for Members {
        type Value = Vec<(String, &'de RawValue)>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = object.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    serde::Deserializer::deserialize_map(&mut serde_json::Deserializer::from_str(json.get()), Members).ok()
}

/// A string's text, or the JSON text of anything else.
fn text_or_json(body: &Bytes, json: &RawValue) -> Result<Bytes, &'static str> {
    match kind(json) {
        STRING => match text_of(json)? {
            Cow::Borrowed(text) => Ok(body.slice_ref(text.as_bytes())),
            Cow::Owned(text) => Ok(Bytes::from(text)),
        },
        _ => Ok(slice(body, json)),
    }
}

/// The bytes of a string in base64.
pub(in crate::function) fn base64_of(json: &RawValue) -> Result<Bytes, &'static str> {
    let text = text_of(json)?;
    BASE64
        .decode(text.as_bytes())
        .map(Bytes::from)
        .map_err(|_| "a string that is not base64")
}

/// The part of `body` that is `json`'s text.
pub(in crate::function) fn slice(body: &Bytes, json: &RawValue) -> Bytes {
    body.slice_ref(json.get().as_bytes())
}

const STRING: &str = "a string";
const NULL: &str = "null";
const ARRAY: &str = "an array";
const OBJECT: &str = "an object";

/// What a JSON value is, in words.
pub(in crate::function) fn kind(json: &RawValue) -> &'static str {
    match json.get().as_bytes().first() {
        Some(b'"') => STRING,
        Some(b'{') => OBJECT,
        Some(b'[') => ARRAY,
        Some(b'n') => NULL,
        Some(b't' | b'f') => "true or false",
        _ => "a number",
    }
}

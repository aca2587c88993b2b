//! The result that a sink refused, as it stands in its letter: so that exactly this can be stored later.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;

use super::headers::RESULT;
use crate::delivery::record::{Header, Output, Record, SinkId};
use crate::json::{push_named, push_string};

/// Key, value and each header's value are text where they are UTF-8, else base64 under a name with `_base64`.
pub(super) fn written(result: &Output) -> Vec<u8> {
    let mut out = b"{".to_vec();
    push_named(&mut out, "key", result.key.as_deref(), None);
    out.push(b',');
    push_named(&mut out, "value", result.value.as_deref(), None);
    out.extend_from_slice(format!(",\"timestamp\":{},\"headers\":[", result.timestamp_ms).as_bytes());
    for (at, header) in result.headers.iter().enumerate() {
        out.extend_from_slice(if at == 0 { b"{\"name\":" } else { b",{\"name\":" });
        push_string(&mut out, &header.name);
        out.push(b',');
        push_named(&mut out, "value", header.value.as_deref(), None);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}

#[derive(Deserialize)]
struct Written {
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
    timestamp: i64,
    #[serde(default)]
    headers: Vec<WrittenHeader>,
}

#[derive(Deserialize)]
struct WrittenHeader {
    name: String,
    value: Option<String>,
    value_base64: Option<String>,
}

/// The result that a letter keeps, for the sink of this number.
///
/// # Errors
/// Why there is none that can be stored: it was left out, or is not what fnbridge writes.
pub fn kept_result(letter: &Record, sink: SinkId) -> Result<Output, String> {
    let header = letter.headers.iter().rev().find(|header| header.name == RESULT);
    let bytes = header.and_then(|header| header.value.as_ref());
    let bytes = bytes.ok_or("its result was too large to be kept")?;
    let unreadable = |error: String| format!("its `{RESULT}` can't be read: {error}");
    let found: Written = serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
    let headers = found.headers.into_iter().map(|header| {
        let value = bytes_of(header.value, header.value_base64)?;
        Ok(Header {
            name: header.name,
            value,
        })
    });
    Ok(Output {
        sink: Some(sink),
        key: bytes_of(found.key, found.key_base64).map_err(unreadable)?,
        value: bytes_of(found.value, found.value_base64).map_err(unreadable)?,
        headers: headers.collect::<Result<_, String>>().map_err(unreadable)?,
        timestamp_ms: found.timestamp,
    })
}

fn bytes_of(text: Option<String>, base64: Option<String>) -> Result<Option<Bytes>, String> {
    match (text, base64) {
        (Some(text), _) => Ok(Some(text.into())),
        (None, Some(base64)) => match STANDARD.decode(base64) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) => Err(error.to_string()),
        },
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::headers::header;
    use super::*;
    use crate::delivery::record::TopicPartition;

    fn letter(headers: Vec<Header>) -> Record {
        Record {
            source: TopicPartition {
                topic: "orders.dead-letter".into(),
                partition: 0,
            },
            offset: 0,
            generation: 0,
            timestamp_ms: -1,
            key: None,
            value: None,
            headers,
        }
    }

    fn bytes() -> impl Strategy<Value = Option<Bytes>> {
        prop::option::of(prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from))
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_the_sink_refused(
            key in bytes(), value in bytes(), headers in prop::collection::vec((".{0,5}", bytes()), 0..3), timestamp_ms in -1..i64::MAX,
        ) {
            let headers = headers.into_iter().map(|(name, value)| Header { name, value }).collect();
            let refused = Output { sink: Some(SinkId(3)), key, value, headers, timestamp_ms };
            let kept = kept_result(&letter(vec![header(RESULT, written(&refused))]), SinkId(3));
            prop_assert_eq!(kept, Ok(refused));
        }
    }

    #[test]
    fn a_result_that_is_not_there_or_is_none_is_said() {
        assert_eq!(
            kept_result(&letter(Vec::new()), SinkId(0)).unwrap_err(),
            "its result was too large to be kept"
        );
        let broken = letter(vec![header(RESULT, "{\"value_base64\":\"?\"}")]);
        assert!(
            kept_result(&broken, SinkId(0))
                .unwrap_err()
                .starts_with("its `fnbridge.result` can't be read: ")
        );
    }
}

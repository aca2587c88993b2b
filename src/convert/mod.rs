//! Whether a record's key and value are what the pipeline says they are.

pub use crate::json::{Format, Formats};

use crate::delivery::answer::Stage;
use crate::delivery::event::Admission;
use crate::delivery::record::Record;
use crate::json;

/// Checks a record's key and value against their formats. A null is valid in every format, an empty value is not JSON.
/// What is refused is told by its place, never shown.
pub fn admit(record: &Record, formats: &Formats) -> Admission {
    let key = (formats.key.zip(record.key.as_deref())).map(|(format, key)| ("key", format, key));
    let value = record.value.as_deref().map(|value| ("value", formats.value, value));
    for (what, format, bytes) in key.into_iter().chain(value) {
        if let Err(found) = valid(bytes, format) {
            return Admission::Refused {
                stage: Stage::Convert,
                reason: format!("the {what} {found}; its format is {}", format.name()),
            };
        }
    }
    Admission::Pass
}

fn valid(bytes: &[u8], format: Format) -> Result<(), String> {
    match format {
        Format::Bytes => Ok(()),
        Format::String => match std::str::from_utf8(bytes) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("is not UTF-8 at byte {}", error.valid_up_to())),
        },
        Format::Json => json::check(bytes).map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::delivery::record::TopicPartition;

    fn admitted(key: Option<&'static [u8]>, value: Option<&'static [u8]>, formats: Formats) -> Result<(), String> {
        let record = Record {
            source: TopicPartition {
                topic: Arc::from("orders"),
                partition: 3,
            },
            offset: 42,
            generation: 0,
            timestamp_ms: 0,
            key: key.map(Bytes::from_static),
            value: value.map(Bytes::from_static),
            headers: Vec::new(),
        };
        match admit(&record, &formats) {
            Admission::Pass => Ok(()),
            Admission::Refused { stage, reason } => {
                assert_eq!(stage, Stage::Convert);
                Err(reason)
            }
            Admission::Filtered | Admission::Answered(_) => panic!("conversion does neither"),
        }
    }

    #[test]
    fn by_default_a_value_is_json_and_a_key_is_anything() {
        let formats = Formats::default();
        assert_eq!(admitted(Some(b"\xff"), Some(b"{}"), formats), Ok(()));
        assert_eq!(admitted(None, None, formats), Ok(()));
        assert_eq!(
            admitted(None, Some(b""), formats),
            Err("the value is empty; its format is json".to_owned())
        );
        assert_eq!(
            admitted(Some(b"k"), Some(b"hello"), formats),
            Err("the value is not JSON at byte 0 of 5: expected value; its format is json".to_owned())
        );
    }

    #[test]
    fn text_has_to_be_utf8_and_bytes_may_be_anything() {
        let formats = |value| Formats { key: None, value };
        assert_eq!(admitted(None, Some(b""), formats(Format::String)), Ok(()));
        assert_eq!(
            admitted(None, Some(b"ab\xff"), formats(Format::String)),
            Err("the value is not UTF-8 at byte 2; its format is string".to_owned())
        );
        assert_eq!(admitted(None, Some(b"ab\xff"), formats(Format::Bytes)), Ok(()));
    }

    #[test]
    fn a_key_with_a_format_is_checked_and_a_null_key_passes() {
        let formats = Formats {
            key: Some(Format::Json),
            value: Format::Json,
        };
        assert_eq!(admitted(Some(b"\"k\""), Some(b"1"), formats), Ok(()));
        assert_eq!(admitted(None, Some(b"1"), formats), Ok(()));
        assert_eq!(
            admitted(Some(b""), Some(b"1"), formats),
            Err("the key is empty; its format is json".to_owned())
        );
    }
}

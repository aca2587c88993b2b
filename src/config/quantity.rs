//! Durations and sizes as people write them: `200ms`, `30s`, `1MiB`.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time, to the millisecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span(pub(crate) Duration);

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(pub(crate) u64);

const SPAN_FORM: &str = "a duration with its unit, such as 200ms, 30s or 15m";
const SIZE_FORM: &str = "a number of bytes, such as 65536, 512KiB or 1MiB";

const SPAN_UNITS: [(&str, f64); 5] = [
    ("d", 86_400_000.0),
    ("h", 3_600_000.0),
    ("m", 60_000.0),
    ("s", 1000.0),
    ("ms", 1.0),
];

const SIZE_UNITS: [(&str, f64); 8] = [
    ("GiB", 1_073_741_824.0),
    ("MiB", 1_048_576.0),
    ("KiB", 1024.0),
    ("GB", 1e9),
    ("MB", 1e6),
    ("KB", 1000.0),
    ("B", 1.0),
    ("", 1.0),
];

impl Span {
    pub(crate) const fn millis(ms: u64) -> Span {
        Span(Duration::from_millis(ms))
    }

    pub(crate) const fn secs(secs: u64) -> Span {
        Span(Duration::from_secs(secs))
    }

    /// Reads `1.5s`; `None` where it is no duration.
    pub(crate) fn parse(text: &str) -> Option<Span> {
        number_and_unit(text, &SPAN_UNITS).map(Span::millis)
    }
}

impl Size {
    pub(crate) const fn mib(mib: u64) -> Size {
        Size(mib << 20)
    }

    /// Reads `512KiB`; `None` where it is no size.
    pub(crate) fn parse(text: &str) -> Option<Size> {
        number_and_unit(text, &SIZE_UNITS).map(Size)
    }

    pub(crate) fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

fn number_and_unit(text: &str, units: &[(&str, f64)]) -> Option<u64> {
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = units
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, factor)| *factor)?;
    let whole = number.split('.').next().unwrap_or_default();
    if whole.is_empty() || whole.len() > 15 || number.ends_with('.') {
        return None;
    }
    let value = number.parse::<f64>().ok()? * factor;
    // Numbers in f64 are exact up to here.
    (value <= 9e15).then(|| value.round() as u64)
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match ms {
            0 => f.write_str("0ms"),
            ms if ms % 86_400_000 == 0 => write!(f, "{}d", ms / 86_400_000),
            ms if ms % 3_600_000 == 0 => write!(f, "{}h", ms / 3_600_000),
            ms if ms % 60_000 == 0 => write!(f, "{}m", ms / 60_000),
            ms if ms % 1000 == 0 => write!(f, "{}s", ms / 1000),
            ms => write!(f, "{ms}ms"),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0"),
            n if n % (1 << 30) == 0 => write!(f, "{}GiB", n >> 30),
            n if n % (1 << 20) == 0 => write!(f, "{}MiB", n >> 20),
            n if n % (1 << 10) == 0 => write!(f, "{}KiB", n >> 10),
            n => write!(f, "{n}"),
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Number(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let span = match Written::deserialize(deserializer)? {
            // The only number that means the same in every unit.
            Written::Number(0) => Some(Span::millis(0)),
            Written::Number(_) => None,
            Written::Text(text) => Span::parse(&text),
        };
        span.ok_or_else(|| de::Error::custom(format!("expected {SPAN_FORM}")))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Size, D::Error> {
        let size = match Written::deserialize(deserializer)? {
            Written::Number(bytes) => Some(Size(bytes)),
            Written::Text(text) => Size::parse(&text),
        };
        size.ok_or_else(|| de::Error::custom(format!("expected {SIZE_FORM}")))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": r"^[0-9]{1,15}(\.[0-9]+)?(ms|s|m|h|d)$",
            "minimum": 0,
            "maximum": 0,
            "x-fnbridge-form": SPAN_FORM,
            "x-fnbridge-kind": "duration",
        })
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"],
            "pattern": r"^[0-9]{1,15}(\.[0-9]+)?(B|KB|MB|GB|KiB|MiB|GiB)?$",
            "minimum": 0,
            "x-fnbridge-form": SIZE_FORM,
            "x-fnbridge-kind": "size",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_and_sizes_read_as_they_are_shown() {
        for text in ["0ms", "200ms", "30s", "15m", "2h", "7d"] {
            assert_eq!(Span::parse(text).unwrap().to_string(), text);
        }
        for text in ["0", "1000", "4KiB", "1MiB", "32MiB", "2GiB"] {
            assert_eq!(Size::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Span::parse("1.5s"), Some(Span::millis(1500)));
        assert_eq!(Size::parse("1.5KiB"), Some(Size(1536)));
        assert_eq!(Size::parse("2MB"), Some(Size(2_000_000)));
    }

    #[test]
    fn what_has_no_unit_or_another_one_is_no_duration() {
        for text in [
            "30",
            "",
            "s",
            "-1s",
            "5 s",
            "5sec",
            "1.",
            ".5s",
            "1.2.3s",
            "99999999999999999s",
            "1e3s",
        ] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
        for text in ["", "MiB", "-1", "1TB", "1 MiB", "1mb"] {
            assert_eq!(Size::parse(text), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_read_is_shown_as_what_reads_the_same(text in "[0-9.]{0,18}(ms|s|m|h|d|B|KB|MB|GB|KiB|MiB|GiB|)") {
            if let Some(span) = Span::parse(&text) {
                prop_assert_eq!(Span::parse(&span.to_string()), Some(span));
            }
            if let Some(size) = Size::parse(&text) {
                prop_assert_eq!(Size::parse(&size.to_string()), Some(size));
            }
        }
    }
}

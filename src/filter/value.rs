//! A record's parts as the expression sees them. Text is borrowed from the record.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::fmt;

use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
};
use cel::common::value::Val;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Expected;
use crate::delivery::record::Header;
use crate::json::explain;

type Seen<'r> = Box<dyn Val + 'r>;

/// A key or a value, and how many values it is made of; of an object, only the named members.
///
/// # Errors
/// What it is not.
pub(super) fn of<'r>(
    bytes: Option<&'r [u8]>,
    expected: Expected,
    members: Option<&BTreeSet<String>>,
) -> Result<(Seen<'r>, usize), String> {
    let Some(bytes) = bytes else {
        return Ok((Box::new(CelNull), 1));
    };
    match expected {
        Expected::Bytes => Ok((Box::new(CelBytes::from(bytes)), 1)),
        Expected::TextOrBytes => Ok((text_or_bytes(bytes), 1)),
        Expected::Text => {
            let text = std::str::from_utf8(bytes);
            let text = text.map_err(|error| format!("is not UTF-8 at byte {}", error.valid_up_to()))?;
            Ok((Box::new(CelString::from(text)), 1))
        }
        Expected::Json => {
            let mut json = serde_json::Deserializer::from_slice(bytes);
            let count = Cell::new(0);
            let whole = Json { members, count: &count };
            let seen = whole.deserialize(&mut json);
            let seen = seen.and_then(|seen| json.end().map(|()| (seen, count.get())));
            seen.map_err(|error| format!("is not JSON {}", explain(&String::from_utf8_lossy(bytes), &error)))
        }
    }
}

/// A map by name; a repeated name has a list of its values.
pub(super) fn headers(headers: &[Header]) -> Seen<'_> {
    let mut map: HashMap<CelMapKey<'_>, Seen<'_>> = HashMap::with_capacity(headers.len());
    let mut many: HashMap<&str, Vec<Seen<'_>>> = HashMap::new();
    for header in headers {
        many.entry(&header.name).or_default().push(one(header));
    }
    for (name, mut values) in many {
        let value: Seen<'_> = match values.len() {
            1 => values.remove(0),
            _ => Box::new(CelList::from(values)),
        };
        map.insert(CelMapKey::from(name), value);
    }
    Box::new(CelMap::from(map))
}

fn one(header: &Header) -> Seen<'_> {
    match header.value.as_deref() {
        Some(bytes) => text_or_bytes(bytes),
        None => Box::new(CelNull),
    }
}

fn text_or_bytes(bytes: &[u8]) -> Seen<'_> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Box::new(CelString::from(text)),
        Err(_) => Box::new(CelBytes::from(bytes)),
    }
}

/// JSON as values; of the outermost object, only these members.
struct Json<'m> {
    members: Option<&'m BTreeSet<String>>,
    count: &'m Cell<usize>,
}

impl<'m> Json<'m> {
    fn inner(&self) -> Json<'m> {
        Json {
            members: None,
            count: self.count,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Json<'_> {
    type Value = Seen<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Seen<'de>, D::Error> {
        self.count.set(self.count.get() + 1);
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Json<'_> {
    type Value = Seen<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Seen<'de>, E> {
        Ok(Box::new(CelNull))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Seen<'de>, E> {
        Ok(Box::new(CelBool::from(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Seen<'de>, E> {
        Ok(Box::new(CelInt::from(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Seen<'de>, E> {
        match i64::try_from(value) {
            Ok(value) => self.visit_i64(value),
            Err(_) => Ok(Box::new(CelUInt::from(value))),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Seen<'de>, E> {
        Ok(Box::new(CelDouble::from(value)))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Seen<'de>, E> {
        Ok(Box::new(CelString::from(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Seen<'de>, E> {
        Ok(Box::new(CelString::from(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Seen<'de>, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = array.next_element_seed(self.inner())? {
            elements.push(element);
        }
        Ok(Box::new(CelList::from(elements)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Seen<'de>, A::Error> {
        let mut map: HashMap<CelMapKey<'de>, Seen<'de>> = HashMap::new();
        while let Some(name) = object.next_key_seed(Name)? {
            if self.members.is_some_and(|members| !members.contains(&*name)) {
                object.next_value::<IgnoredAny>()?;
                continue;
            }
            let value = object.next_value_seed(self.inner())?;
            map.insert(CelMapKey::String(CelString::from(name)), value);
        }
        Ok(Box::new(CelMap::from(map)))
    }
}

/// A member's name, borrowed where it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Cow<'de, str>, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

//! An answer's JSON, taken apart as far as needed: values stay the text they are.

use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::explain;

/// Results and verdicts that one answer may hold: two bytes of it become hundreds in memory.
const MAX_RESULTS: usize = 50_000;

const EXPECTED: &str = "an object with `records` or `results`, or an array of values";

/// An answer that holds something.
#[derive(Debug)]
pub(super) enum Shape<'a> {
    Results(Vec<VerdictShape<'a>>),
    Records(Vec<ResultShape<'a>>),
    Values(Vec<&'a RawValue>),
}

/// One element of `results`.
#[derive(Debug, Default)]
pub(super) struct VerdictShape<'a> {
    pub(super) id: Option<&'a RawValue>,
    pub(super) action: Option<&'a RawValue>,
    pub(super) after_ms: Option<&'a RawValue>,
    pub(super) reason: Option<&'a RawValue>,
    pub(super) records: Vec<ResultShape<'a>>,
}

/// One result.
#[derive(Debug, Default)]
pub(super) struct ResultShape<'a> {
    pub(super) id: Option<&'a RawValue>,
    pub(super) sink: Option<&'a RawValue>,
    pub(super) key: Option<&'a RawValue>,
    pub(super) key_base64: Option<&'a RawValue>,
    pub(super) value: Option<&'a RawValue>,
    pub(super) value_base64: Option<&'a RawValue>,
    pub(super) headers: Option<&'a RawValue>,
    pub(super) timestamp: Option<&'a RawValue>,
}

impl<'a> ResultShape<'a> {
    /// The id, if the result has one.
    pub(super) fn id(&self) -> Option<&'a RawValue> {
        given(self.id)
    }
}

/// What is there and not null.
pub(super) fn given(json: Option<&RawValue>) -> Option<&RawValue> {
    json.filter(|json| json.get() != "null")
}

/// Why a body has no shape.
#[derive(Debug)]
pub(super) struct Unusable {
    pub(super) reason: String,
    /// It is an object that has `results`, as far as it could be read.
    pub(super) names_results: bool,
}

/// Takes a body apart, all of it checked.
pub(super) fn parse(body: &[u8]) -> Result<Shape<'_>, Unusable> {
    let text = std::str::from_utf8(body).map_err(|error| Unusable {
        reason: format!("its body is not UTF-8 at byte {}, expected JSON", error.valid_up_to()),
        names_results: false,
    })?;
    let (names_results, left) = (Cell::new(false), Left(Cell::new(MAX_RESULTS)));
    let mut json = serde_json::Deserializer::from_str(text);
    let answer = Answer {
        names_results: &names_results,
        left: &left,
    };
    let parsed = answer
        .deserialize(&mut json)
        .and_then(|shape| json.end().map(|()| shape));
    parsed.map_err(|error| Unusable {
        reason: unusable(text, &error),
        names_results: names_results.get(),
    })
}

fn unusable(text: &str, error: &serde_json::Error) -> String {
    let what = explain(text, error);
    match text.trim_start().starts_with('<') {
        true => "its body looks like HTML, expected JSON".to_owned(),
        false if error.is_data() => format!("its body is wrong {what}"),
        false => format!("its body is not JSON {what}"),
    }
}

/// The whole answer.
struct Answer<'s> {
    names_results: &'s Cell<bool>,
    left: &'s Left,
}

impl<'de> DeserializeSeed<'de> for Answer<'_> {
    type Value = Shape<'de>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Shape<'de>, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Answer<'_> {
    type Value = Shape<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Shape<'de>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = array.next_element::<&RawValue>()? {
            if value.get() == "null" {
                return Err(A::Error::custom(format!(
                    "element {} is null, expected a value",
                    values.len()
                )));
            }
            self.left.take_one()?;
            values.push(value);
        }
        Ok(Shape::Values(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Shape<'de>, A::Error> {
        let mut shape = None;
        while let Some(name) = object.next_key_seed(Name(&["results", "records"]))? {
            let Some(name) = name else {
                object.next_value::<IgnoredAny>()?;
                continue;
            };
            if name == 0 {
                self.names_results.set(true);
            }
            if shape.is_some() {
                return Err(A::Error::custom(
                    "`records` and `results` stand there twice or together, expected one of them",
                ));
            }
            shape = Some(match name {
                0 => Shape::Results(object.next_value_seed(List::of(self.left))?),
                _ => Shape::Records(object.next_value_seed(List::of(self.left))?),
            });
        }
        shape.ok_or_else(|| {
            A::Error::custom(format!(
                "found an object without `records` and `results`, expected {EXPECTED}"
            ))
        })
    }
}

/// How many more results an answer may hold.
struct Left(Cell<usize>);

impl Left {
    fn take_one<E: Error>(&self) -> Result<(), E> {
        match self.0.get().checked_sub(1) {
            Some(left) => {
                self.0.set(left);
                Ok(())
            }
            None => Err(E::custom(format!("there are more than {MAX_RESULTS} results"))),
        }
    }
}

/// An object of which some members matter.
trait Object<'de>: Default {
    const EXPECTED: &'static str;
    const NAMES: &'static [&'static str];

    /// Takes the value of the member `NAMES[name]`.
    fn take<A: MapAccess<'de>>(&mut self, name: usize, object: &mut A, left: &Left) -> Result<(), A::Error>;
}

impl<'de> Object<'de> for VerdictShape<'de> {
    const EXPECTED: &'static str = "a verdict: an object with `id` and `action`";
    const NAMES: &'static [&'static str] = &["id", "action", "after_ms", "reason", "records"];

    fn take<A: MapAccess<'de>>(&mut self, name: usize, object: &mut A, left: &Left) -> Result<(), A::Error> {
        let place = match name {
            0 => &mut self.id,
            1 => &mut self.action,
            2 => &mut self.after_ms,
            3 => &mut self.reason,
            _ => {
                self.records = object.next_value_seed(ListOrNull(List::of(left)))?;
                return Ok(());
            }
        };
        *place = Some(object.next_value()?);
        Ok(())
    }
}

impl<'de> Object<'de> for ResultShape<'de> {
    const EXPECTED: &'static str = "a result: an object with `value` or `value_base64`";
    const NAMES: &'static [&'static str] = &[
        "value",
        "id",
        "sink",
        "key",
        "key_base64",
        "value_base64",
        "headers",
        "timestamp",
    ];

    fn take<A: MapAccess<'de>>(&mut self, name: usize, object: &mut A, _left: &Left) -> Result<(), A::Error> {
        let place = match name {
            0 => &mut self.value,
            1 => &mut self.id,
            2 => &mut self.sink,
            3 => &mut self.key,
            4 => &mut self.key_base64,
            5 => &mut self.value_base64,
            6 => &mut self.headers,
            _ => &mut self.timestamp,
        };
        *place = Some(object.next_value()?);
        Ok(())
    }
}

/// An array of objects; anything else among them is an error.
struct List<'s, T> {
    left: &'s Left,
    items: PhantomData<T>,
}

impl<'s, T> List<'s, T> {
    fn of(left: &'s Left) -> List<'s, T> {
        let items = PhantomData;
        List { left, items }
    }
}

impl<'de, T: Object<'de>> DeserializeSeed<'de> for List<'_, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Vec<T>, D::Error> {
        json.deserialize_seq(self)
    }
}

impl<'de, T: Object<'de>> Visitor<'de> for List<'_, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Vec<T>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = array.next_element_seed(Item(List::of(self.left)))? {
            self.left.take_one()?;
            items.push(item);
        }
        Ok(items)
    }
}

/// An array of objects, or null for none.
struct ListOrNull<'s, T>(List<'s, T>);

impl<'de, T: Object<'de>> DeserializeSeed<'de> for ListOrNull<'_, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Vec<T>, D::Error> {
        json.deserialize_option(self)
    }
}

impl<'de, T: Object<'de>> Visitor<'de> for ListOrNull<'_, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_unit<E: Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_none<E: Error>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<Vec<T>, D::Error> {
        self.0.deserialize(json)
    }
}

/// One object of a list.
struct Item<'s, T>(List<'s, T>);

impl<'de, T: Object<'de>> DeserializeSeed<'de> for Item<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<T, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, T: Object<'de>> Visitor<'de> for Item<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<T, A::Error> {
        let mut taken = T::default();
        let mut seen = 0_u32;
        while let Some(name) = object.next_key_seed(Name(T::NAMES))? {
            let Some(name) = name else {
                object.next_value::<IgnoredAny>()?;
                continue;
            };
            if seen & (1 << name) != 0 {
                return Err(A::Error::custom(format!("`{}` stands there twice", T::NAMES[name])));
            }
            seen |= 1 << name;
            taken.take(name, &mut object, self.0.left)?;
        }
        Ok(taken)
    }
}

/// A member's name, as its index among those that matter.
struct Name(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Option<usize>, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|known| *known == name))
    }
}

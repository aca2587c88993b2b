//! Which letters are wanted, as a part of a statement.

use serde::{Deserialize, Serialize};

use super::{Letter, Standing};

/// Which letters are wanted; what is not said does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Of this pipeline.
    pub pipeline: Option<String>,
    /// Of pipelines whose names begin like this.
    pub prefix: String,
    /// In this dead-letter topic.
    pub topic: Option<String>,
    /// In this partition of it.
    pub partition: Option<i32>,
    /// At this offset or behind it.
    pub from_offset: Option<i64>,
    /// At this offset or before it.
    pub to_offset: Option<i64>,
    /// Given up then or later, in milliseconds since the Unix epoch.
    pub since_ms: Option<i64>,
    /// Given up before then, in milliseconds since the Unix epoch.
    pub until_ms: Option<i64>,
    /// With the key of this digest.
    pub key: Option<String>,
    /// Of this stage.
    pub stage: Option<String>,
    /// With this status.
    pub status: Option<u16>,
    /// Whose reason holds this text, whatever the case of its letters `a` to `z`.
    pub reason: Option<String>,
    /// Of this group.
    pub fingerprint: Option<String>,
    /// That stand in one of these ways; none: however they stand.
    pub standings: Vec<Standing>,
    /// That this redrive sent.
    pub job: Option<String>,
}

impl Filter {
    /// Whether a letter is wanted.
    pub fn wants(&self, letter: &Letter) -> bool {
        fn is<T: PartialEq>(wanted: &Option<T>, found: Option<&T>) -> bool {
            wanted.as_ref().is_none_or(|wanted| Some(wanted) == found)
        }
        let (told, place) = (&letter.told, &letter.place);
        let pipeline = told.pipeline.clone().unwrap_or_default();
        is(&self.pipeline, Some(&pipeline))
            && pipeline.starts_with(&self.prefix)
            && (self.topic.as_ref()).is_none_or(|topic| **topic == *place.topic)
            && is(&self.partition, Some(&place.partition))
            && self.from_offset.is_none_or(|from| letter.offset >= from)
            && self.to_offset.is_none_or(|to| letter.offset <= to)
            && self.since_ms.is_none_or(|since| letter.at_ms >= since)
            && self.until_ms.is_none_or(|until| letter.at_ms < until)
            && is(&self.key, letter.key.as_ref())
            && is(&self.stage, Some(&told.stage))
            && is(&self.status, told.status.as_ref())
            && is(&self.fingerprint, Some(&told.fingerprint))
            && (self.standings.is_empty() || self.standings.contains(&letter.stands.standing))
            && is(&self.job, letter.stands.job.as_ref())
            && (self.reason.as_ref())
                .is_none_or(|text| told.reason.to_ascii_lowercase().contains(&text.to_ascii_lowercase()))
    }

    /// Whether only letters that somebody has to see to are wanted, or only others; `None`: both.
    pub(super) fn open(&self) -> Option<bool> {
        let (first, others) = self.standings.split_first()?;
        let same = others.iter().all(|other| other.is_open() == first.is_open());
        same.then(|| first.is_open())
    }
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Newest {
    /// Newest first.
    #[default]
    First,
    /// Oldest first.
    Last,
}

/// A value that a statement refers to by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bind {
    Text(String),
    Number(i64),
}

/// Conditions, joined by AND; both databases know `$1`.
#[derive(Debug, Default)]
pub(super) struct Where {
    conditions: Vec<String>,
    /// How many of the conditions, the first ones, an index begins with.
    indexed: usize,
    pub(super) binds: Vec<Bind>,
}

impl Where {
    pub(super) fn of(filter: &Filter) -> Where {
        let mut all = Where::default();
        let number = |value: Option<i64>| value.map(Bind::Number);
        let text = |value: &Option<String>| value.clone().map(Bind::Text);
        all.add("pipeline = ", text(&filter.pipeline), "");
        all.add("fingerprint = ", text(&filter.fingerprint), "");
        all.add("key_digest = ", text(&filter.key), "");
        if let Some(is_open) = filter.open() {
            all.push(format!("is_open = {}", i64::from(is_open)));
        }
        all.indexed = all.conditions.len();
        all.add("topic = ", text(&filter.topic), "");
        all.add("part = ", number(filter.partition.map(i64::from)), "");
        all.add("off >= ", number(filter.from_offset), "");
        all.add("off <= ", number(filter.to_offset), "");
        all.add("at_ms >= ", number(filter.since_ms), "");
        all.add("at_ms < ", number(filter.until_ms), "");
        all.add("stage = ", text(&filter.stage), "");
        all.add("status = ", number(filter.status.map(i64::from)), "");
        all.add("job = ", text(&filter.job), "");
        all.stand(filter);
        if !filter.prefix.is_empty() {
            all.add("pipeline >= ", Some(Bind::Text(filter.prefix.clone())), "");
            all.add(
                "pipeline < ",
                Some(Bind::Text(crate::store::behind(&filter.prefix))),
                "",
            );
        }
        let pattern = filter.reason.as_ref().map(|text| Bind::Text(containing(text)));
        all.add("lower(reason) LIKE ", pattern, " ESCAPE '\\'");
        all
    }

    fn stand(&mut self, filter: &Filter) {
        let of_kind = |kind: bool| {
            Standing::ALL
                .into_iter()
                .filter(move |standing| standing.is_open() == kind)
        };
        let is_all_of_kind = (filter.open()).is_some_and(|kind| of_kind(kind).all(|s| filter.standings.contains(&s)));
        if !filter.standings.is_empty() && !is_all_of_kind {
            let names: Vec<String> = filter.standings.iter().map(|s| format!("'{}'", s.name())).collect();
            self.push(format!("mark IN ({})", names.join(", ")));
        }
    }

    /// A condition, if there is a value for it.
    pub(super) fn add(&mut self, before: &str, value: Option<Bind>, after: &str) {
        if let Some(value) = value {
            let number = self.bind(value);
            self.conditions.push(format!("{before}{number}{after}"));
        }
    }

    /// A condition as it stands.
    pub(super) fn push(&mut self, condition: String) {
        self.conditions.push(condition);
    }

    /// A condition that an index begins with.
    pub(super) fn begin_with(&mut self, condition: String) {
        self.conditions.insert(self.indexed, condition);
        self.indexed += 1;
    }

    /// How a value is referred to.
    pub(super) fn bind(&mut self, value: Bind) -> String {
        self.binds.push(value);
        format!("${}", self.binds.len())
    }

    /// ` WHERE …`, or nothing.
    pub(super) fn text(&self) -> String {
        joined(&self.conditions)
    }

    /// The same with those conditions alone that an index begins with.
    pub(super) fn indexed_text(&self) -> String {
        joined(&self.conditions[..self.indexed])
    }
}

fn joined(conditions: &[String]) -> String {
    match conditions.is_empty() {
        true => String::new(),
        false => format!(" WHERE {}", conditions.join(" AND ")),
    }
}

/// A pattern for texts in small letters that hold this one.
pub(super) fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in text.to_ascii_lowercase().chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

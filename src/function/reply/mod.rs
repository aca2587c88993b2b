//! What a JSON answer says of each record. Nothing here depends on anything but the answer and the batch.

#[cfg(test)]
mod bad;
mod output;
mod shape;
#[cfg(test)]
mod tests;

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::delivery::answer::Verdict;
use crate::delivery::record::{Output, Record};
use crate::delivery::time::Millis;
use crate::json::Formats;
use shape::{ResultShape, Shape, VerdictShape};

pub(super) use output::{base64_of, inherited, kind, members, slice, text_of, with_traceparent};

/// However long `after_ms` says.
const MAX_AFTER_MS: u64 = 15 * 60 * 1000;
/// What is kept of a function's reason, in characters.
const MAX_REASON_CHARS: usize = 1000;
/// What a reason shows of a sink's name or an action that is unknown.
const MAX_SHOWN_CHARS: usize = 40;

/// Headers that the results of one answer may have, inherited or their own.
const MAX_HEADERS: usize = 250_000;

/// What an answer is read against.
#[derive(Debug)]
pub(super) struct Reply<'a> {
    /// The batch, at least one record.
    pub(super) records: &'a [Arc<Record>],
    /// The pipeline's sinks by name.
    pub(super) sinks: &'a [String],
    /// How the batch's keys stood in the request, and results' keys stand in the answer.
    pub(super) formats: &'a Formats,
    /// The attempt's trace context.
    pub(super) traceparent: Option<&'a Bytes>,
    headers_left: Cell<usize>,
}

impl<'a> Reply<'a> {
    pub(super) fn to(
        records: &'a [Arc<Record>],
        sinks: &'a [String],
        formats: &'a Formats,
        traceparent: Option<&'a Bytes>,
    ) -> Reply<'a> {
        Reply {
            records,
            sinks,
            formats,
            traceparent,
            headers_left: Cell::new(MAX_HEADERS),
        }
    }

    /// One verdict for each record of the batch, in its order, from the body of a 2xx answer.
    ///
    /// Without sinks a body says nothing, unless it is an object with `results`.
    ///
    /// # Errors
    /// Why the body is not usable.
    pub(super) fn verdicts(&self, body: &Bytes) -> Result<Vec<Verdict>, String> {
        if body.is_empty() {
            return Ok(self.accepted());
        }
        match shape::parse(body) {
            Ok(Shape::Results(verdicts)) => self.judged(body, verdicts),
            Err(unusable) if unusable.names_results || !self.sinks.is_empty() => Err(unusable.reason),
            _ if self.sinks.is_empty() => Ok(self.accepted()),
            Ok(Shape::Records(results)) => self.by_record(body, results),
            Ok(Shape::Values(values)) => self.by_position(values, |value, record| Output {
                value: Some(slice(body, value)),
                ..inherited(record, self.traceparent)
            }),
            Err(unusable) => Err(unusable.reason),
        }
    }

    /// One verdict for each record, where the body has a verdict's id and action in each element of `results`: what else an
    /// object may be is not said here.
    pub(super) fn verdicts_if_any(&self, body: &Bytes) -> Option<Result<Vec<Verdict>, String>> {
        match shape::parse(body) {
            Ok(Shape::Results(verdicts)) if verdicts.iter().all(|v| v.id.is_some() && v.action.is_some()) => {
                Some(self.judged(body, verdicts))
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// The elements of a body that is an array without a null among them.
    ///
    /// # Errors
    /// What it is instead.
    pub(super) fn elements<'b>(&self, body: &'b Bytes) -> Result<Vec<&'b RawValue>, String> {
        match shape::parse(body) {
            Ok(Shape::Values(values)) => Ok(values),
            Err(unusable) if body.trim_ascii_start().first() != Some(&b'{') => Err(unusable.reason),
            Ok(Shape::Results(_) | Shape::Records(_)) | Err(_) => Err("its body is no array".to_owned()),
        }
    }

    /// Nobody takes results.
    pub(super) fn is_for_nobody(&self) -> bool {
        self.sinks.is_empty()
    }

    /// All records accepted, nothing to deliver.
    pub(super) fn accepted(&self) -> Vec<Verdict> {
        vec![Verdict::Deliver(Vec::new()); self.records.len()]
    }

    /// `{"results": […]}`: one verdict a record.
    fn judged(&self, body: &Bytes, verdicts: Vec<VerdictShape<'_>>) -> Result<Vec<Verdict>, String> {
        let ids = Ids::of(self.records);
        let mut found: Vec<Option<Verdict>> = vec![None; self.records.len()];
        for (i, verdict) in verdicts.iter().enumerate() {
            let at = |what: String| format!("results[{i}] {what}");
            let id = verdict.id.ok_or_else(|| at("has no id".to_owned()))?;
            let place = ids.place(id, i).map_err(at)?;
            if found[place].is_some() {
                return Err(at(format!("repeats the id {}", self.records[place].id())));
            }
            found[place] = Some(self.verdict(body, verdict, place, &ids).map_err(at)?);
        }
        let missing = |place: usize| Verdict::Retry {
            after: None,
            reason: format!("the answer has no verdict for {}", self.records[place].id()),
        };
        Ok((found.into_iter().enumerate())
            .map(|(place, verdict)| verdict.unwrap_or_else(|| missing(place)))
            .collect())
    }

    fn verdict(
        &self,
        body: &Bytes,
        verdict: &VerdictShape<'_>,
        place: usize,
        ids: &Ids<'_>,
    ) -> Result<Verdict, String> {
        const EXPECTED: &str = "expected deliver, drop, retry or dead_letter";
        let action = verdict.action.ok_or_else(|| format!("has no action, {EXPECTED}"))?;
        let action = text_of(action).map_err(|found| format!("has {found} as its action, {EXPECTED}"))?;
        if action == "deliver" {
            let mut outputs = Vec::with_capacity(verdict.records.len());
            for (j, result) in verdict.records.iter().enumerate() {
                let output = self.output_of(body, result, place, ids);
                outputs.push(output.map_err(|what| format!("has a records[{j}] that {what}"))?);
            }
            // Nobody would take them.
            return Ok(Verdict::Deliver(if self.sinks.is_empty() {
                Vec::new()
            } else {
                outputs
            }));
        }
        if !verdict.records.is_empty() {
            return Err("has records, but its action is not deliver".to_owned());
        }
        match &*action {
            "drop" => Ok(Verdict::Drop),
            "retry" => Ok(Verdict::Retry {
                after: verdict.after_ms.map(after).transpose()?.flatten(),
                reason: reason_of(verdict.reason, "the function asked to be called again with this record"),
            }),
            "dead_letter" => Ok(Verdict::DeadLetter {
                reason: reason_of(verdict.reason, "the function gave the record up without a reason"),
            }),
            unknown => Err(format!("has the unknown action {:?}, {EXPECTED}", shown(unknown))),
        }
    }

    /// A result of a verdict: it may repeat the verdict's id, and no other.
    fn output_of(&self, body: &Bytes, result: &ResultShape<'_>, place: usize, ids: &Ids<'_>) -> Result<Output, String> {
        if let Some(id) = result.id()
            && ids.place(id, place)? != place
        {
            return Err(format!(
                "has the id of another record than {}",
                self.records[place].id()
            ));
        }
        self.output(body, result, place)
    }

    /// `{"records": […]}`: all accepted; each result belongs to the record that it names, else to the one at its
    /// position where no result names one and the counts match, else to the last.
    fn by_record(&self, body: &Bytes, results: Vec<ResultShape<'_>>) -> Result<Vec<Verdict>, String> {
        let ids = Ids::of(self.records);
        let last = self.records.len() - 1;
        let in_step = results.len() == self.records.len() && results.iter().all(|result| result.id().is_none());
        let mut named = vec![false; self.records.len()];
        let mut outputs: Vec<Vec<Output>> = vec![Vec::new(); self.records.len()];
        for (i, result) in results.iter().enumerate() {
            let at = |what: String| format!("records[{i}] {what}");
            let place = match result.id() {
                Some(id) => {
                    let place = ids.place(id, i).map_err(at)?;
                    if std::mem::replace(&mut named[place], true) {
                        let id = self.records[place].id();
                        return Err(at(format!(
                            "repeats the id {id}; several results of a record go into a verdict"
                        )));
                    }
                    place
                }
                None if in_step => i,
                None => last,
            };
            outputs[place].push(self.output(body, result, place).map_err(at)?);
        }
        Ok(outputs.into_iter().map(Verdict::Deliver).collect())
    }

    /// Results in the answer's order: each belongs to the record at its position where the counts match, else to the last.
    pub(super) fn by_position<T>(
        &self,
        results: Vec<T>,
        output: impl Fn(T, &Record) -> Output,
    ) -> Result<Vec<Verdict>, String> {
        let last = self.records.len() - 1;
        let in_step = results.len() == self.records.len();
        let mut outputs: Vec<Vec<Output>> = vec![Vec::new(); self.records.len()];
        for (i, result) in results.into_iter().enumerate() {
            let place = if in_step { i } else { last };
            let output = output(result, &self.records[place]);
            self.take_headers(output.headers.len())?;
            outputs[place].push(output);
        }
        Ok(outputs.into_iter().map(Verdict::Deliver).collect())
    }
}

impl Reply<'_> {
    /// Counts what results take beyond the answer's own bytes.
    fn take_headers(&self, count: usize) -> Result<(), String> {
        let left = self.headers_left.get().checked_sub(count);
        self.headers_left.set(left.unwrap_or(0));
        left.map(|_| ())
            .ok_or_else(|| format!("its results have more than {MAX_HEADERS} headers"))
    }
}

/// Finds a batch's records by their ids.
struct Ids<'a> {
    records: &'a [Arc<Record>],
    /// `orders/3/`
    before_offset: String,
    by_offset: OnceCell<HashMap<i64, usize>>,
}

impl<'a> Ids<'a> {
    fn of(records: &'a [Arc<Record>]) -> Ids<'a> {
        Ids {
            records,
            before_offset: format!("{}/", records[0].source),
            by_offset: OnceCell::new(),
        }
    }

    /// The place of the record that `id` names, looked for at `hint` first.
    fn place(&self, id: &RawValue, hint: usize) -> Result<usize, String> {
        let id = text_of(id).map_err(|found| format!("has {found} as its id, expected a string"))?;
        let offset = id.strip_prefix(self.before_offset.as_str()).and_then(offset);
        let place = offset.and_then(|offset| match self.records.get(hint) {
            Some(record) if record.offset == offset => Some(hint),
            _ => self.by_offset().get(&offset).copied(),
        });
        place.ok_or_else(|| match offset {
            Some(_) => format!("has the unknown id {id}, which was not in the batch"),
            None => format!(
                "has an unknown id, expected one of the batch, like {}",
                self.records[0].id()
            ),
        })
    }

    fn by_offset(&self) -> &HashMap<i64, usize> {
        self.by_offset.get_or_init(|| {
            self.records
                .iter()
                .enumerate()
                .map(|(place, record)| (record.offset, place))
                .collect()
        })
    }
}

/// The beginning of a word of the function's.
fn shown(word: &str) -> String {
    word.chars().take(MAX_SHOWN_CHARS).collect()
}

/// An offset as ids have it: digits, with nothing before them.
fn offset(text: &str) -> Option<i64> {
    let offset: i64 = text.parse().ok()?;
    (itoa::Buffer::new().format(offset) == text).then_some(offset)
}

/// Milliseconds, or nothing for null.
fn after(after_ms: &RawValue) -> Result<Option<Millis>, String> {
    let text = after_ms.get();
    if text == "null" {
        return Ok(None);
    }
    match text.parse::<f64>() {
        Ok(ms) if ms >= 0.0 => Ok(Some(Millis((ms as u64).min(MAX_AFTER_MS)))),
        _ => Err("has an after_ms that is not a number of milliseconds from 0".to_owned()),
    }
}

/// A reason in the function's words, or, where it gave none, in ours.
fn reason_of(reason: Option<&RawValue>, none: &str) -> String {
    match reason.map(RawValue::get) {
        None | Some("null" | "\"\"") => none.to_owned(),
        Some(json) => {
            let said = reason.and_then(|reason| text_of(reason).ok());
            said.as_deref().unwrap_or(json).chars().take(MAX_REASON_CHARS).collect()
        }
    }
}

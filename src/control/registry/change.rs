//! What a change leads to.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Changed, Difference, Registered, SeekOrder, SkipOrder, difference};
use crate::config::hidden;

/// So many orders to skip are kept.
const MOST_SKIPS: usize = 100;

/// Who makes a change, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// Who.
    pub name: String,
    /// Milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// What has to hold for a change to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// The name is free.
    Absent,
    /// This is the revision.
    At(u64),
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Registered.
    Created,
    /// Its document was replaced.
    Changed,
    /// Paused.
    Paused,
    /// Resumed.
    Resumed,
    /// Started anew.
    Restarted,
    /// Told where reading is to go on.
    SeekOrdered,
    /// Reading goes on elsewhere, or the seek came to nothing.
    Sought,
    /// Records were passed over.
    Skipped,
    /// Deleted.
    Deleted,
    /// Deleted, with its group's offsets.
    DeletedWithOffsets,
}

impl Verb {
    /// The verb's name.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Created => "created",
            Verb::Changed => "changed",
            Verb::Paused => "paused",
            Verb::Resumed => "resumed",
            Verb::Restarted => "restarted",
            Verb::SeekOrdered => "seek_ordered",
            Verb::Sought => "sought",
            Verb::Skipped => "skipped",
            Verb::Deleted => "deleted",
            Verb::DeletedWithOffsets => "deleted_with_offsets",
        }
    }
}

/// What a change leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Nothing differs.
    Same(Registered),
    /// There is something to write: the pipeline, `None` where it is deleted, and what is kept of the change.
    Write(Option<Registered>, Changed),
}

/// Why a change is not made.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// There is no such pipeline.
    Missing,
    /// The name is in use.
    Exists {
        /// The revision of the pipeline that has it.
        revision: u64,
    },
    /// Somebody was faster.
    Conflict {
        /// The revision that was expected.
        expected: u64,
        /// The revision that was found.
        found: u64,
    },
    /// A field can't be changed.
    Fixed(Box<Difference>),
    /// It has to be paused first.
    NotPaused,
    /// A seek is under way.
    Seeking,
}

/// Registers a pipeline, or replaces its document. `last_revision` is that of a pipeline that had the name before, or 0.
///
/// # Errors
/// What stands against it.
pub fn put(
    existing: Option<&Registered>,
    last_revision: u64,
    document: Value,
    precondition: Precondition,
    author: &Author,
) -> Result<Outcome, Refusal> {
    check(existing, precondition)?;
    let Some(existing) = existing else {
        return Ok(created(last_revision + 1, document, author));
    };
    let [before, after] = hidden([&existing.document, &document]);
    let changes = difference(&before, &after);
    if changes.is_empty() {
        return Ok(Outcome::Same(existing.clone()));
    }
    if let Some(fixed) = difference(&kept_for_life(&existing.document), &kept_for_life(&document)).pop() {
        return Err(Refusal::Fixed(Box::new(fixed)));
    }
    let next = Registered {
        document,
        state_added: false,
        ..next(existing, author)
    };
    Ok(written(next, Verb::Changed, changes, author))
}

/// Pauses or resumes a pipeline: `state` in its document.
///
/// # Errors
/// What stands against it.
pub fn set_state(
    existing: Option<&Registered>,
    paused: bool,
    precondition: Precondition,
    author: &Author,
) -> Result<Outcome, Refusal> {
    check(existing, precondition)?;
    let existing = existing.ok_or(Refusal::Missing)?;
    let is_paused = existing.document["state"] == "paused";
    if is_paused == paused {
        return Ok(Outcome::Same(existing.clone()));
    }
    let mut next = next(existing, author);
    let (state, verb) = match paused {
        true => ("paused", Verb::Paused),
        false => ("running", Verb::Resumed),
    };
    if let Value::Object(fields) = &mut next.document {
        if !paused && existing.state_added {
            fields.remove("state");
            next.state_added = false;
        } else {
            next.state_added = fields.insert("state".to_owned(), json!(state)).is_none();
        }
    }
    let changes = difference(&existing.document, &next.document);
    Ok(written(next, verb, changes, author))
}

/// Asks for a pipeline to be drained and started anew.
///
/// # Errors
/// What stands against it.
pub fn restart(existing: Option<&Registered>, author: &Author) -> Result<Outcome, Refusal> {
    let existing = existing.ok_or(Refusal::Missing)?;
    let next = Registered {
        restarts: existing.restarts + 1,
        ..next(existing, author)
    };
    Ok(written(next, Verb::Restarted, Vec::new(), author))
}

/// Orders that reading goes on elsewhere. With `pause`, a pipeline that runs is stopped for it and goes on afterwards; else
/// it has to be paused.
///
/// # Errors
/// What stands against it.
pub fn seek(
    existing: Option<&Registered>,
    order: &SeekOrder,
    pause: bool,
    author: &Author,
) -> Result<Outcome, Refusal> {
    let existing = existing.ok_or(Refusal::Missing)?;
    if existing.seek.is_some() {
        return Err(Refusal::Seeking);
    }
    if !pause && existing.document["state"] != "paused" {
        return Err(Refusal::NotPaused);
    }
    let next = Registered {
        seek: Some(order.clone()),
        seek_failed: None,
        ..next(existing, author)
    };
    Ok(written(next, Verb::SeekOrdered, Vec::new(), author))
}

/// A seek has ended, well or not. What was passed over before it is read like any other record.
///
/// # Errors
/// What stands against it.
pub fn sought(existing: Option<&Registered>, failed: Option<String>, author: &Author) -> Result<Outcome, Refusal> {
    let existing = existing.ok_or(Refusal::Missing)?;
    if existing.seek.is_none() {
        return Ok(Outcome::Same(existing.clone()));
    }
    let skips = if failed.is_some() {
        existing.skips.clone()
    } else {
        Vec::new()
    };
    let next = Registered {
        seek: None,
        seek_failed: failed,
        skips,
        ..next(existing, author)
    };
    Ok(written(next, Verb::Sought, Vec::new(), author))
}

/// Passes over records. The same order again changes nothing.
///
/// # Errors
/// What stands against it.
pub fn skip(existing: Option<&Registered>, order: &SkipOrder, author: &Author) -> Result<Outcome, Refusal> {
    let existing = existing.ok_or(Refusal::Missing)?;
    if existing.skips.contains(order) {
        return Ok(Outcome::Same(existing.clone()));
    }
    let mut skips = existing.skips.clone();
    skips.push(order.clone());
    // Those before have long been passed, or are no more than forgotten: the records come back, and nothing is lost.
    skips.drain(..skips.len().saturating_sub(MOST_SKIPS));
    let next = Registered {
        skips,
        ..next(existing, author)
    };
    Ok(written(next, Verb::Skipped, Vec::new(), author))
}

/// Deletes a pipeline. Its history stays, and its group's offsets do unless they are to go, too.
///
/// # Errors
/// What stands against it.
pub fn delete(
    existing: Option<&Registered>,
    with_offsets: bool,
    precondition: Precondition,
    author: &Author,
) -> Result<Outcome, Refusal> {
    check(existing, precondition)?;
    let existing = existing.ok_or(Refusal::Missing)?;
    let changed = Changed {
        revision: existing.revision + 1,
        verb: match with_offsets {
            false => Verb::Deleted,
            true => Verb::DeletedWithOffsets,
        },
        by: author.name.clone(),
        at_ms: author.at_ms,
        changes: Vec::new(),
        document: Value::Null,
    };
    Ok(Outcome::Write(None, changed))
}

fn check(existing: Option<&Registered>, precondition: Precondition) -> Result<(), Refusal> {
    match (precondition, existing) {
        (Precondition::Absent, Some(existing)) => Err(Refusal::Exists {
            revision: existing.revision,
        }),
        (Precondition::At(_), None) => Err(Refusal::Missing),
        (Precondition::At(expected), Some(existing)) if existing.revision != expected => Err(Refusal::Conflict {
            expected,
            found: existing.revision,
        }),
        (Precondition::None | Precondition::Absent | Precondition::At(_), _) => Ok(()),
    }
}

/// What a pipeline's committed offsets belong to, stated or by default: a cluster and a group.
pub fn belongs_to(document: &Value) -> (String, String) {
    let (name, source) = (&document["name"], &document["source"]);
    let group = match &source["group"] {
        Value::String(stated) => stated.clone(),
        _ => format!("fnbridge-{}", name.as_str().unwrap_or_default()),
    };
    let cluster = source["cluster"].as_str().unwrap_or("default").to_owned();
    (cluster, group)
}

/// What is fixed for as long as a pipeline lives.
fn kept_for_life(document: &Value) -> Value {
    let (cluster, group) = belongs_to(document);
    json!({"name": document["name"], "source": {"cluster": cluster, "group": group}})
}

fn created(revision: u64, document: Value, author: &Author) -> Outcome {
    let registered = Registered {
        name: document["name"].as_str().unwrap_or_default().to_owned(),
        revision,
        restarts: 0,
        document,
        state_added: false,
        seek: None,
        seek_failed: None,
        skips: Vec::new(),
        created_ms: author.at_ms,
        changed_ms: author.at_ms,
        changed_by: author.name.clone(),
    };
    written(registered, Verb::Created, Vec::new(), author)
}

fn next(existing: &Registered, author: &Author) -> Registered {
    Registered {
        revision: existing.revision + 1,
        changed_ms: author.at_ms,
        changed_by: author.name.clone(),
        ..existing.clone()
    }
}

fn written(next: Registered, verb: Verb, changes: Vec<Difference>, author: &Author) -> Outcome {
    let changed = Changed {
        revision: next.revision,
        verb,
        by: author.name.clone(),
        at_ms: author.at_ms,
        changes,
        document: next.document.clone(),
    };
    Outcome::Write(Some(next), changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn author() -> Author {
        Author {
            name: "ann".into(),
            at_ms: 7,
        }
    }

    fn document() -> Value {
        json!({"name": "orders", "source": {"topics": ["orders"]}, "batch": {"max_records": 5}})
    }

    fn write(outcome: Result<Outcome, Refusal>) -> (Option<Registered>, Changed) {
        match outcome {
            Ok(Outcome::Write(registered, changed)) => (registered, changed),
            other => panic!("expected something to write, found {other:?}"),
        }
    }

    fn registered() -> Registered {
        write(put(None, 0, document(), Precondition::None, &author()))
            .0
            .unwrap()
    }

    #[test]
    fn the_same_document_changes_nothing_however_often_it_is_sent() {
        let orders = registered();
        let again = put(Some(&orders), 0, document(), Precondition::At(1), &author());
        assert_eq!(again, Ok(Outcome::Same(orders)));
    }

    #[test]
    fn a_change_has_the_next_revision_and_says_what_differs() {
        let mut changed = document();
        changed["batch"]["max_records"] = json!(9);
        let (next, kept) = write(put(
            Some(&registered()),
            0,
            changed.clone(),
            Precondition::None,
            &author(),
        ));
        assert_eq!(next.map(|n| (n.revision, n.document)), Some((2, changed)));
        assert_eq!(
            (kept.verb, kept.changes[0].field.as_str()),
            (Verb::Changed, "batch.max_records")
        );
    }

    #[test]
    fn of_two_writers_the_second_hears_of_the_revision() {
        let refused = put(Some(&registered()), 0, document(), Precondition::At(4), &author());
        assert_eq!(refused, Err(Refusal::Conflict { expected: 4, found: 1 }));
        let refused = put(Some(&registered()), 0, document(), Precondition::Absent, &author());
        assert_eq!(refused, Err(Refusal::Exists { revision: 1 }));
    }

    #[test]
    fn what_the_offsets_belong_to_is_fixed() {
        for (pointer, field) in [("/source/group", "source.group"), ("/source/cluster", "source.cluster")] {
            let mut moved = document();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            moved.pointer_mut(parent).unwrap()[key] = json!("other");
            match put(Some(&registered()), 0, moved, Precondition::None, &author()) {
                Err(Refusal::Fixed(fixed)) => assert_eq!(fixed.field, field),
                other => panic!("{other:?}"),
            }
        }
        let mut stated = document();
        stated["source"]["group"] = json!("fnbridge-orders");
        assert!(put(Some(&registered()), 0, stated, Precondition::None, &author()).is_ok());
    }

    #[test]
    fn a_name_that_is_used_again_goes_on_counting() {
        let (gone, kept) = write(delete(Some(&registered()), false, Precondition::At(1), &author()));
        assert_eq!((gone, kept.revision), (None, 2));
        let (again, _) = write(put(None, kept.revision, document(), Precondition::Absent, &author()));
        assert_eq!(again.map(|n| n.revision), Some(3));
    }

    #[test]
    fn pausing_twice_is_pausing_once() {
        let (paused, kept) = write(set_state(Some(&registered()), true, Precondition::None, &author()));
        let paused = paused.unwrap();
        assert_eq!(
            (paused.document["state"].as_str(), kept.verb),
            (Some("paused"), Verb::Paused)
        );
        let again = set_state(Some(&paused), true, Precondition::None, &author());
        assert_eq!(again, Ok(Outcome::Same(paused.clone())));
        let (resumed, _) = write(set_state(Some(&paused), false, Precondition::None, &author()));
        assert_eq!(resumed.unwrap().document, document(), "as it was sent");
    }

    #[test]
    fn a_state_that_was_sent_stays_in_the_document() {
        let mut stated = document();
        stated["state"] = json!("running");
        let (stated, _) = write(put(None, 0, stated, Precondition::None, &author()));
        let (paused, _) = write(set_state(stated.as_ref(), true, Precondition::None, &author()));
        let (resumed, _) = write(set_state(paused.as_ref(), false, Precondition::None, &author()));
        assert_eq!(resumed.unwrap().document, stated.unwrap().document);
    }

    #[test]
    fn what_is_not_there_can_be_neither_changed_nor_deleted() {
        assert_eq!(
            delete(None, false, Precondition::None, &author()),
            Err(Refusal::Missing)
        );
        assert_eq!(
            set_state(None, true, Precondition::None, &author()),
            Err(Refusal::Missing)
        );
        assert_eq!(restart(None, &author()), Err(Refusal::Missing));
        assert_eq!(
            put(None, 0, document(), Precondition::At(1), &author()),
            Err(Refusal::Missing)
        );
    }
}

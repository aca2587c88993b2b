//! The function, and the HTTP sink: both answer as they are told, and note everything before they do.

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::server::{Reply, Request};
use crate::history::{Answer, Call, Given, Id, Kind, Ms, Output, Who};
use crate::input;
use crate::schedule::{Lie, Mood};

/// What a pipeline's function noted, and how it is.
pub struct Function {
    began: Instant,
    mood: Mutex<Mood>,
    calls: Mutex<Vec<Call>>,
}

impl Function {
    pub fn new(began: Instant) -> Function {
        Function {
            began,
            mood: Mutex::new(Mood::Well),
            calls: Mutex::default(),
        }
    }

    pub fn set(&self, mood: Mood) {
        *lock(&self.mood) = mood;
    }

    /// All that it noted.
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.calls).clone()
    }

    /// Answers a call.
    pub fn answer(&self, request: &Request) -> Reply {
        let body = request.json();
        let records = body["records"].as_array().expect("records");
        let mood = *lock(&self.mood);
        let flips = mood == Mood::Flaky && fastrand::bool();
        let (answer, reply) = match mood {
            Mood::Status(status) => (Answer::Failed("a status"), Reply::of(status, "not now")),
            Mood::Flaky if flips => (Answer::Failed("a status"), Reply::of(500, "not this time")),
            Mood::Lies(lie) if lie != Lie::OneMissing => (Answer::Failed("a lie"), self.lie(lie, records)),
            Mood::Well | Mood::Slow(_) | Mood::Flaky | Mood::Lies(_) => {
                let missing = mood == Mood::Lies(Lie::OneMissing) && records.len() > 1;
                return self.judge(request, records, mood, missing);
            }
        };
        self.note(request, records, answer);
        reply
    }

    /// What it says when it is well: of the whole batch, or a verdict a record.
    fn judge(&self, request: &Request, records: &[Value], mood: Mood, missing: bool) -> Reply {
        let kinds: Vec<Kind> = records.iter().map(|record| input::named(&record["value"])).collect();
        let reply = if kinds.contains(&Kind::Poison) {
            self.note(request, records, Answer::Failed("poison"));
            Reply::of(500, "poison")
        } else if kinds.contains(&Kind::Unfit) {
            self.note(request, records, Answer::Failed("unfit"));
            Reply::of(422, "unfit")
        } else {
            let mut given: Vec<Given> = records
                .iter()
                .zip(&kinds)
                .map(|(record, kind)| verdict(record, *kind))
                .collect();
            if missing {
                *given.last_mut().expect("more than one") = Given::Later;
            }
            let number = self.note(request, records, Answer::Verdicts(given.clone()));
            let mut results: Vec<Value> = records
                .iter()
                .zip(given)
                .map(|(record, given)| said(record, given, number))
                .collect();
            if missing {
                results.pop();
            }
            Reply::json(&json!({"results": results}))
        };
        match mood {
            Mood::Slow(ms) => reply.taking(std::time::Duration::from_millis(ms)),
            _ => reply.taking(std::time::Duration::from_millis(fastrand::u64(1..15))),
        }
    }

    fn lie(&self, lie: Lie, records: &[Value]) -> Reply {
        let verdict = |id: &Value| json!({"id": id, "action": "drop"});
        let honest: Vec<Value> = records.iter().map(|record| verdict(&record["id"])).collect();
        match lie {
            Lie::WrongIds => Reply::json(&json!({"results": [verdict(&json!("another/0/0"))]})),
            Lie::TwiceTheSame => {
                let twice = [honest.clone(), honest].concat();
                Reply::json(&json!({"results": twice}))
            }
            Lie::HalfBody => Reply::json(&json!({"results": honest})).cut(),
            Lie::Html => Reply::of(200, "<html>It works!</html>").header("content-type", "text/html"),
            Lie::Garbage => Reply::of(200, vec![0xff, 0x00, b'{', b'[']),
            Lie::OneMissing => unreachable!("it is a verdict for the others"),
        }
    }

    fn note(&self, request: &Request, records: &[Value], answer: Answer) -> usize {
        let worker = Who::parse(request.header("x-worker")).expect("a worker says who it is");
        let mut calls = lock(&self.calls);
        calls.push(Call {
            at: since(self.began),
            worker,
            partition: i32::try_from(records[0]["partition"].as_i64().expect("a partition")).expect("a partition"),
            offsets: records
                .iter()
                .map(|record| record["offset"].as_i64().expect("an offset"))
                .collect(),
            answer,
        });
        calls.len() - 1
    }
}

fn verdict(record: &Value, kind: Kind) -> Given {
    match kind {
        Kind::Once | Kind::Twice => Given::Results(kind.results()),
        Kind::Nothing => Given::Dropped,
        Kind::Later if record["attempt"].as_u64().expect("an attempt") < 2 => Given::Later,
        Kind::Later => Given::Results(1),
        Kind::Refused => Given::Refused,
        Kind::Poison | Kind::Unfit | Kind::Garbled => unreachable!("the whole batch was refused"),
    }
}

/// A verdict, as an answer says it.
fn said(record: &Value, given: Given, call: usize) -> Value {
    let id = &record["id"];
    match given {
        Given::Results(count) => {
            let results: Vec<Value> = (0..count)
                .map(|index| json!({"value": result(id, index, call)}))
                .collect();
            json!({"id": id, "action": "deliver", "records": results})
        }
        Given::Dropped => json!({"id": id, "action": "drop"}),
        Given::Later => json!({"id": id, "action": "retry", "after_ms": 100}),
        Given::Refused => json!({"id": id, "action": "dead_letter", "reason": "refused"}),
    }
}

fn result(id: &Value, index: u8, call: usize) -> Value {
    json!({"of": id, "index": index, "call": call})
}

/// A result that arrived somewhere, by what its carrier says it is (`topic/partition/offset#index`) and what it says itself.
pub fn arrived(carrier: &str, value: &Value, place: i32, at: Ms) -> Output {
    let (record, index) = carrier.rsplit_once('#').expect("a record and an index");
    let mut parts = record.rsplit('/');
    let mut number = || {
        parts
            .next()
            .and_then(|part| part.parse::<i64>().ok())
            .expect("a number")
    };
    let (offset, partition) = (number(), number());
    let index: u8 = index.parse().expect("an index");
    let call = value["call"].as_u64().and_then(|call| usize::try_from(call).ok());
    Output {
        at,
        place,
        of: Id {
            partition: i32::try_from(partition).expect("a partition"),
            offset,
        },
        index,
        call: call.unwrap_or(usize::MAX),
        sound: call.is_some_and(|call| *value == result(&json!(record), index, call)),
    }
}

/// The HTTP sink.
pub struct Posts {
    began: Instant,
    mood: Mutex<Mood>,
    stored: Mutex<Vec<Output>>,
}

impl Posts {
    pub fn new(began: Instant) -> Posts {
        Posts {
            began,
            mood: Mutex::new(Mood::Well),
            stored: Mutex::default(),
        }
    }

    pub fn set(&self, mood: Mood) {
        *lock(&self.mood) = mood;
    }

    /// All that it stored, in the order in which it came.
    pub fn stored(&self) -> Vec<Output> {
        lock(&self.stored).clone()
    }

    /// Answers a request. What is stored is so from here on, whether or not the answer arrives.
    pub fn answer(&self, request: &Request) -> Reply {
        let mood = *lock(&self.mood);
        if let Mood::Status(status) = mood {
            return Reply::of(status, "not now");
        }
        let body = request.json();
        let mut stored = lock(&self.stored);
        for result in body.as_array().expect("results") {
            let id = result["id"].as_str().expect("an id");
            stored.push(arrived(id, &result["value"], 0, since(self.began)));
        }
        let reply = Reply::of(204, "");
        match mood {
            Mood::Slow(ms) => reply.taking(std::time::Duration::from_millis(ms)),
            _ => reply,
        }
    }
}

/// Milliseconds since a moment.
pub fn since(began: Instant) -> Ms {
    Ms::try_from(began.elapsed().as_millis()).expect("a time")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

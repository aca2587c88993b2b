//! Reads what a run left in the topics.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::Value;

use crate::function::arrived;
use crate::harness::topics::{Client, Entry};
use crate::history::{Course, Id, Input, Lanes, Letter, Ms, Output, POSTS, Sample, Stream, TOPIC};
use crate::input::kind_of;
use crate::stage::{Line, Stage};

/// All of one pipeline.
pub fn course(stage: &Stage, number: usize, line: &Line, samples: Vec<Sample>) -> Course {
    let client = stage.cluster.client();
    let mut streams = vec![Stream {
        name: TOPIC,
        outputs: outputs(stage, &client, &line.sink()),
    }];
    if line.posts {
        streams.push(Stream {
            name: POSTS,
            outputs: stage.posts.stored(),
        });
    }
    Course {
        pipeline: line.name.to_owned(),
        lanes: line.lanes,
        exactly_once: line.exactly_once,
        input: input(&client, line),
        calls: stage.functions[number].calls(),
        streams,
        letters: letters(stage, &client, &line.letters()),
        samples,
    }
}

fn input(client: &Client, line: &Line) -> BTreeMap<Id, Input> {
    let mut input = BTreeMap::new();
    client.reader(&line.source()).for_each_to_end(|entry| {
        let id = Id {
            partition: entry.partition.expect("read"),
            offset: entry.offset,
        };
        let record = Input {
            kind: kind_of(entry.value.as_deref().unwrap_or_default()),
            lane: if line.lanes == Lanes::Keys { hash(&entry.key) } else { 0 },
            digest: digest(&entry),
        };
        input.insert(id, record);
    });
    input
}

fn outputs(stage: &Stage, client: &Client, topic: &str) -> Vec<Output> {
    let mut outputs = Vec::new();
    client.reader(topic).for_each_to_end(|entry| {
        let value: Value = serde_json::from_str(entry.text()).unwrap_or_default();
        let at = stored_at(stage, &entry);
        let place = entry.partition.expect("read");
        outputs.push(arrived(entry.header_text("fnbridge.source"), &value, place, at));
    });
    outputs
}

fn letters(stage: &Stage, client: &Client, topic: &str) -> Vec<Letter> {
    let mut letters = Vec::new();
    client.reader(topic).for_each_to_end(|entry| {
        let number = |name| entry.header_text(name).parse::<i64>().expect("a number");
        let time = |name| {
            let time: jiff::Timestamp = entry.header_text(name).parse().expect("a time");
            stage.at(time.as_millisecond())
        };
        letters.push(Letter {
            at: stored_at(stage, &entry),
            of: Id {
                partition: i32::try_from(number("__connect.errors.partition")).expect("a partition"),
                offset: number("__connect.errors.offset"),
            },
            stage: entry.header_text("fnbridge.stage").to_owned(),
            digest: digest(&entry),
            first_failed: time("fnbridge.first-failed"),
            last_failed: time("fnbridge.last-failed"),
        });
    });
    letters
}

fn stored_at(stage: &Stage, entry: &Entry) -> Ms {
    stage.at(entry.timestamp.expect("the broker's time"))
}

fn digest(entry: &Entry) -> u64 {
    hash(&(&entry.key, &entry.value))
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

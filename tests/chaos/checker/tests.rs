//! The checker is fed histories that were doctored, and has to say so.

use std::collections::BTreeMap;

use super::{Found, check};
use crate::history::{
    Answer, Call, Course, Fault, Given, History, Id, Input, Kind, Lanes, Letter, Ms, Output, Sample, Stream, TOPIC,
    Touches, Who,
};

/// The tests, by name.
pub const ALL: &[(&str, fn())] = &[
    ("an_honest_history_adds_up", an_honest_history_adds_up),
    ("a_lost_record_is_named", a_lost_record_is_named),
    (
        "half_of_a_records_results_is_a_loss",
        half_of_a_records_results_is_a_loss,
    ),
    (
        "a_drop_that_the_function_never_asked_for_is_a_loss",
        a_drop_that_the_function_never_asked_for_is_a_loss,
    ),
    ("a_swapped_pair_is_named", a_swapped_pair_is_named),
    (
        "keys_of_a_partition_may_pass_each_other_and_a_keys_records_may_not",
        keys_of_a_partition_may_pass_each_other_and_a_keys_records_may_not,
    ),
    (
        "a_duplicate_without_a_fault_is_named",
        a_duplicate_without_a_fault_is_named,
    ),
    (
        "a_kill_explains_what_was_in_flight_and_nothing_else",
        a_kill_explains_what_was_in_flight_and_nothing_else,
    ),
    (
        "more_duplicates_than_were_in_flight_are_counted",
        more_duplicates_than_were_in_flight_are_counted,
    ),
    (
        "no_fault_explains_a_duplicate_under_exactly_once",
        no_fault_explains_a_duplicate_under_exactly_once,
    ),
    (
        "a_dead_letter_beside_a_result_is_twice_under_exactly_once",
        a_dead_letter_beside_a_result_is_twice_under_exactly_once,
    ),
    (
        "a_call_below_the_committed_offset_is_named",
        a_call_below_the_committed_offset_is_named,
    ),
    ("a_commit_that_goes_back_is_named", a_commit_that_goes_back_is_named),
    (
        "a_dead_letter_with_other_bytes_is_named",
        a_dead_letter_with_other_bytes_is_named,
    ),
    (
        "a_healthy_record_that_was_given_up_needs_a_fault_of_the_function",
        a_healthy_record_that_was_given_up_needs_a_fault_of_the_function,
    ),
    (
        "an_outage_that_is_poured_into_dead_letters_is_named",
        an_outage_that_is_poured_into_dead_letters_is_named,
    ),
    ("a_result_that_nobody_gave_is_named", a_result_that_nobody_gave_is_named),
];

const WORKER: Who = Who { slot: 0, life: 1 };
const OTHER: Who = Who { slot: 1, life: 1 };
/// Between one record and the next.
const STEP: Ms = 20_000;

fn an_honest_history_adds_up() {
    for exactly_once in [false, true] {
        assert_eq!(problems(&history(exactly_once)), [""; 0]);
    }
}

fn a_lost_record_is_named() {
    let mut doctored = history(false);
    outputs(&mut doctored).retain(|output| output.of != id(4));
    assert_named(&doctored, "nothing is lost", id(4));
}

fn half_of_a_records_results_is_a_loss() {
    let mut doctored = history(false);
    outputs(&mut doctored).retain(|output| (output.of, output.index) != (id(1), 1));
    assert_named(&doctored, "nothing is lost", id(1));
}

fn a_drop_that_the_function_never_asked_for_is_a_loss() {
    let mut doctored = history(false);
    doctored.courses[0].calls[2].answer = Answer::Failed("500");
    assert_named(&doctored, "nothing is lost", id(2));
}

fn a_swapped_pair_is_named() {
    let mut doctored = history(false);
    let outputs = outputs(&mut doctored);
    let at = outputs.iter().position(|output| output.of == id(8)).unwrap();
    outputs.swap(at, at + 1);
    assert_named(&doctored, "order", id(8));
}

fn keys_of_a_partition_may_pass_each_other_and_a_keys_records_may_not() {
    let mut doctored = history(false);
    doctored.courses[0].lanes = Lanes::Keys;
    for (id, input) in &mut doctored.courses[0].input {
        input.lane = u64::from(id.offset % 2 == 0);
    }
    let at = outputs(&mut doctored)
        .iter()
        .position(|output| output.of == id(8))
        .unwrap();
    outputs(&mut doctored).swap(at, at + 1);
    assert_eq!(problems(&doctored), [""; 0], "8 and 9 have different keys");
    let passed = outputs(&mut doctored).remove(at);
    outputs(&mut doctored).insert(at + 3, passed);
    assert_named(&doctored, "order", id(9));
}

fn a_duplicate_without_a_fault_is_named() {
    let mut doctored = history(false);
    again(&mut doctored, 4, OTHER);
    assert_named(&doctored, "no unexplained duplicate", id(4));
}

fn a_kill_explains_what_was_in_flight_and_nothing_else() {
    let mut explained = history(false);
    kill(&mut explained, called(4) + 10);
    again(&mut explained, 4, OTHER);
    let found = check(&explained);
    assert_eq!(texts(&found), [""; 0]);
    assert_eq!((found.repeats[0].records, found.repeats[0].in_flight), (1, 1));

    let mut early = history(false);
    kill(&mut early, called(4) - 10);
    again(&mut early, 4, OTHER);
    assert_named(&early, "no unexplained duplicate", id(4));
    let mut anothers = history(false);
    kill(&mut anothers, called(4) + 10);
    anothers.courses[0].calls[4].worker = Who { slot: 0, life: 2 };
    again(&mut anothers, 4, OTHER);
    assert_named(&anothers, "no unexplained duplicate", id(4));
}

fn more_duplicates_than_were_in_flight_are_counted() {
    let mut doctored = history(false);
    again(&mut doctored, 4, OTHER);
    again(&mut doctored, 4, WORKER);
    let frozen = Touches::Frozen(WORKER.slot);
    doctored.faults.push(fault(called(4) + 10, called(4) + 30, frozen));
    let problems = problems(&doctored);
    assert!(
        problems[0].contains("2 records delivered again") && problems[0].contains("1 were in flight"),
        "{problems:?}"
    );
}

fn no_fault_explains_a_duplicate_under_exactly_once() {
    let mut doctored = history(true);
    kill(&mut doctored, called(4) + 10);
    again(&mut doctored, 4, OTHER);
    assert_named(&doctored, "exactly once", id(4));
}

fn a_dead_letter_beside_a_result_is_twice_under_exactly_once() {
    let mut doctored = history(true);
    calls_fail(&mut doctored);
    give_up(&mut doctored, 4);
    assert_named(&doctored, "exactly once", id(4));
}

fn a_call_below_the_committed_offset_is_named() {
    let mut doctored = history(false);
    let mut call = doctored.courses[0].calls[4].clone();
    call.at = called(9) + 10;
    doctored.courses[0].calls.push(call);
    assert_named(&doctored, "what is committed is not called again", id(4));
    doctored
        .faults
        .push(fault(called(8), called(9), Touches::Frozen(WORKER.slot)));
    assert_eq!(problems(&doctored), [""; 0], "a worker that was frozen does not know");
}

fn a_commit_that_goes_back_is_named() {
    let mut doctored = history(false);
    doctored.courses[0].samples[7].committed = BTreeMap::from([(0, 3)]);
    assert_named(&doctored, "commits go forward", id(3));
}

fn a_dead_letter_with_other_bytes_is_named() {
    let mut doctored = history(false);
    doctored.courses[0].letters[0].digest += 1;
    assert_named(&doctored, "dead letters", id(5));
}

fn a_healthy_record_that_was_given_up_needs_a_fault_of_the_function() {
    let mut doctored = history(false);
    give_up(&mut doctored, 4);
    assert_named(&doctored, "only what fails is given up", id(4));
    calls_fail(&mut doctored);
    assert_eq!(problems(&doctored), [""; 0]);
}

fn an_outage_that_is_poured_into_dead_letters_is_named() {
    let mut doctored = history(false);
    calls_fail(&mut doctored);
    let healthy = [0, 1, 3, 4, 6, 7, 8, 9, 10, 11, 13, 14];
    healthy[..9].iter().for_each(|offset| give_up(&mut doctored, *offset));
    assert_eq!(problems(&doctored), [""; 0], "three a task");
    give_up(&mut doctored, healthy[9]);
    let problems = problems(&doctored);
    assert!(problems[0].contains("made dead letters of 10 records"), "{problems:?}");
}

fn a_result_that_nobody_gave_is_named() {
    let mut doctored = history(false);
    outputs(&mut doctored)[0].call = 1;
    assert_named(&doctored, "nothing is made up", id(0));
    let mut unsound = history(false);
    outputs(&mut unsound)[3].sound = false;
    let of = outputs(&mut unsound)[3].of;
    assert_named(&unsound, "nothing is made up", of);
}

/// Fifteen records of one partition, called and delivered one after the other.
fn history(exactly_once: bool) -> History {
    let mut course = Course {
        pipeline: "p".to_owned(),
        lanes: Lanes::Partitions,
        exactly_once,
        input: BTreeMap::new(),
        calls: Vec::new(),
        streams: vec![Stream {
            name: TOPIC,
            outputs: Vec::new(),
        }],
        letters: Vec::new(),
        samples: Vec::new(),
    };
    for offset in 0..15 {
        let kind = match offset % 15 {
            1 => Kind::Twice,
            2 => Kind::Nothing,
            5 => Kind::Garbled,
            12 => Kind::Refused,
            _ => Kind::Once,
        };
        record(&mut course, offset, kind);
    }
    History {
        courses: vec![course],
        faults: Vec::new(),
    }
}

fn record(course: &mut Course, offset: i64, kind: Kind) {
    let (number, at) = (course.calls.len(), called(offset));
    course.input.insert(
        id(offset),
        Input {
            kind,
            lane: 0,
            digest: offset as u64,
        },
    );
    let answer = match kind {
        Kind::Nothing => Answer::Verdicts(vec![Given::Dropped]),
        Kind::Refused => Answer::Verdicts(vec![Given::Refused]),
        Kind::Garbled => Answer::Failed("never called"),
        _ => Answer::Verdicts(vec![Given::Results(kind.results())]),
    };
    course.calls.push(Call {
        at,
        worker: WORKER,
        partition: 0,
        offsets: vec![offset],
        answer,
    });
    for index in 0..kind.results() {
        course.streams[0].outputs.push(output(offset, index, number, at + 5));
    }
    if kind.is_dead() {
        letter(course, offset, at);
    }
    course.samples.push(Sample {
        from: at + 100,
        until: at + 110,
        committed: BTreeMap::from([(0, offset + 1)]),
    });
}

fn called(offset: i64) -> Ms {
    offset * STEP
}

fn id(offset: i64) -> Id {
    Id { partition: 0, offset }
}

fn output(offset: i64, index: u8, call: usize, at: Ms) -> Output {
    Output {
        at,
        place: 0,
        of: id(offset),
        index,
        call,
        sound: true,
    }
}

fn letter(course: &mut Course, offset: i64, at: Ms) {
    let stage = match course.input[&id(offset)].kind {
        Kind::Garbled => "convert",
        _ => "function",
    };
    course.letters.push(Letter {
        at: at + 7,
        of: id(offset),
        stage: stage.to_owned(),
        digest: offset as u64,
        first_failed: at,
        last_failed: at + 5,
    });
}

fn outputs(history: &mut History) -> &mut Vec<Output> {
    &mut history.courses[0].streams[0].outputs
}

/// A record is called again, shortly after it was, and delivered again.
fn again(history: &mut History, offset: i64, by: Who) {
    let course = &mut history.courses[0];
    let at = called(offset) + 50;
    let number = course.calls.iter().position(|call| call.at > at).expect("later calls");
    let call = Call {
        at,
        worker: by,
        ..course.calls[number - 1].clone()
    };
    course.calls.insert(number, call);
    let outputs = &mut course.streams[0].outputs;
    let later = outputs.iter_mut().filter(|output| output.call >= number);
    later.for_each(|output| output.call += 1);
    outputs.push(output(offset, 0, number, at + 5));
}

fn kill(history: &mut History, at: Ms) {
    history.faults.push(fault(at, at + 1000, Touches::Killed(WORKER)));
}

fn calls_fail(history: &mut History) {
    let all = Touches::Calls {
        pipeline: 0,
        fail: true,
    };
    history.faults.push(fault(-10, called(15), all));
}

fn give_up(history: &mut History, offset: i64) {
    letter(&mut history.courses[0], offset, called(offset));
}

fn fault(from: Ms, until: Ms, touches: Touches) -> Fault {
    Fault {
        number: 0,
        from,
        until,
        what: "a fault".to_owned(),
        touches,
    }
}

fn texts(found: &Found) -> Vec<String> {
    let texts = found.problems.iter();
    texts
        .map(|problem| format!("{} {:?} {}", problem.rule, problem.record, problem.text))
        .collect()
}

fn problems(history: &History) -> Vec<String> {
    texts(&check(history))
}

/// There is one problem, by this rule, with this record.
fn assert_named(history: &History, rule: &str, record: Id) {
    let found = check(history);
    let named = found
        .problems
        .iter()
        .all(|problem| (problem.rule, problem.record) == (rule, Some(record)));
    assert!(
        named && found.problems.len() == 1,
        "expected {rule} of {record}: {:#?}",
        texts(&found)
    );
}

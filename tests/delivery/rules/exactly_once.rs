//! Exactly once: results, dead letters, offsets and memos in one transaction at a time.

use fnbridge_delivery::answer::{Answer, Receipt, Stage, Verdict};
use fnbridge_delivery::event::{Assignment, Event, Notice};
use fnbridge_delivery::memo::Memo;
use fnbridge_delivery::record::{Output, SinkId};
use fnbridge_delivery::settings::{Delivery, Ordering, TaskSettings};
use fnbridge_delivery::time::Millis;
use fnbridge_delivery::transaction::{Obstacle, Transaction, TransactionOutcome};

use crate::script::{Script, failure, nothing, offsets, source};

/// A script that delivers exactly once, whose transactions the test ends.
fn script(change: impl FnOnce(&mut TaskSettings)) -> Script {
    let mut script = Script::with(|s| {
        s.delivery = Delivery::ExactlyOnce;
        change(s);
    });
    script.transactions_answer = false;
    script
}

fn transaction(script: &mut Script) -> Transaction {
    script.transactions.pop_front().expect("a transaction")
}

/// The records with results for a sink, by offset.
fn results(transaction: &Transaction, sink: u16) -> Vec<i64> {
    let stores = transaction.stores.iter().filter(|store| store.sink == SinkId(sink));
    stores
        .flat_map(|store| store.items.iter().map(|item| item.record.offset))
        .collect()
}

fn lettered(transaction: &Transaction) -> Vec<i64> {
    transaction.letters.iter().map(|letter| letter.record.offset).collect()
}

fn memo(transaction: &Transaction) -> (i64, Memo) {
    let entry = transaction.entries.first().expect("an entry");
    (entry.offset, Memo::decode(&entry.memo, entry.offset).expect("a memo"))
}

fn commit(script: &mut Script, transaction: Transaction) {
    script.answer_transaction(transaction, TransactionOutcome::Committed);
}

fn abort(script: &mut Script, transaction: Transaction, obstacles: Vec<Obstacle>) {
    script.answer_transaction(transaction, TransactionOutcome::Aborted(obstacles));
}

fn from_sink(sink: u16, item: usize, receipt: Receipt) -> Obstacle {
    let sink = SinkId(sink);
    Obstacle::Result { sink, item, receipt }
}

fn refused(index: usize) -> Receipt {
    let failure = failure(413);
    Receipt::Refused { index, failure }
}

/// A partition with `records` records, called one by one and answered.
fn delivered(script: &mut Script, records: i64) -> Assignment {
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..records);
    while !script.calls.is_empty() {
        let call = script.call();
        script.succeed(&call);
    }
    assignment
}

#[test]
fn results_offset_and_memo_are_one_effect() {
    let mut script = script(|_| {});
    delivered(&mut script, 3);
    let sent = transaction(&mut script);
    assert_eq!(results(&sent, 0), [0, 1, 2]);
    let (offset, beside) = memo(&sent);
    assert_eq!((offset, beside.totals[0], beside.settled), (3, 3, vec![]));
    assert!(
        script.noticed(|n| matches!(n, Notice::Settled { .. })) == 0,
        "nothing is settled yet"
    );
    commit(&mut script, sent);
    assert_eq!(script.noticed(|n| matches!(n, Notice::Settled { records: 3, .. })), 1);
    script.wait(60_000);
    assert!(script.transactions.is_empty(), "nothing is left to commit");
    assert!(script.stores.is_empty() && script.letters.is_empty() && script.commits.is_empty());
    assert_eq!(script.task.held_bytes(), 0);
}

#[test]
fn calls_go_on_while_a_transaction_is_in_flight_and_the_next_takes_up_what_many_of_them_brought() {
    let mut script = script(|s| s.batch.max_records = 2);
    let assignment = delivered(&mut script, 2);
    let first = transaction(&mut script);
    script.arrive(assignment, 0, 2..10);
    for _ in 0..4 {
        let call = script.call();
        script.succeed(&call);
    }
    script.wait(1_000);
    assert!(script.transactions.is_empty(), "one at a time");
    commit(&mut script, first);
    let second = transaction(&mut script);
    assert_eq!((results(&second, 0), memo(&second).0), ((2..10).collect(), 10));
}

#[test]
fn transactions_leave_each_other_a_while_unless_something_is_urgent() {
    let mut script = script(|s| s.batch.max_records = 1);
    let assignment = delivered(&mut script, 1);
    let first = transaction(&mut script);
    commit(&mut script, first);
    script.arrive(assignment, 0, 1..2);
    let call = script.call();
    script.succeed(&call);
    script.wait(99);
    assert!(script.transactions.is_empty());
    script.wait(1);
    let second = transaction(&mut script);
    commit(&mut script, second);
    script.arrive(assignment, 0, 2..3);
    let call = script.call();
    script.fail(&call);
    assert_eq!(script.transactions.len(), 1, "the next call waits for it");
}

#[test]
fn a_second_call_waits_until_its_attempts_are_committed_in_a_transaction_without_results() {
    let mut script = script(|_| {});
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..2);
    let call = script.call();
    script.fail(&call);
    let sent = transaction(&mut script);
    assert!(sent.stores.is_empty() && sent.letters.is_empty());
    let (offset, beside) = memo(&sent);
    assert_eq!((offset, beside.batches[0].parts[0].attempts), (0, 1));
    script.wait(60_000);
    assert!(script.calls.is_empty());
    commit(&mut script, sent);
    script.wait(200);
    assert_eq!(script.call().attempt, 2);
}

#[test]
fn a_lane_gives_what_is_finished_before_its_first_record_that_is_not() {
    let mut script = script(|s| (s.ordering, s.batch.max_records) = (Ordering::Key, 1));
    let assignment = script.assign(0);
    script.arrive_keyed(assignment, &[(0, "a"), (1, "b"), (2, "c")]);
    let (_, second, third) = (script.call(), script.call(), script.call());
    script.succeed(&second);
    script.succeed(&third);
    script.wait(100);
    let first = transaction(&mut script);
    assert_eq!(results(&first, 0), [1]);
    commit(&mut script, first);
    script.wait(100);
    let next = transaction(&mut script);
    let (offset, beside) = memo(&next);
    assert_eq!((results(&next, 0), offset, beside.settled), (vec![2], 0, vec![1, 2]));
}

#[test]
fn what_an_abort_undid_is_produced_again_in_the_same_order_after_a_while() {
    let mut script = script(|s| (s.ordering, s.sinks) = (Ordering::None, 2));
    delivered(&mut script, 20);
    let mut sent = transaction(&mut script);
    let before = (results(&sent, 0), results(&sent, 1), sent.entries.clone());
    for round in 0..4 {
        abort(&mut script, sent, vec![Obstacle::Cluster(failure(0))]);
        assert!(script.transactions.is_empty(), "round {round}: not at once");
        script.wait(40_000);
        sent = transaction(&mut script);
        assert_eq!(
            (results(&sent, 0), results(&sent, 1), sent.entries.clone()),
            before,
            "round {round}"
        );
    }
    assert!(script.calls.is_empty(), "the function is not called again");
    assert_eq!(
        script.noticed(|n| matches!(n, Notice::TransactionsHeld { .. })),
        1,
        "said once"
    );
    commit(&mut script, sent);
    assert_eq!(script.noticed(|n| matches!(n, Notice::TransactionsBack)), 1);
    assert_eq!(script.stored, [before.0, before.1], "and once each");
}

#[test]
fn a_result_that_a_sink_refuses_becomes_a_dead_letter_and_all_else_is_produced_again() {
    let mut script = script(|s| s.sinks = 2);
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..3);
    let call = script.call();
    let result = |at: usize| Output::pass_through(&call.records[at]);
    let three = Verdict::Deliver(vec![result(1), result(1), result(1)]);
    let verdicts = vec![
        Verdict::Deliver(vec![result(0)]),
        three,
        Verdict::Deliver(vec![result(2)]),
    ];
    script.answer(&call, Answer::Verdicts(verdicts));
    let sent = transaction(&mut script);
    abort(&mut script, sent, vec![from_sink(1, 1, refused(1))]);

    let again = transaction(&mut script);
    assert_eq!((results(&again, 0), results(&again, 1)), (vec![0, 1, 2], vec![0, 1, 2]));
    let item = |sink: usize| {
        again.stores[sink].items[1]
            .results(SinkId(sink as u16))
            .map(|(index, _)| index)
    };
    assert_eq!(item(0).collect::<Vec<_>>(), [0, 1, 2], "this sink takes them all");
    assert_eq!(item(1).collect::<Vec<_>>(), [0, 2], "this one all but what it refused");
    let facts = &again.letters[0].facts;
    assert_eq!(
        (lettered(&again), facts.stage, facts.sink),
        (vec![1], Stage::Sink, Some(SinkId(1)))
    );
    assert!(facts.result.is_some());
    assert_eq!(memo(&again).1.totals, [2, 0, 0, 1, 0, 0]);
    commit(&mut script, again);
    assert_eq!(script.lettered, [1]);
    assert!(script.task.held_bytes() == 0 && script.transactions.is_empty());
}

#[test]
fn after_a_hundred_refused_results_the_sink_is_waited_for() {
    let mut script = script(|s| (s.ordering, s.batch.max_records) = (Ordering::None, 200));
    delivered(&mut script, 150);
    let sent = transaction(&mut script);
    let all = (0..150).map(|item| from_sink(0, item, refused(0))).collect();
    abort(&mut script, sent, all);
    assert_eq!(script.noticed(|n| matches!(n, Notice::GuardTripped { .. })), 1);
    assert_eq!(
        script.noticed(|n| matches!(n, Notice::SinkAway { blocked: true, .. })),
        1
    );
    let letters = transaction(&mut script);
    assert_eq!((lettered(&letters).len(), results(&letters, 0).len()), (100, 0));
    commit(&mut script, letters);
    script.wait(60_000);
    let again = transaction(&mut script);
    assert_eq!((lettered(&again).len(), results(&again, 0).len()), (0, 50));
}

#[test]
fn a_sink_that_is_away_holds_up_its_own_records_and_no_others() {
    let mut script = script(|s| (s.sinks, s.ordering) = (2, Ordering::None));
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..2);
    let call = script.call();
    let to = |at: usize, sink| Output {
        sink: Some(SinkId(sink)),
        ..Output::pass_through(&call.records[at])
    };
    let verdicts = vec![Verdict::Deliver(vec![to(0, 0)]), Verdict::Deliver(vec![to(1, 1)])];
    script.answer(&call, Answer::Verdicts(verdicts));
    let sent = transaction(&mut script);
    abort(&mut script, sent, vec![from_sink(0, 0, Receipt::Away(failure(503)))]);
    assert_eq!(
        script.noticed(|n| matches!(n, Notice::SinkAway { sink: SinkId(0), .. })),
        1
    );
    let others = transaction(&mut script);
    assert_eq!((results(&others, 0), results(&others, 1)), (vec![], vec![1]));
    commit(&mut script, others);
    script.wait(60_000);
    let again = transaction(&mut script);
    assert_eq!((results(&again, 0), memo(&again).0), (vec![0], 2));
    commit(&mut script, again);
    assert_eq!(script.noticed(|n| matches!(n, Notice::SinkBack { sink: SinkId(0) })), 1);
}

#[test]
fn poison_goes_to_the_dead_letter_topic_in_the_transaction_that_passes_it() {
    let mut script = script(|s| s.batch.max_records = 1);
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..3);
    for answer in [None, Some(Answer::Refused(failure(400))), None] {
        let call = script.call();
        match answer {
            Some(answer) => script.answer(&call, answer),
            None => script.succeed(&call),
        }
    }
    let first = transaction(&mut script);
    commit(&mut script, first);
    script.wait(100);
    let sent = transaction(&mut script);
    assert_eq!(
        (results(&sent, 0), lettered(&sent), memo(&sent).0),
        (vec![2], vec![1], 3)
    );
    assert_eq!(memo(&sent).1.totals, [2, 0, 0, 1, 0, 0]);
    commit(&mut script, sent);
    assert_eq!(
        (script.stored[0].clone(), script.lettered.clone()),
        (vec![0, 2], vec![1])
    );
}

#[test]
fn a_dead_letter_that_cannot_be_written_blocks_the_task_and_what_was_finished_before_it_goes_on() {
    let mut script = script(|s| s.batch.max_records = 1);
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..1);
    let call = script.call();
    script.answer(&call, Answer::Refused(failure(400)));
    script.arrive(assignment, 0, 1..3);
    let call = script.call();
    script.succeed(&call);
    let _ = script.call();
    for _ in 0..3 {
        let sent = transaction(&mut script);
        let letter = sent.letters[0].id;
        let receipt = Receipt::Blocked(failure(0));
        abort(&mut script, sent, vec![Obstacle::Letter { letter, receipt }]);
        while let Some(attempts) = script.transactions.pop_front() {
            assert!(lettered(&attempts).is_empty() && memo(&attempts).0 == 0);
            commit(&mut script, attempts);
        }
        assert!(script.calls.is_empty(), "nothing new is called");
        script.wait(60_000);
    }
    assert_eq!(script.noticed(|n| matches!(n, Notice::LettersBlocked { .. })), 1);
    let sent = transaction(&mut script);
    assert_eq!((lettered(&sent), results(&sent, 0)), (vec![0], vec![1]));
    commit(&mut script, sent);
    assert_eq!(script.noticed(|n| matches!(n, Notice::LettersBack)), 1);
}

#[test]
fn what_settles_without_results_is_committed_within_a_second() {
    let mut script = script(|_| {});
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..2);
    let call = script.call();
    script.answer(&call, Answer::Verdicts(vec![nothing(), Verdict::Drop]));
    script.wait(1_000);
    let sent = transaction(&mut script);
    assert_eq!((memo(&sent).0, memo(&sent).1.totals[..2].to_vec()), (2, vec![1, 1]));
}

#[test]
fn a_drain_ends_with_a_transaction_that_holds_what_finished() {
    let mut script = script(|s| s.batch.max_records = 2);
    let assignment = delivered(&mut script, 2);
    let first = transaction(&mut script);
    script.arrive(assignment, 0, 2..6);
    let (call, begun) = (script.call(), script.now);
    script.give(Event::Revoked {
        assignments: vec![assignment],
    });
    commit(&mut script, first);
    assert!(
        script.released.is_empty() && script.transactions.is_empty(),
        "a call is on the wire"
    );
    script.succeed(&call);
    let last = transaction(&mut script);
    assert_eq!((results(&last, 0), memo(&last).0), (vec![2, 3], 4));
    assert!(script.released.is_empty(), "not before the transaction has ended");
    commit(&mut script, last);
    assert_eq!(
        (script.released.clone(), script.now),
        (vec![assignment], begun),
        "at once"
    );
    assert_eq!(script.recycled, 0);
}

#[test]
fn at_a_drains_deadline_an_undecided_transaction_is_waited_for_and_nothing_is_sent_anew() {
    let mut script = script(|s| s.drain_timeout = Millis(1_000));
    let assignment = delivered(&mut script, 2);
    let sent = transaction(&mut script);
    script.give(Event::Revoked {
        assignments: vec![assignment],
    });
    script.wait(60_000);
    assert!(script.released.is_empty() && script.transactions.is_empty());
    assert_eq!(script.recycled, 0);
    commit(&mut script, sent);
    assert_eq!(script.released, [assignment]);
    assert_eq!(script.stored[0], [0, 1]);
}

#[test]
fn after_a_drains_deadline_what_an_abort_undid_is_left_to_the_next_owner() {
    let mut script = script(|s| s.drain_timeout = Millis(1_000));
    let assignment = delivered(&mut script, 2);
    let sent = transaction(&mut script);
    script.give(Event::Revoked {
        assignments: vec![assignment],
    });
    script.wait(1_000);
    abort(&mut script, sent, vec![Obstacle::Cluster(failure(0))]);
    script.wait(10);
    assert_eq!(script.released, [assignment]);
    assert!(script.committed.is_none());
    assert!(script.task.is_idle() && script.task.held_bytes() == 0);
}

#[test]
fn what_waits_for_a_sink_is_let_go_at_once_by_a_drain() {
    let mut script = script(|_| {});
    let assignment = delivered(&mut script, 2);
    let sent = transaction(&mut script);
    abort(&mut script, sent, vec![from_sink(0, 0, Receipt::Away(failure(503)))]);
    script.give(Event::Revoked {
        assignments: vec![assignment],
    });
    if let Some(last) = script.transactions.pop_front() {
        assert!(last.stores.is_empty(), "the sink is still waited for");
        commit(&mut script, last);
    }
    assert_eq!(script.released, [assignment]);
    assert_eq!(script.committed.as_ref().map_or(0, |entry| entry.offset), 0);
}

#[test]
fn a_partition_lost_while_its_transaction_is_in_flight_is_forgotten_and_the_others_are_settled() {
    for committed in [true, false] {
        let mut script = script(|_| {});
        let (lost, kept) = (script.assign(0), script.assign(1));
        script.arrive(lost, 0, 0..2);
        script.arrive(kept, 1, 0..2);
        script.transactions_answer = false;
        let first = script.call();
        script.succeed(&first);
        let alone = transaction(&mut script);
        let second = script.call();
        script.succeed(&second);
        commit(&mut script, alone);
        script.arrive(lost, 0, 2..4);
        let call = script.call();
        script.succeed(&call);
        script.wait(100);
        let sent = transaction(&mut script);
        assert_eq!(sent.entries.len(), 2);
        script.give(Event::Lost {
            assignments: vec![lost],
        });
        if committed {
            commit(&mut script, sent);
        } else {
            let reason = "the member is not known".into();
            abort(&mut script, sent, vec![Obstacle::Offsets { reason }]);
            script.wait(60_000);
            let again = transaction(&mut script);
            assert_eq!(results(&again, 0), [0, 1]);
            assert_eq!(again.entries[0].source, source(1));
            commit(&mut script, again);
        }
        assert!(script.noticed(|n| matches!(n, Notice::LateDiscarded { .. })) >= 1);
        assert!(script.task.held_bytes() == 0 && script.released.is_empty());
        script.wait(60_000);
        assert!(script.transactions.is_empty());
    }
}

#[test]
fn an_outcome_of_a_transaction_that_is_not_in_flight_is_discarded_and_counted() {
    let mut script = script(|_| {});
    delivered(&mut script, 1);
    let sent = transaction(&mut script);
    commit(&mut script, sent.clone());
    commit(&mut script, sent);
    assert_eq!(
        script.noticed(|n| matches!(n, Notice::LateDiscarded { what: "transaction" })),
        1
    );
}

#[test]
fn offsets_that_the_group_refused_are_said_and_tried_again() {
    let mut script = script(|_| {});
    delivered(&mut script, 2);
    let sent = transaction(&mut script);
    let reason = "the group is moving".to_owned();
    abort(&mut script, sent, vec![Obstacle::Offsets { reason }]);
    assert_eq!(script.noticed(|n| matches!(n, Notice::CommitRefused { .. })), 1);
    script.wait(1_000);
    let again = transaction(&mut script);
    assert_eq!((results(&again, 0), memo(&again).0), (vec![0, 1], 2));
}

#[test]
fn an_operator_passes_over_results_that_no_transaction_holds() {
    let mut script = script(|_| {});
    let assignment = delivered(&mut script, 3);
    let _ = assignment;
    let sent = transaction(&mut script);
    let skip = |from, to| Event::Skip {
        source: source(0),
        from,
        to,
        reason: "known to be bad".into(),
    };
    script.give(skip(1, 1));
    let blocked = Receipt::Blocked(failure(404));
    abort(&mut script, sent, vec![from_sink(0, 0, blocked)]);
    let letters = transaction(&mut script);
    assert_eq!((lettered(&letters), results(&letters, 0)), (vec![1], vec![]));
    assert_eq!(memo(&letters).1.totals[4], 1);
    commit(&mut script, letters);
    script.wait(60_000);
    let again = transaction(&mut script);
    assert_eq!((results(&again, 0), memo(&again).0), (vec![0, 2], 3));
}

#[test]
fn one_transaction_holds_no_more_than_its_bounds_and_each_lane_has_its_turn() {
    let mut script = script(|s| {
        (s.ordering, s.in_flight_bytes, s.batch.max_records) = (Ordering::None, 80_000, 1_000);
    });
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..100);
    while !script.calls.is_empty() {
        let call = script.call();
        script.succeed(&call);
    }
    let mut seen = Vec::new();
    let mut transactions = 0;
    while seen.len() < 100 {
        script.wait(100);
        let sent = transaction(&mut script);
        let part = results(&sent, 0);
        assert!(part.len() <= 20_000 / 160 + 1, "{}", part.len());
        seen.extend(part);
        transactions += 1;
        commit(&mut script, sent);
        while !script.calls.is_empty() {
            let call = script.call();
            script.succeed(&call);
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
    assert!(transactions >= 1);
}

#[test]
fn a_memo_of_a_transaction_brings_the_next_owner_to_where_it_ended() {
    let mut script = script(|s| (s.ordering, s.batch.max_records) = (Ordering::None, 1));
    let assignment = script.assign(0);
    script.arrive(assignment, 0, 0..3);
    let calls: Vec<_> = std::iter::from_fn(|| script.calls.pop_front()).collect();
    script.succeed(&calls[2]);
    let sent = transaction(&mut script);
    let entry = sent.entries[0].clone();
    commit(&mut script, sent);
    let mut next = Script::with(|s| s.ordering = Ordering::None);
    let assignment = next.assign_at(0, entry.offset, Some(entry.memo));
    next.arrive(assignment, 0, 0..3);
    let called: Vec<i64> = next.calls.iter().flat_map(offsets).collect();
    assert_eq!(called, [0, 1], "2 was settled with the transaction");
}

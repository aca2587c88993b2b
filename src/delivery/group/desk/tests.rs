use super::*;

fn empty() -> Desk {
    let mut numbers = 1..;
    Desk::new(move || Assignment(numbers.next().unwrap()))
}

fn place(partition: i32) -> Place {
    ("orders".into(), partition)
}

fn committed(partition: i32, offset: i64) -> Resolved {
    Resolved {
        place: place(partition),
        committed: Some(CommittedOffset {
            offset,
            memo: Some("m".into()),
        }),
        begin: Begin::Committed(offset),
    }
}

fn begin(partition: i32, begin: Begin) -> Resolved {
    Resolved {
        begin,
        ..committed(partition, 5)
    }
}

fn first_new_log() -> Memo {
    Memo {
        generation: 1,
        ..Memo::default()
    }
}

/// A desk that holds partitions 0 and 1.
fn desk() -> (Desk, [Assignment; 2]) {
    let mut desk = empty();
    let ticket = desk.assign(vec![place(0), place(1)]);
    let mut events: Vec<GroupEvent> = Vec::new();
    let assign = desk.resolved(ticket, vec![committed(0, 5), committed(1, 7)], &mut events);
    assert_eq!(assign, Some(vec![(place(0), 5), (place(1), 7)]));
    let ids = [&events[0], &events[1]].map(|e| match e {
        GroupEvent::Assigned { assignment, .. } => *assignment,
        other => panic!("expected an assignment, found {other:?}"),
    });
    (desk, ids)
}

#[test]
fn partitions_are_let_go_when_the_last_of_a_revoke_is_released() {
    let (mut desk, [a, b]) = desk();
    let mut events: Vec<GroupEvent> = Vec::new();
    assert_eq!(desk.revoke(vec![place(0), place(1)], &mut events), None);
    assert!(matches!(events.as_slice(), [GroupEvent::Revoked(r)] if *r == [a, b]));
    assert_eq!(desk.release(a), None);
    assert_eq!(desk.release(b), Some(vec![place(0), place(1)]));
    assert!(desk.is_empty() && !desk.is_revoking());
}

#[test]
fn a_release_of_what_was_lost_meanwhile_is_ignored() {
    let (mut desk, [a, _]) = desk();
    let mut events: Vec<GroupEvent> = Vec::new();
    desk.revoke(vec![place(0)], &mut events);
    assert_eq!(desk.lose_revoke(&mut events), Some(vec![place(0)]));
    assert!(matches!(events.last(), Some(GroupEvent::Lost(l)) if *l == [a]));
    assert_eq!(desk.release(a), None);
}

#[test]
fn a_release_that_nobody_asked_for_lets_nothing_go() {
    let (mut desk, [a, _]) = desk();
    assert_eq!(desk.release(a), None);
    assert!(desk.get(a).is_some());
}

#[test]
fn what_is_not_held_is_let_go_at_once() {
    let (mut desk, _) = desk();
    assert_eq!(
        desk.revoke(vec![place(9)], &mut Vec::<GroupEvent>::new()),
        Some(vec![place(9)])
    );
}

#[test]
fn a_revoke_during_a_close_waits_for_what_is_draining_already() {
    let (mut desk, [a, b]) = desk();
    let mut events: Vec<GroupEvent> = Vec::new();
    desk.drain_all(&mut events);
    assert_eq!(desk.release(a), None);
    assert_eq!(desk.revoke(vec![place(0), place(1)], &mut events), None);
    assert_eq!(events.len(), 1, "nothing is named twice: {events:?}");
    assert_eq!(desk.release(b), Some(vec![place(0), place(1)]));
}

#[test]
fn what_was_found_out_for_an_old_ticket_is_discarded() {
    let mut desk = empty();
    let old = desk.assign(vec![place(0)]);
    let new = desk.assign(vec![place(0)]);
    assert_eq!(
        desk.resolved(old, vec![committed(0, 5)], &mut Vec::<GroupEvent>::new()),
        None
    );
    assert!(
        desk.resolved(new, vec![committed(0, 5)], &mut Vec::<GroupEvent>::new())
            .is_some()
    );
}

#[test]
fn what_is_taken_away_before_it_was_taken_up_is_not_taken_up() {
    let mut desk = empty();
    let ticket = desk.assign(vec![place(0)]);
    assert_eq!(
        desk.revoke(vec![place(0)], &mut Vec::<GroupEvent>::new()),
        Some(vec![place(0)])
    );
    assert_eq!(
        desk.resolved(ticket, vec![committed(0, 5)], &mut Vec::<GroupEvent>::new()),
        None
    );
}

#[test]
fn a_partition_that_comes_back_has_another_number() {
    let (mut desk, [a, _]) = desk();
    desk.lose(&[place(0)], &mut Vec::<GroupEvent>::new());
    let ticket = desk.assign(vec![place(0)]);
    desk.resolved(ticket, vec![committed(0, 5)], &mut Vec::<GroupEvent>::new());
    assert_ne!(desk.at(&place(0)).map(|s| s.assignment), Some(a));
}

#[test]
fn records_that_retention_removed_are_reported_as_a_range() {
    let mut desk = empty();
    let ticket = desk.assign(vec![place(0)]);
    let mut events: Vec<GroupEvent> = Vec::new();
    let overtaken = begin(0, Begin::Overtaken { committed: 5, low: 8 });
    let assign = desk.resolved(ticket, vec![overtaken], &mut events);
    assert_eq!(assign, Some(vec![(place(0), 8)]));
    assert!(matches!(
        events.as_slice(),
        [
            GroupEvent::Assigned {
                position: 5,
                memo: Some(_),
                started: Started::Committed,
                ..
            },
            GroupEvent::Overtaken { from: 5, to: 8, .. }
        ]
    ));
}

#[test]
fn a_recreated_topic_starts_at_its_beginning_without_the_old_memo() {
    let mut desk = empty();
    let ticket = desk.assign(vec![place(0)]);
    let mut events: Vec<GroupEvent> = Vec::new();
    let recreated = begin(0, Begin::Recreated { committed: 5, low: 0 });
    desk.resolved(ticket, vec![recreated], &mut events);
    assert!(matches!(
        events.as_slice(),
        [GroupEvent::Assigned {
            position: 0,
            memo: Some(memo),
            ..
        }] if Memo::decode(memo, 0).unwrap() == first_new_log()
    ));
}

#[test]
fn a_topic_recreated_while_it_is_read_is_another_assignment() {
    let (mut desk, [a, _]) = desk();
    let mut events: Vec<GroupEvent> = Vec::new();
    let seek = desk.out_of_range(a, Lost::Recreated { low: 0 }, &mut events);
    assert_eq!(seek, Some((place(0), 0)));
    assert!(matches!(events.as_slice(), [
        GroupEvent::Lost(l),
        GroupEvent::Assigned {
            assignment, position: 0, memo: Some(memo), started: Started::Recreated { committed: 5 }, ..
        }
    ] if *l == [a] && *assignment != a && Memo::decode(memo, 0).unwrap() == first_new_log()));
}

#[test]
fn a_partition_that_was_read_and_has_no_offset_any_more_is_another_log() {
    let (mut desk, [a, _]) = desk();
    desk.get_mut(a).unwrap().position = 9;
    desk.lose(&[place(0)], &mut Vec::<GroupEvent>::new());
    let mut events: Vec<GroupEvent> = Vec::new();
    let ticket = desk.assign(vec![place(0)]);
    let forgotten = Resolved {
        committed: None,
        ..begin(0, Begin::NewPartition(0))
    };
    desk.resolved(ticket, vec![forgotten], &mut events);
    assert!(matches!(events.as_slice(), [
        GroupEvent::Assigned { memo: Some(memo), started: Started::Recreated { committed: 5 }, .. }
    ] if Memo::decode(memo, 0).unwrap() == first_new_log()));
}

#[test]
fn a_partition_that_was_read_and_never_committed_comes_back_as_it_was() {
    let new = || Resolved {
        committed: None,
        ..begin(0, Begin::NewPartition(0))
    };
    let mut desk = empty();
    let mut events: Vec<GroupEvent> = Vec::new();
    for _ in 0..2 {
        let ticket = desk.assign(vec![place(0)]);
        desk.resolved(ticket, vec![new()], &mut events);
        let assignment = desk.at(&place(0)).unwrap().assignment;
        desk.get_mut(assignment).unwrap().position = 9;
        desk.lose(&[place(0)], &mut events);
    }
    let started = events.iter().filter_map(|event| match event {
        GroupEvent::Assigned { started, .. } => Some(*started),
        _ => None,
    });
    assert_eq!(started.collect::<Vec<_>>(), [Started::NewPartition; 2]);
}

#[test]
fn a_partition_that_is_drained_is_not_read_on() {
    let (mut desk, [a, _]) = desk();
    desk.revoke(vec![place(0)], &mut Vec::<GroupEvent>::new());
    assert_eq!(
        desk.out_of_range(a, Lost::Overtaken { to: 9 }, &mut Vec::<GroupEvent>::new()),
        None
    );
}

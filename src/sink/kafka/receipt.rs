//! What the broker's word on each result means for its record.

use super::request::Place;
use crate::delivery::answer::{Failure, Receipt};
use crate::kafka::{KafkaError, SendError};

/// What is known of the records of a request so far.
pub(super) struct Tally {
    receipts: Vec<Receipt>,
}

/// What is to be done about the results that were not sent yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Send from here on.
    From(usize),
    /// The window was full: the record at this place has results stored and others not, and goes on when there is room.
    Wait(usize),
    /// Nothing.
    End,
}

impl Tally {
    pub(super) fn new(items: usize) -> Tally {
        Tally {
            receipts: vec![Receipt::Stored; items],
        }
    }

    /// Takes in what became of `places[sent_from..]`, as far as they were sent.
    pub(super) fn take(&mut self, places: &[Place], sent_from: usize, results: Vec<Result<(), SendError>>) -> Next {
        let sent_to = sent_from + results.len();
        for (at, result) in (sent_from..).zip(results) {
            let Place { item, index, .. } = places[at];
            match result {
                Ok(()) => {}
                // What a record's first trouble is, is its receipt.
                Err(_) if self.receipts[item] != Receipt::Stored => {}
                Err(SendError::Full) => return self.full(places, sent_from, at),
                Err(error) => self.receipts[item] = receipt(error, index),
            }
        }
        if sent_to == places.len() {
            return Next::End;
        }
        match &self.receipts[places[sent_to - 1].item] {
            Receipt::Stored => Next::From(sent_to),
            // The results behind a refused one come before those of later records.
            _ => self.stop(&places[sent_to..]),
        }
    }

    pub(super) fn into_receipts(self) -> Vec<Receipt> {
        self.receipts
    }

    /// Nothing from `at` on was taken.
    fn full(&mut self, places: &[Place], sent_from: usize, at: usize) -> Next {
        let begun = at > 0 && places[at - 1].item == places[at].item;
        match (begun, at > sent_from) {
            // As the window took some, it takes more now that those are stored.
            (_, true) => Next::From(at),
            (true, false) => Next::Wait(at),
            (false, false) => self.stop(&places[at..]),
        }
    }

    fn stop(&mut self, places: &[Place]) -> Next {
        for place in places {
            if self.receipts[place.item] == Receipt::Stored {
                self.receipts[place.item] = Receipt::TryAgain(Failure::of("a result before it was not stored"));
            }
        }
        Next::End
    }
}

/// What the fate of one result means.
pub(super) fn receipt(error: SendError, index: usize) -> Receipt {
    match error {
        SendError::TooLarge(reason) | SendError::Refused(reason) => Receipt::Refused {
            index,
            failure: Failure::of(reason),
        },
        SendError::Denied(reason) | SendError::Missing(reason) => Receipt::Blocked(Failure::of(reason)),
        SendError::Away(reason) | SendError::Other(reason) => Receipt::Away(Failure::of(reason)),
        SendError::Full => Receipt::TryAgain(Failure::of("the producer's window is full")),
        SendError::Purged => Receipt::TryAgain(Failure::of("the producer was closed before the broker answered")),
    }
}

/// The topic's partitions can't be seen, and a result without a key waits for them.
pub(super) fn not_found(error: &KafkaError) -> Receipt {
    let failure = Failure::of(error.to_string());
    if error.kind.retriable() {
        Receipt::Away(failure)
    } else {
        Receipt::Blocked(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::{Kind, Right};

    /// Places by item: `[0, 1, 1]` is a record with one result and one with two.
    fn places(items: &[usize]) -> Vec<Place> {
        let place = |(at, item): (usize, &usize)| Place {
            item: *item,
            index: items[..at].iter().filter(|other| *other == item).count(),
            more: items.get(at + 1) == Some(item),
        };
        items.iter().enumerate().map(place).collect()
    }

    fn again() -> Receipt {
        Receipt::TryAgain(Failure::of("a result before it was not stored"))
    }

    fn refused(index: usize) -> Receipt {
        Receipt::Refused {
            index,
            failure: Failure::of("big"),
        }
    }

    fn big() -> Result<(), SendError> {
        Err(SendError::TooLarge("big".into()))
    }

    #[test]
    fn the_first_result_that_failed_speaks_for_its_record() {
        let mut tally = Tally::new(3);
        let results = vec![Ok(()), big(), Err(SendError::Purged), Ok(())];
        assert_eq!(tally.take(&places(&[0, 1, 1, 2]), 0, results), Next::End);
        assert_eq!(tally.into_receipts(), [Receipt::Stored, refused(0), Receipt::Stored]);
    }

    #[test]
    fn what_stands_behind_a_refused_result_of_a_record_waits_for_the_next_request() {
        let (mut tally, places) = (Tally::new(3), places(&[0, 1, 1, 2]));
        assert_eq!(tally.take(&places, 0, vec![Ok(()), big()]), Next::End);
        assert_eq!(tally.into_receipts(), [Receipt::Stored, refused(0), again()]);
    }

    #[test]
    fn a_large_result_that_was_taken_after_all_is_followed_by_the_others() {
        let (mut tally, places) = (Tally::new(2), places(&[0, 0, 1]));
        assert_eq!(tally.take(&places, 0, vec![Ok(())]), Next::From(1));
        assert_eq!(tally.take(&places, 1, vec![Ok(()), Ok(())]), Next::End);
        assert_eq!(tally.into_receipts(), [Receipt::Stored, Receipt::Stored]);
    }

    #[test]
    fn a_full_window_is_waited_for_only_in_the_middle_of_a_record() {
        let full = || Err(SendError::Full);
        let (mut tally, places) = (Tally::new(3), places(&[0, 1, 1, 2]));
        assert_eq!(
            tally.take(&places, 0, vec![Ok(()), Ok(()), full(), full()]),
            Next::From(2)
        );
        assert_eq!(tally.take(&places, 2, vec![full(), full()]), Next::Wait(2));
        assert_eq!(tally.take(&places, 2, vec![Ok(()), full()]), Next::From(3));
        assert_eq!(tally.take(&places, 3, vec![full()]), Next::End);
        assert_eq!(tally.into_receipts(), [Receipt::Stored, Receipt::Stored, again()]);
    }

    #[test]
    fn every_error_has_its_meaning() {
        let of = |error: SendError| receipt(error, 3);
        for wrong in [SendError::Denied, SendError::Missing] {
            assert_eq!(of(wrong("why".into())), Receipt::Blocked(Failure::of("why")));
        }
        for away in [SendError::Away, SendError::Other] {
            assert_eq!(of(away("why".into())), Receipt::Away(Failure::of("why")));
        }
        assert_eq!(of(SendError::Refused("big".into())), refused(3));
        assert!(matches!(of(SendError::Purged), Receipt::TryAgain(_)));
        assert!(matches!(of(SendError::Full), Receipt::TryAgain(_)));
    }

    #[test]
    fn a_right_that_is_missing_is_named_and_a_cluster_that_is_away_is_waited_for() {
        let error = |kind, right| KafkaError {
            kind,
            right,
            text: "could not see topic `t`".into(),
        };
        let denied = error(
            Kind::Denied(crate::kafka::Resource::Topic),
            Some(Right::DescribeTopic("t".into())),
        );
        let Receipt::Blocked(failure) = not_found(&denied) else {
            panic!("a missing right blocks")
        };
        assert!(failure.reason.contains("grant Describe"), "{}", failure.reason);
        assert!(matches!(not_found(&error(Kind::Away, None)), Receipt::Away(_)));
    }
}

//! What the broker's word on each result means for its record.

use crate::delivery::answer::{Failure, Receipt};
use crate::kafka::SendError;

/// A receipt for each of `items` records, from the fate of each result; `places` says whose each result is.
pub(super) fn receipts(items: usize, places: &[(usize, usize)], results: Vec<Result<(), SendError>>) -> Vec<Receipt> {
    let mut receipts = vec![Receipt::Stored; items];
    for ((item, index), result) in places.iter().zip(results) {
        if let (Err(error), Receipt::Stored) = (result, &receipts[*item]) {
            receipts[*item] = receipt(error, *index);
        }
    }
    receipts
}

/// What the fate of one result means.
fn receipt(error: SendError, index: usize) -> Receipt {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_result_that_failed_speaks_for_its_record() {
        let results = vec![
            Ok(()),
            Err(SendError::TooLarge("big".into())),
            Err(SendError::Purged),
            Ok(()),
        ];
        let receipts = receipts(3, &[(0, 0), (1, 0), (1, 1), (2, 0)], results);
        assert_eq!(
            receipts,
            [
                Receipt::Stored,
                Receipt::Refused {
                    index: 0,
                    failure: Failure::of("big")
                },
                Receipt::Stored
            ]
        );
    }

    #[test]
    fn a_missing_right_or_topic_blocks_and_an_outage_is_waited_for() {
        assert!(matches!(
            receipt(SendError::Denied("grant".into()), 0),
            Receipt::Blocked(_)
        ));
        assert!(matches!(
            receipt(SendError::Missing("topic".into()), 0),
            Receipt::Blocked(_)
        ));
        assert!(matches!(receipt(SendError::Away("away".into()), 0), Receipt::Away(_)));
    }
}

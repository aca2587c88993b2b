//! What an answer means to the results that were sent.

use std::time::SystemTime;

use bytes::Bytes;
use hyper::StatusCode;

use crate::auth::Unproven;
use crate::delivery::answer::{Failure, Receipt};
use crate::delivery::time::Millis;
use crate::http::{HttpAnswer, HttpError, retry_after};

/// The beginning of an answer that a failure keeps.
const KEPT_RESPONSE_BYTES: usize = 4096;

/// What an answer means.
pub(super) enum Meaning {
    /// All are stored.
    Stored,
    /// One of them is refused, or all.
    Refused(Failure),
    /// None is stored, and that says nothing against them.
    Elsewise(Receipt),
}

/// What is away is waited for, after 429 and 503 as long as `retry-after` asks; 401, 403 and 404 block and are said, 400, 413 and 422 refuse the record.
pub(super) fn meaning(answer: Result<HttpAnswer, HttpError>) -> Meaning {
    match answer {
        Ok(answer) => match (of_status(answer.status, &answer.body), asked_wait(&answer)) {
            (Meaning::Elsewise(Receipt::Away(failure)), Some(wait)) => {
                Meaning::Elsewise(Receipt::AwayFor(failure, wait))
            }
            (meaning, _) => meaning,
        },
        Err(error @ HttpError::Denied(_)) => Meaning::Elsewise(Receipt::Blocked(Failure::of(error.to_string()))),
        // 2xx with a long body: what it says does not matter.
        Err(HttpError::TooLarge { status, .. }) if status.is_success() => Meaning::Stored,
        Err(error) => Meaning::Elsewise(Receipt::Away(Failure::of(error.to_string()))),
    }
}

fn asked_wait(answer: &HttpAnswer) -> Option<Millis> {
    match answer.status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            retry_after(&answer.headers, SystemTime::now())
        }
        _ => None,
    }
}

fn of_status(status: StatusCode, body: &Bytes) -> Meaning {
    let failure = || Failure {
        reason: format!("the sink answered {status}, expected 2xx"),
        status: Some(status.as_u16()),
        response: body.slice(..body.len().min(KEPT_RESPONSE_BYTES)),
    };
    match status.as_u16() {
        200..=299 => Meaning::Stored,
        400 | 413 | 422 => Meaning::Refused(failure()),
        408 | 425 | 429 | 500..=599 => Meaning::Elsewise(Receipt::Away(failure())),
        100..=199
        | 300..=399
        | 401..=407
        | 409..=412
        | 414..=421
        | 423
        | 424
        | 426..=428
        | 430..=499
        | 0..=99
        | 600.. => Meaning::Elsewise(Receipt::Blocked(failure())),
    }
}

/// The request could not even be written down.
pub(super) fn not_sendable(reason: &str) -> Meaning {
    Meaning::Elsewise(Receipt::Blocked(Failure::of(format!(
        "the request's idempotency key can't be sent: {reason}"
    ))))
}

/// What can't be signed is not sent: whoever gives proof out is waited for, or blocks and is said.
pub(super) fn not_signed(why: Unproven) -> Meaning {
    Meaning::Elsewise(match why {
        Unproven::Away(reason) => Receipt::Away(Failure::of(reason)),
        Unproven::Wrong(reason) => Receipt::Blocked(Failure::of(reason)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_means_what_the_contract_says() {
        let kind = |status: u16| match of_status(StatusCode::from_u16(status).unwrap(), &Bytes::new()) {
            Meaning::Stored => "stored",
            Meaning::Refused(_) => "refused",
            Meaning::Elsewise(Receipt::Away(_)) => "away",
            Meaning::Elsewise(Receipt::Blocked(_)) => "blocked",
            Meaning::Elsewise(_) => "other",
        };
        for (statuses, expected) in [
            (&[200, 201, 202, 204][..], "stored"),
            (&[400, 413, 422], "refused"),
            (&[408, 425, 429, 500, 502, 503, 504], "away"),
            (&[301, 401, 403, 404, 405, 410, 409], "blocked"),
        ] {
            statuses
                .iter()
                .for_each(|status| assert_eq!(kind(*status), expected, "{status}"));
        }
    }
}

//! What a status and its headers mean.

use std::collections::BTreeMap;
use std::time::SystemTime;

use hyper::StatusCode;
use hyper::header::{DATE, HeaderMap, HeaderName};

use super::settings::Override;
use crate::delivery::answer::{Answer, Failure};
use crate::delivery::time::Millis;
use crate::http::{HttpAnswer, retry_after};

/// Clocks that differ by less have nothing to do with an answer.
const WORTH_A_WORD_MINUTES: u64 = 4;

/// Headers by which a platform says on a 2xx that the function failed.
const FUNCTION_ERRORS: [HeaderName; 2] = [
    HeaderName::from_static("x-fc-error-type"),
    HeaderName::from_static("x-amz-function-error"),
];

/// What an answer is, before its body is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// 2xx: the body says what became of each record.
    Done,
    /// 2xx with a header that says that the function failed: a failed attempt, and why.
    FunctionError(String),
    /// A failed attempt.
    Failed,
    /// The function refuses this data.
    Refused,
    /// The batch is too large.
    TooLarge,
    /// The function is busy.
    Busy {
        retry_after: Option<Millis>,
        unavailable: bool,
    },
    /// The registration is wrong.
    Misregistered,
    /// `responses` says what to do.
    Overridden(Override),
}

/// What an answer's head means. A 2xx whose headers say that the function failed has failed, whatever `overrides` say of
/// its status.
pub(super) fn classify(
    status: u16,
    headers: &HeaderMap,
    overrides: &BTreeMap<u16, Override>,
    now: SystemTime,
) -> Class {
    if let (200..=299, Some(reason)) = (status, function_error(status, headers)) {
        return Class::FunctionError(reason);
    }
    if let Some(chosen) = overrides.get(&status) {
        return Class::Overridden(*chosen);
    }
    match status {
        200..=299 => Class::Done,
        400 | 422 => Class::Refused,
        413 => Class::TooLarge,
        429 | 503 => Class::Busy {
            retry_after: retry_after(headers, now),
            unavailable: status == 503,
        },
        401 | 403 | 404 | 405 | 410 | 300..=399 => Class::Misregistered,
        _ => Class::Failed,
    }
}

/// The answer that a class other than `Done` comes to.
pub(super) fn answer(class: Class, failure: Failure) -> Answer {
    match class {
        Class::Done | Class::FunctionError(_) | Class::Failed => Answer::Failed(failure),
        Class::Refused => Answer::Refused(failure),
        Class::TooLarge => Answer::TooLarge(failure),
        Class::Busy {
            retry_after,
            unavailable,
        } => Answer::Busy {
            failure,
            retry_after,
            unavailable,
        },
        Class::Misregistered => Answer::Misregistered(failure),
        Class::Overridden(Override::Retry) => Answer::Failed(failure),
        Class::Overridden(Override::Drop) => Answer::Drop(failure),
        Class::Overridden(Override::DeadLetter) => Answer::DeadLetter(failure),
        Class::Overridden(Override::DeliverNothing) => Answer::DeliverNothing,
        Class::Overridden(Override::Block) => Answer::Block(failure),
    }
}

/// What is said of an answer that is not a success.
pub(super) fn reason(answer: &HttpAnswer, now: SystemTime) -> String {
    let said = reason_of(answer.status);
    match answer.status.as_u16() {
        401 | 403 => format!("{said}{}", other_clock(&answer.headers, now).unwrap_or_default()),
        _ => said,
    }
}

/// Signatures hold for a few minutes: clocks that differ by more are worth a word.
fn other_clock(headers: &HeaderMap, now: SystemTime) -> Option<String> {
    let there = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let (apart, which) = match there.duration_since(now) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    let minutes = apart.as_secs() / 60;
    (minutes >= WORTH_A_WORD_MINUTES).then(|| format!("; its clock is {minutes} minutes {which} this worker's"))
}

fn reason_of(status: StatusCode) -> String {
    let hint = match status.as_u16() {
        300..=399 => ": redirects are not followed, set function.url to where it leads",
        401 | 403 => ": check the pipeline's credentials for the function",
        404 | 405 | 410 => ": check function.url",
        413 => ": the batch is too large for it",
        _ => "",
    };
    let name = status
        .canonical_reason()
        .map_or(String::new(), |name| format!(" {name}"));
    format!("the function answered {}{name}{hint}", status.as_u16())
}

fn function_error(status: u16, headers: &HeaderMap) -> Option<String> {
    FUNCTION_ERRORS.iter().find_map(|name| {
        let said: String = String::from_utf8_lossy(headers.get(name)?.as_bytes())
            .chars()
            .take(100)
            .collect();
        Some(format!("the function failed: it answered {status} with {name}: {said}"))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::header::HeaderValue;

    use super::*;

    const NOON: Duration = Duration::from_secs(1_764_072_000); // Tue, 25 Nov 2025 12:00:00 GMT

    fn class(status: u16, headers: &[(&'static str, &'static str)], overrides: &[(u16, Override)]) -> Class {
        let headers = (headers.iter())
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let overrides = overrides.iter().copied().collect();
        classify(status, &headers, &overrides, SystemTime::UNIX_EPOCH + NOON)
    }

    fn busy(retry_after: Option<u64>, unavailable: bool) -> Class {
        Class::Busy {
            retry_after: retry_after.map(Millis::secs),
            unavailable,
        }
    }

    #[test]
    fn each_status_means_what_the_table_says() {
        for status in 100..=599 {
            let expected = match status {
                200..=299 => Class::Done,
                400 | 422 => Class::Refused,
                413 => Class::TooLarge,
                429 => busy(None, false),
                503 => busy(None, true),
                401 | 403 | 404 | 405 | 410 => Class::Misregistered,
                300..=399 => Class::Misregistered,
                408 | 425 | 500 | 502 | 504 => Class::Failed,
                501 | 505..=599 => Class::Failed,
                _anything_else => Class::Failed,
            };
            assert_eq!(class(status, &[], &[]), expected, "{status}");
        }
    }

    #[test]
    fn a_success_whose_headers_say_that_the_function_failed_has_failed() {
        for header in [
            ("x-fc-error-type", "UnhandledInvocationError"),
            ("x-amz-function-error", "Unhandled"),
        ] {
            let Class::FunctionError(reason) = class(200, &[header], &[]) else {
                panic!("{header:?} is a failed attempt");
            };
            let said = format!("the function failed: it answered 200 with {}: {}", header.0, header.1);
            assert_eq!(reason, said);
            let settled = class(200, &[header], &[(200, Override::DeliverNothing)]);
            assert!(matches!(settled, Class::FunctionError(_)), "no override hides it");
            assert_eq!(
                class(404, &[header], &[]),
                Class::Misregistered,
                "elsewhere the status decides"
            );
        }
    }

    #[test]
    fn responses_override_a_status_and_leave_the_others() {
        use Override::{Block, DeadLetter, DeliverNothing, Drop, Retry};
        for chosen in [Retry, Drop, DeadLetter, DeliverNothing, Block] {
            for status in [200, 302, 400, 401, 409, 413, 429, 500, 503] {
                assert_eq!(
                    class(status, &[("retry-after", "1")], &[(status, chosen)]),
                    Class::Overridden(chosen)
                );
            }
        }
        assert_eq!(class(500, &[], &[(409, Drop)]), Class::Failed);
    }

    #[test]
    fn each_override_is_an_answer_of_its_own() {
        let failure = Failure::of("the function answered 409 Conflict");
        let answered = |chosen| answer(Class::Overridden(chosen), failure.clone());
        assert_eq!(answered(Override::Retry), Answer::Failed(failure.clone()));
        assert_eq!(answered(Override::Drop), Answer::Drop(failure.clone()));
        assert_eq!(answered(Override::DeadLetter), Answer::DeadLetter(failure.clone()));
        assert_eq!(answered(Override::DeliverNothing), Answer::DeliverNothing);
        assert_eq!(answered(Override::Block), Answer::Block(failure.clone()));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_at_most_a_quarter_of_an_hour() {
        type Row = (&'static [(&'static str, &'static str)], Option<u64>);
        let table: [Row; 11] = [
            (&[], None),
            (&[("retry-after", "7")], Some(7)),
            (&[("retry-after", "0")], Some(0)),
            (&[("retry-after", "3600")], Some(900)),
            (&[("retry-after", "99999999999999999999999")], Some(900)),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "soon")], None),
            (&[("retry-after", "Tue, 25 Nov 2025 12:00:30 GMT")], Some(30)),
            (&[("retry-after", "Tue, 25 Nov 2025 11:00:00 GMT")], Some(0)),
            (&[("retry-after", "Wed, 26 Nov 2025 12:00:00 GMT")], Some(900)),
            (
                &[
                    ("retry-after", "Tue, 25 Nov 2025 10:00:10 GMT"),
                    ("date", "Tue, 25 Nov 2025 10:00:00 GMT"),
                ],
                Some(10),
            ),
        ];
        for (headers, seconds) in table {
            assert_eq!(class(429, headers, &[]), busy(seconds, false), "{headers:?}");
            assert_eq!(class(503, headers, &[]), busy(seconds, true), "{headers:?}");
        }
    }

    #[test]
    fn reasons_are_one_sentence_with_a_hint_where_there_is_one() {
        let said = |status| reason_of(StatusCode::from_u16(status).unwrap());
        assert_eq!(said(500), "the function answered 500 Internal Server Error");
        assert_eq!(said(599), "the function answered 599");
        assert_eq!(said(404), "the function answered 404 Not Found: check function.url");
        assert!(said(301).contains("redirects are not followed"));
    }
}

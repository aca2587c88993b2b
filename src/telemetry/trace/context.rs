//! W3C trace contexts, as `traceparent` headers carry them.

use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};

use crate::delivery::record::Record;

/// The header's name, on records as on requests.
const TRACEPARENT: &str = "traceparent";

const LENGTH: usize = 55;

/// A trace context as text: `00-<trace>-<span>-<flags>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traceparent([u8; LENGTH]);

impl Traceparent {
    pub(super) fn new(trace: u128, span: u64, flags: u8) -> Traceparent {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        hex(&mut text[3..35], &trace.to_be_bytes());
        hex(&mut text[36..52], &span.to_be_bytes());
        hex(&mut text[53..], &[flags]);
        Traceparent(text)
    }

    /// A new trace. It says `sampled`, as a caller without a tracer has nothing against the function's spans.
    pub(super) fn random() -> Traceparent {
        Traceparent::new(fastrand::u128(1..), fastrand::u64(1..), 1)
    }

    pub(super) fn of(context: &SpanContext) -> Traceparent {
        let (trace, span) = (context.trace_id().to_bytes(), context.span_id().to_bytes());
        let (trace, span) = (u128::from_be_bytes(trace), u64::from_be_bytes(span));
        Traceparent::new(trace, span, context.trace_flags().to_u8())
    }

    /// The context that a record carries, if it carries a valid one.
    pub(super) fn carried(record: &Record) -> Option<Traceparent> {
        let header = record.headers.iter().find(|header| header.name == TRACEPARENT)?;
        let text: [u8; LENGTH] = header.value.as_deref()?.get(..LENGTH)?.try_into().ok()?;
        let whole = header.value.as_deref()?.len() == LENGTH;
        // A later version may say more behind the flags.
        let well_formed = (whole || (&text[..2] != b"00" && header.value.as_deref()?[LENGTH] == b'-'))
            && text[2] == b'-'
            && text[35] == b'-'
            && text[52] == b'-'
            && &text[..2] != b"ff"
            && [&text[..2], &text[3..35], &text[36..52], &text[53..]]
                .iter()
                .all(|part| part.iter().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')))
            && text[3..35].iter().any(|c| *c != b'0')
            && text[36..52].iter().any(|c| *c != b'0');
        well_formed.then_some(Traceparent(text))
    }

    pub(super) fn as_str(&self) -> &str {
        // Only ASCII is ever put in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(super) fn context(&self) -> SpanContext {
        let text = self.as_str();
        let trace = u128::from_str_radix(&text[3..35], 16).unwrap_or_default();
        let span = u64::from_str_radix(&text[36..52], 16).unwrap_or_default();
        let flags = u8::from_str_radix(&text[53..], 16).unwrap_or_default();
        SpanContext::new(
            TraceId::from_bytes(trace.to_be_bytes()),
            SpanId::from_bytes(span.to_be_bytes()),
            TraceFlags::new(flags),
            true,
            TraceState::default(),
        )
    }
}

fn hex(into: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in into.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::bad_bytes::bad_bytes;
    use crate::delivery::record::{Header, TopicPartition};

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn carrying(value: impl AsRef<[u8]>) -> Record {
        Record {
            source: TopicPartition {
                topic: "t".into(),
                partition: 0,
            },
            offset: 0,
            generation: 0,
            timestamp_ms: 0,
            key: None,
            value: None,
            headers: vec![Header {
                name: TRACEPARENT.into(),
                value: Some(Bytes::copy_from_slice(value.as_ref())),
            }],
        }
    }

    #[test]
    fn a_valid_context_is_taken_as_it_is() {
        let carried = Traceparent::carried(&carrying(GOOD)).expect("valid");
        assert_eq!(carried.as_str(), GOOD);
        assert_eq!(Traceparent::of(&carried.context()), carried);
    }

    #[test]
    fn a_context_that_is_not_valid_is_none() {
        let bad = [
            "",
            "00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
        ];
        for text in bad {
            assert_eq!(Traceparent::carried(&carrying(text)), None, "{text}");
        }
        assert!(Traceparent::carried(&carrying(format!("cc{}-more", &GOOD[2..]))).is_some());
    }

    #[test]
    fn a_new_trace_is_a_valid_context_and_never_the_same() {
        let (one, other) = (Traceparent::random(), Traceparent::random());
        assert_eq!(Traceparent::carried(&carrying(one.as_str())), Some(one));
        assert_ne!(one, other);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_a_record_carries_what_is_passed_on_is_valid(value in bad_bytes("traceparents")) {
            if let Some(carried) = Traceparent::carried(&carrying(&value)) {
                prop_assert_eq!(carried.as_str().as_bytes(), &value[..LENGTH]);
                prop_assert!(carried.context().is_valid());
                let passed_on = Traceparent::of(&carried.context());
                prop_assert_eq!(Traceparent::carried(&carrying(passed_on.as_str())), Some(passed_on));
            }
        }
    }
}

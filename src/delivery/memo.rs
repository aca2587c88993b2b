//! The memo: what a task writes beside a committed offset, as Kafka's offset metadata.
//!
//! `fnb1.` and base64url of: ordering, running totals by disposition, failed records that stand alone, failed batches
//! with their boundaries, records settled ahead of the offset, the log's generation unless it is 0; then a CRC-32 of all this and of the offset itself, so
//! that a memo beside an offset that somebody moved is not believed. Numbers are LEB128.

#[cfg(test)]
mod bad;

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::offsets::{MAX_OFFSETS, ahead, put_offsets, put_varint, take_offsets, take_varint, worst_bytes};
use crate::settings::Ordering;

/// The longest memo, in characters: Kafka's default for `offset.metadata.max.bytes` is 4,096.
pub const MAX_CHARS: usize = 4000;

const PREFIX: &str = "fnb1.";
const CHECKSUM_BYTES: usize = 4;
/// What fits between prefix and checksum once base64 has taken its third.
const MAX_BODY_BYTES: usize = (MAX_CHARS - PREFIX.len()) / 4 * 3 - CHECKSUM_BYTES;
/// Ordering, six totals, a byte, three counts and a generation, at their longest.
const FIXED_BYTES: usize = 1 + 6 * 9 + 1 + 3 * 3 + 5;

/// What stands beside a committed offset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memo {
    /// The ordering that the boundaries were cut under.
    pub ordering: Option<Ordering>,
    /// Records by disposition since the pipeline first ran, in [`crate::answer::Disposition::ALL`]'s order.
    pub totals: [u64; 6],
    /// Batches that were called and are not settled, in the order in which they are to be called.
    pub batches: Vec<MemoBatch>,
    /// Offsets settled ahead of the committed one, ascending.
    pub settled: Vec<i64>,
    /// Which of the logs that had this partition's name it is about, from 0: the same offset names another record in each.
    pub generation: u32,
}

/// A batch that was called and is not settled: its parts, in the order in which they are to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoBatch {
    /// One part if the batch was never halved.
    pub parts: Vec<MemoPart>,
}

/// Records that go into one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoPart {
    /// Failed attempts that carried them.
    pub attempts: u32,
    /// They came out of a halving because the attempts were used up.
    pub split: bool,
    /// The one record has failed since it stands alone.
    pub failed_alone: bool,
    /// Ascending.
    pub offsets: Vec<i64>,
}

/// Attempts beyond this are written as this many.
const MAX_MARKED_ATTEMPTS: u32 = 2047;

impl MemoPart {
    fn mark(&self) -> u64 {
        let attempts = self.attempts.min(MAX_MARKED_ATTEMPTS);
        u64::from(attempts) << 2 | u64::from(self.failed_alone) << 1 | u64::from(self.split)
    }

    fn from_mark(mark: u64, offsets: Vec<i64>) -> Option<MemoPart> {
        let attempts = u32::try_from(mark >> 2).ok().filter(|it| *it <= MAX_MARKED_ATTEMPTS)?;
        Some(MemoPart {
            attempts,
            split: mark & 1 == 1,
            failed_alone: mark & 2 == 2,
            offsets,
        })
    }
}

impl Memo {
    /// What stands beside `low`, the first offset of a log that took the place of another: the totals go on, the rest was
    /// about the other log. `old` is what stood beside its committed offset; one that can't be read counts as the first.
    pub fn of_new_log(old: Option<&str>, committed: i64, low: i64) -> String {
        let old = old
            .and_then(|text| Memo::decode(text, committed).ok())
            .unwrap_or_default();
        let new = Memo {
            totals: old.totals,
            generation: old.generation.saturating_add(1),
            ..Memo::default()
        };
        new.encode(low)
    }

    /// Writes the memo for the committed offset `base`. Every offset in it is at or above `base`.
    pub fn encode(&self, base: i64) -> String {
        let mut body = Vec::with_capacity(128);
        body.push(ordering_byte(self.ordering));
        self.totals.iter().for_each(|total| put_varint(&mut body, *total));
        let (alone, batches): (Vec<_>, Vec<_>) = self.batches.iter().partition(|b| b.stands_alone());
        let alone: Vec<&MemoPart> = alone.into_iter().map(|b| &b.parts[0]).collect();
        body.extend(shorter(list_of_lone(&alone, base), groups_of_lone(&alone, base)));
        put_varint(&mut body, batches.len() as u64);
        for batch in batches {
            body.extend(shorter(parts_of(batch, base), marks_of(batch, base)));
        }
        put_offsets(&mut body, base, &self.settled);
        if self.generation > 0 {
            put_varint(&mut body, u64::from(self.generation));
        }
        let checksum = checksum(&body, base);
        body.extend_from_slice(&checksum);
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&body))
    }

    fn names_an_offset_twice(&self) -> bool {
        let parts = self.batches.iter().flat_map(|batch| &batch.parts);
        let failed = parts.flat_map(|part| &part.offsets);
        let mut named: Vec<i64> = failed.chain(&self.settled).copied().collect();
        named.sort_unstable();
        named.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// Reads a memo that stands beside the committed offset `base`.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence: another version, a wrong checksum, a body that is cut short.
    pub fn decode(text: &str, base: i64) -> Result<Memo, String> {
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            return Err(format!(
                "it does not begin with `{PREFIX}`, the version that this worker writes"
            ));
        };
        let bytes = URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|e| format!("it is not base64url: {e}"))?;
        let Some((body, found)) = bytes.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Err("it is shorter than its checksum".into());
        };
        if *found != checksum(body, base) {
            return Err(format!("its checksum does not match offset {base}"));
        }
        let memo = decode_body(&mut &*body, base).ok_or("its body is cut short, or too long")?;
        match memo.names_an_offset_twice() {
            false => Ok(memo),
            true => Err("it says different things of the same record".into()),
        }
    }
}

impl MemoBatch {
    /// A record that stands alone, with its attempts. It gets one more call at most, where they are used up.
    pub(crate) fn alone(offset: i64, attempts: u32) -> MemoBatch {
        MemoBatch {
            parts: vec![MemoPart {
                attempts,
                split: false,
                failed_alone: false,
                offsets: vec![offset],
            }],
        }
    }

    fn stands_alone(&self) -> bool {
        self.parts.len() == 1 && self.parts[0].offsets.len() == 1
    }
}

/// Two ways to write the same, told apart by the first byte.
const BY_PART: u8 = 0;
const BY_RECORD: u8 = 1;

fn shorter(one: Vec<u8>, other: Vec<u8>) -> Vec<u8> {
    if one.len() <= other.len() { one } else { other }
}

/// Records that stand alone, one by one.
fn list_of_lone(parts: &[&MemoPart], base: i64) -> Vec<u8> {
    let mut parts = parts.to_vec();
    parts.sort_by_key(|part| part.offsets[0]);
    let mut out = vec![BY_RECORD];
    put_varint(&mut out, parts.len() as u64);
    let mut next = base;
    for part in parts {
        put_varint(&mut out, (part.offsets[0] - next) as u64);
        put_varint(&mut out, part.mark());
        next = part.offsets[0];
    }
    out
}

/// Records that stand alone, those of the same mark together.
fn groups_of_lone(parts: &[&MemoPart], base: i64) -> Vec<u8> {
    let mut groups: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
    for part in parts {
        groups.entry(part.mark()).or_default().push(part.offsets[0]);
    }
    let mut out = vec![BY_PART];
    put_varint(&mut out, groups.len() as u64);
    for (mark, mut offsets) in groups {
        offsets.sort_unstable();
        put_varint(&mut out, mark);
        put_offsets(&mut out, base, &offsets);
    }
    out
}

/// A batch, part by part.
fn parts_of(batch: &MemoBatch, base: i64) -> Vec<u8> {
    let mut out = vec![BY_PART];
    put_varint(&mut out, batch.parts.len() as u64);
    for part in &batch.parts {
        put_varint(&mut out, part.mark());
        put_offsets(&mut out, base, &part.offsets);
    }
    out
}

/// A scattered batch: its offsets, and a mark for each, with a bit that says where a part begins. Parts that lie between
/// each other come back cut into runs.
fn marks_of(batch: &MemoBatch, base: i64) -> Vec<u8> {
    let parts = batch.parts.iter().enumerate();
    let mut records: Vec<(i64, usize, u64)> = parts
        .flat_map(|(at, part)| part.offsets.iter().map(move |o| (*o, at, part.mark())))
        .collect();
    records.sort_unstable();
    let mut out = vec![BY_RECORD];
    put_offsets(
        &mut out,
        base,
        &records.iter().map(|(offset, ..)| *offset).collect::<Vec<_>>(),
    );
    let mut before = None;
    for (_, at, mark) in records {
        put_varint(&mut out, mark << 1 | u64::from(before != Some(at)));
        before = Some(at);
    }
    out
}

/// An upper bound on what a batch may come to take in the memo, whatever becomes of it.
pub(crate) fn worst_batch_bytes(records: usize, span: usize) -> usize {
    match records {
        1 => worst_lone_bytes(1, 1, span),
        _ => 1 + worst_bytes(records, span) + MARK_BYTES * records,
    }
}

/// An upper bound on what records that stand alone take, but for a share of the span that [`fits`] adds once.
pub(crate) fn worst_lone_bytes(records: usize, marks: usize, span: usize) -> usize {
    let grouped = marks * (MARK_BYTES + worst_bytes(records, span));
    ((1 + MARK_BYTES) * records).min(grouped)
}

/// The longest mark of a record.
const MARK_BYTES: usize = 2;

/// Whether a memo with batches that may take `batch_bytes` fits, when any of `records` records within `span` of the
/// committed offset may be settled ahead.
pub(crate) fn fits(batch_bytes: usize, records: usize, span: usize) -> bool {
    FIXED_BYTES + batch_bytes + span / 128 + worst_bytes(records, span) <= MAX_BODY_BYTES
}

fn decode_body(bytes: &mut &[u8], base: i64) -> Option<Memo> {
    let mut memo = Memo {
        ordering: byte_ordering(take_byte(bytes)?)?,
        ..Memo::default()
    };
    for total in &mut memo.totals {
        // No log has had more records.
        *total = take_varint(bytes)?.min(i64::MAX as u64);
    }
    let mut left = MAX_OFFSETS;
    take_lone(bytes, base, &mut left, &mut memo.batches)?;
    for _ in 0..take_varint(bytes)? {
        memo.batches.push(take_batch(bytes, base, &mut left)?);
    }
    memo.settled = take_offsets(bytes, base, &mut left)?;
    if !bytes.is_empty() {
        memo.generation = u32::try_from(take_varint(bytes)?).ok()?;
    }
    bytes.is_empty().then_some(memo)
}

fn take_byte(bytes: &mut &[u8]) -> Option<u8> {
    let (&byte, rest) = bytes.split_first()?;
    *bytes = rest;
    Some(byte)
}

fn take_lone(bytes: &mut &[u8], base: i64, left: &mut usize, batches: &mut Vec<MemoBatch>) -> Option<()> {
    let by = take_byte(bytes)?;
    let mut next = base;
    for _ in 0..take_varint(bytes)? {
        let (offsets, mark) = match by {
            BY_RECORD => {
                next = ahead(next, take_varint(bytes)?)?;
                (vec![next], take_varint(bytes)?)
            }
            BY_PART => {
                let mark = take_varint(bytes)?;
                (take_offsets(bytes, base, left)?, mark)
            }
            _ => return None,
        };
        for offset in offsets {
            let part = MemoPart::from_mark(mark, vec![offset])?;
            batches.push(MemoBatch { parts: vec![part] });
        }
    }
    batches.sort_by_key(|batch| batch.parts[0].offsets[0]);
    Some(())
}

fn take_batch(bytes: &mut &[u8], base: i64, left: &mut usize) -> Option<MemoBatch> {
    let mut parts: Vec<MemoPart> = Vec::new();
    match take_byte(bytes)? {
        BY_PART => {
            for _ in 0..take_varint(bytes)? {
                let mark = take_varint(bytes)?;
                parts.push(MemoPart::from_mark(mark, take_offsets(bytes, base, left)?)?);
            }
        }
        BY_RECORD => {
            for offset in take_offsets(bytes, base, left)? {
                let mark = take_varint(bytes)?;
                match parts.last_mut().filter(|_| mark & 1 == 0) {
                    Some(part) => part.offsets.push(offset),
                    None => parts.push(MemoPart::from_mark(mark >> 1, vec![offset])?),
                }
            }
        }
        _ => return None,
    }
    Some(MemoBatch { parts })
}

fn checksum(body: &[u8], base: i64) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(body);
    hasher.update(&base.to_le_bytes());
    hasher.finalize().to_le_bytes()
}

fn ordering_byte(ordering: Option<Ordering>) -> u8 {
    match ordering {
        None => 0,
        Some(Ordering::Partition) => 1,
        Some(Ordering::Key) => 2,
        Some(Ordering::None) => 3,
    }
}

fn byte_ordering(byte: u8) -> Option<Option<Ordering>> {
    match byte {
        0 => Some(None),
        1 => Some(Some(Ordering::Partition)),
        2 => Some(Some(Ordering::Key)),
        3 => Some(Some(Ordering::None)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Memo {
        Memo {
            ordering: Some(Ordering::Key),
            totals: [1, 2, 3, 400, 5, 6],
            batches: vec![
                MemoBatch {
                    parts: vec![MemoPart {
                        attempts: 3,
                        split: true,
                        failed_alone: true,
                        offsets: vec![107],
                    }],
                },
                MemoBatch {
                    parts: vec![
                        MemoPart {
                            attempts: 5,
                            split: true,
                            failed_alone: false,
                            offsets: vec![100, 101],
                        },
                        MemoPart {
                            attempts: 5,
                            split: true,
                            failed_alone: false,
                            offsets: vec![103, 109],
                        },
                    ],
                },
            ],
            settled: vec![102, 104, 105],
            generation: 0,
        }
    }

    #[test]
    fn a_memo_comes_back_as_it_was_written() {
        let text = sample().encode(100);
        assert!(text.is_ascii());
        assert_eq!(Memo::decode(&text, 100), Ok(sample()));
    }

    #[test]
    fn a_new_log_has_the_next_generation_and_nothing_of_the_old_one_but_its_totals() {
        let first = Memo::of_new_log(Some(&sample().encode(100)), 100, 7);
        let expected = |generation| Memo {
            generation,
            totals: sample().totals,
            ..Memo::default()
        };
        assert_eq!(Memo::decode(&first, 7), Ok(expected(1)));
        assert_eq!(Memo::decode(&Memo::of_new_log(Some(&first), 7, 0), 0), Ok(expected(2)));
        let unknown = Memo::decode(&Memo::of_new_log(None, 100, 0), 0).unwrap();
        assert_eq!(unknown.generation, 1);
    }

    #[test]
    fn a_memo_beside_another_offset_is_not_believed() {
        let text = sample().encode(100);
        assert!(Memo::decode(&text, 99).unwrap_err().contains("checksum"));
    }

    #[test]
    fn ten_thousand_scattered_offsets_fit() {
        let settled: Vec<i64> = (0..20_000)
            .filter(|o| (o * 7919) % 2 == 0 || o % 3 == 0)
            .take(10_000)
            .collect();
        let memo = Memo {
            settled,
            ..Memo::default()
        };
        assert!(memo.encode(0).len() <= MAX_CHARS);
    }

    fn parts() -> impl Strategy<Value = Vec<(u32, bool, u8)>> {
        proptest::collection::vec((0u32..500, any::<bool>(), 0u8..12), 1..300)
    }

    proptest! {
        /// However a batch is scattered over parts, it takes no more than the bound, and comes back.
        #[test]
        fn a_batch_never_takes_more_than_its_bound(records in parts(), base in 0i64..1 << 40) {
            let mut of: BTreeMap<u8, MemoPart> = BTreeMap::new();
            for (at, (attempts, split, part)) in records.iter().enumerate() {
                let part = of.entry(*part).or_insert_with(|| MemoPart {
                    attempts: *attempts, split: *split, failed_alone: false, offsets: Vec::new(),
                });
                part.offsets.push(base + at as i64 * 3);
            }
            let batch = MemoBatch { parts: of.into_values().collect() };
            let count = records.len();
            let bytes = shorter(parts_of(&batch, base), marks_of(&batch, base));
            let span = count * 3;
            prop_assert!(count == 1 || bytes.len() <= worst_batch_bytes(count, span));
            let back = take_batch(&mut &bytes[..], base, &mut 1000).unwrap();
            let flat = |batch: &MemoBatch| {
                let marks = batch.parts.iter().flat_map(|p| p.offsets.iter().map(|o| (*o, p.mark())));
                marks.collect::<BTreeMap<_, _>>()
            };
            prop_assert_eq!(flat(&back), flat(&batch));
        }

        #[test]
        fn lone_records_never_take_more_than_their_bound(marks in proptest::collection::vec((0u32..3000, 1i64..500), 1..300)) {
            let mut at = 0;
            let batches: Vec<MemoBatch> = marks.iter().map(|(attempts, gap)| {
                at += gap;
                MemoBatch::alone(at, *attempts)
            }).collect();
            let parts: Vec<&MemoPart> = batches.iter().map(|b| &b.parts[0]).collect();
            let distinct = parts.iter().map(|p| p.mark()).collect::<std::collections::BTreeSet<_>>().len();
            let bytes = shorter(list_of_lone(&parts, 0), groups_of_lone(&parts, 0)).len();
            let span = at as usize + 1;
            prop_assert!(bytes <= 4 + worst_lone_bytes(parts.len(), distinct, span) + span / 128);
        }

        #[test]
        fn a_truncated_or_altered_memo_is_refused(cut in 0usize..40, flip in 0usize..40) {
            let text = sample().encode(100);
            prop_assume!(cut < text.len() && flip < text.len());
            prop_assert!(Memo::decode(&text[..cut], 100).is_err());
            let mut altered = text.into_bytes();
            altered[flip] = if altered[flip] == b'A' { b'B' } else { b'A' };
            prop_assert_ne!(Memo::decode(std::str::from_utf8(&altered).unwrap(), 100), Ok(sample()));
        }
    }
}

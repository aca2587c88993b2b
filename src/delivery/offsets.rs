//! Sets of offsets, written small: as runs, or as a bitmap, whichever is shorter.

/// Reads back what [`put_varint`] wrote, from the front of `bytes`.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Unsigned LEB128.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

const RUNS: u64 = 0;
const BITMAP: u64 = 1;
/// More offsets than any memo can hold as a bitmap: a bound on what a corrupt one makes us build.
pub(crate) const MAX_OFFSETS: usize = 1 << 16;

/// Writes ascending offsets, none below `base`.
pub(crate) fn put_offsets(out: &mut Vec<u8>, base: i64, offsets: &[i64]) {
    let mut runs = Vec::new();
    let mut next = base;
    let mut count = 0u64;
    for run in offsets.chunk_by(|a, b| *b == *a + 1) {
        put_varint(&mut runs, (run[0] - next) as u64);
        put_varint(&mut runs, run.len() as u64);
        next = run[run.len() - 1] + 1;
        count += 1;
    }
    let span = next - base;
    let bitmap_bytes = (span as u64).div_ceil(8);
    if bitmap_bytes < runs.len() as u64 {
        put_varint(out, bitmap_bytes << 1 | BITMAP);
        let start = out.len();
        out.resize(start + bitmap_bytes as usize, 0);
        for offset in offsets {
            let bit = (offset - base) as usize;
            out[start + bit / 8] |= 1 << (bit % 8);
        }
    } else {
        put_varint(out, count << 1 | RUNS);
        out.extend_from_slice(&runs);
    }
}

/// Reads back what [`put_offsets`] wrote; `left` says how many more offsets there may be.
pub(crate) fn take_offsets(bytes: &mut &[u8], base: i64, left: &mut usize) -> Option<Vec<i64>> {
    let tag = take_varint(bytes)?;
    let mut offsets = Vec::new();
    if tag & 1 == BITMAP {
        let length = usize::try_from(tag >> 1).ok()?;
        let bitmap = bytes.get(..length)?;
        *bytes = &bytes[length..];
        take_left(left, bitmap.iter().map(|byte| byte.count_ones() as usize).sum())?;
        for (at, byte) in bitmap.iter().enumerate() {
            for bit in (0..8).filter(|bit| byte & 1 << bit != 0) {
                offsets.push(ahead(base, (at * 8 + bit) as u64)?);
            }
        }
    } else {
        let mut next = base;
        for _ in 0..tag >> 1 {
            let first = ahead(next, take_varint(bytes)?)?;
            let length = usize::try_from(take_varint(bytes)?).ok()?;
            take_left(left, length)?;
            next = first.checked_add(length as i64)?;
            offsets.extend(first..next);
        }
    }
    Some(offsets)
}

/// The offset that lies so far ahead; `None` for one that no offset follows, which could not be committed.
pub(crate) fn ahead(offset: i64, by: u64) -> Option<i64> {
    let found = offset.checked_add(i64::try_from(by).ok()?)?;
    found.checked_add(1).map(|_| found)
}

fn take_left(left: &mut usize, count: usize) -> Option<()> {
    *left = left.checked_sub(count)?;
    Some(())
}

/// An upper bound on the bytes that [`put_offsets`] takes for any `count` offsets within `span` of the base.
///
/// A varint of `v` takes at most `1 + v/128` bytes, so runs take at most two bytes an offset and a share of the span.
pub(crate) fn worst_bytes(count: usize, span: usize) -> usize {
    let runs = 2 * count + (span + count) / 128;
    3 + runs.min(span.div_ceil(8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn offsets_come_back_and_never_take_more_than_the_bound(
            base in 0i64..1 << 40,
            set in proptest::collection::btree_set(0i64..3000, 0..600),
        ) {
            let offsets: Vec<i64> = set.iter().map(|o| base + o).collect();
            let mut bytes = Vec::new();
            put_offsets(&mut bytes, base, &offsets);
            let span = offsets.last().map_or(0, |last| (last - base + 1) as usize);
            prop_assert!(bytes.len() <= worst_bytes(offsets.len(), span));
            let mut rest = &bytes[..];
            prop_assert_eq!(take_offsets(&mut rest, base, &mut 1000), Some(offsets));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes: Vec<u8>, base in 0i64..1 << 40) {
            let read = take_offsets(&mut &bytes[..], base, &mut 1000);
            prop_assert!(read.is_none_or(|offsets| offsets.len() <= 1000));
        }
    }

    #[test]
    fn an_offset_that_none_can_follow_is_refused_in_either_form() {
        let read = |bytes: &[u8], base| take_offsets(&mut &bytes[..], base, &mut 1000);
        let (bitmap, run) = ([1 << 1 | BITMAP as u8, 1], [1 << 1 | RUNS as u8, 0, 1]);
        for bytes in [&bitmap[..], &run[..]] {
            assert_eq!(read(bytes, i64::MAX), None);
            assert_eq!(read(bytes, i64::MAX - 1), Some(vec![i64::MAX - 1]));
        }
    }
}

//! Stable names for records, batches and results.

use std::fmt::Write;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::record::Record;

/// Past this, a batch's id is shortened.
const MAX_BATCH_ID_BYTES: usize = 200;

/// The id of a batch: `<topic>/<partition>/<offsets as ranges>`, e.g. `orders/3/42-43,45`. Offsets are listed in
/// ascending order. Over 200 bytes: the first and last offset, the count, and the SHA-256 of the list.
///
/// # Panics
/// If `records` is empty.
pub fn batch_id(records: &[Arc<Record>]) -> String {
    let mut offsets: Vec<i64> = records.iter().map(|r| r.offset).collect();
    offsets.sort_unstable();
    let source = &records[0].source;
    let list = offset_ranges(&offsets);
    let id = format!("{source}/{list}");
    if id.len() <= MAX_BATCH_ID_BYTES {
        return id;
    }
    let digest = Sha256::digest(list.as_bytes());
    let mut short = format!(
        "{source}/{}-{}~{}~",
        offsets[0],
        offsets[offsets.len() - 1],
        offsets.len()
    );
    for byte in digest {
        let _ = write!(short, "{byte:02x}");
    }
    short
}

/// Ascending offsets as ranges: `42-43,45`.
pub fn offset_ranges(offsets: &[i64]) -> String {
    let mut list = String::new();
    for run in offsets.chunk_by(|a, b| *b == *a + 1) {
        if !list.is_empty() {
            list.push(',');
        }
        let _ = match run {
            [one] => write!(list, "{one}"),
            [first, .., last] => write!(list, "{first}-{last}"),
            [] => Ok(()),
        };
    }
    list
}

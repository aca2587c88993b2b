//! Whether a pipeline has lost anything: what its commits say became of records, held against what the logs hold. Pure.
//!
//! Beside each committed offset stand running totals by disposition (the memo), one with the offset. Between two such points of a
//! partition, as many records have to have been settled as the source log holds there; and each record that the log holds has a
//! result in a sink, or a dead letter, or is one of those that were dropped or filtered, of which only the number is known.

mod prune;

use std::collections::BTreeMap;

use roaring::RoaringTreemap;
use serde::{Deserialize, Serialize};

use crate::delivery::answer::Disposition;
use crate::delivery::memo::Memo;

pub use prune::superfluous;

/// Ids that are named.
const NAMED: usize = 100;

/// What the commit of a partition said at some time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// The committed offset: of the first record that is not settled.
    pub offset: i64,
    /// Which of the logs that had this name it is about: another one after a seek, too.
    pub generation: u32,
    /// Records by disposition since the pipeline first ran, in [`Disposition::ALL`]'s order.
    pub totals: [u64; 6],
    /// How many of them lie ahead of the offset.
    pub ahead: u64,
}

/// What the commits of a pipeline said at some time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// Each partition, as `<topic>/<partition>`.
    pub partitions: BTreeMap<String, Point>,
}

/// What the logs hold of a partition's records.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// The source log's first offset: what was before is gone.
    pub low: i64,
    /// The offset after the source log's last.
    pub high: i64,
    /// Offsets that hold a record.
    pub records: RoaringTreemap,
    /// Source offsets that have a result in a sink.
    pub results: RoaringTreemap,
    /// How many results there are, those of one record counted each.
    pub result_count: u64,
    /// Source offsets that have a dead letter.
    pub letters: RoaringTreemap,
}

/// What became of a partition's records between two points.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The first offset.
    pub from: i64,
    /// The offset after the last.
    pub to: i64,
    /// Records by disposition, in [`Disposition::ALL`]'s order.
    pub settled: [u64; 6],
    /// How many records the log holds there.
    pub records: u64,
    /// Offsets that retention has removed from the log since: of them, only totals speak.
    pub gone: u64,
    /// Records that have a result in a sink.
    pub with_result: u64,
    /// Results beyond the first of a record and sink: several results, or repeats after a crash or a redrive.
    pub more_results: u64,
    /// Records that have a dead letter.
    pub with_letter: u64,
    /// Records that the log holds and that were not settled by the commits' own count; 0 where it adds up.
    pub uncounted: i64,
    /// Records with neither a result nor a dead letter, beyond those that were dropped or filtered.
    pub missing: u64,
    /// Offsets of records with neither, at most 100: all that are missing are among them where none was dropped or filtered.
    pub suspects: Vec<i64>,
    /// How many records have neither.
    pub neither: u64,
    /// Records behind the range that are not settled.
    pub unsettled: u64,
}

impl Point {
    /// What stands beside a committed offset. Without a memo, nothing was settled yet.
    ///
    /// # Errors
    /// A memo that can't be read.
    pub fn of(offset: i64, memo: Option<&str>) -> Result<Point, String> {
        let memo = match memo.filter(|text| !text.is_empty()) {
            Some(text) => Memo::decode(text, offset)?,
            None => Memo::default(),
        };
        Ok(Point {
            offset,
            generation: memo.generation,
            totals: memo.totals,
            ahead: memo.settled.len() as u64,
        })
    }

    /// How many records were settled before the offset.
    pub fn passed(&self) -> u64 {
        self.totals.iter().sum::<u64>().saturating_sub(self.ahead)
    }

    /// Where the pipeline began in this partition, if its log has no gaps: nothing was settled before.
    pub fn beginning(&self) -> Point {
        Point {
            offset: self.offset.saturating_sub_unsigned(self.passed()).max(0),
            generation: self.generation,
            ..Point::default()
        }
    }

    /// How many records were settled since an earlier point, those ahead of either offset counted on its side.
    fn settled_since(&self, before: &Point) -> [u64; 6] {
        let mut settled = self.totals;
        for (now, then) in settled.iter_mut().zip(before.totals) {
            *now = now.saturating_sub(then);
        }
        settled
    }
}

/// Accounts for a partition's records between two points of one generation. `counts_results`: all results of the pipeline go to
/// topics, so that each of them can be found.
pub fn account(from: &Point, to: &Point, held: &Held, counts_results: bool) -> Account {
    let settled = to.settled_since(from);
    let first = from.offset.max(held.low);
    let within = |set: &RoaringTreemap| {
        let mut part = set.clone();
        part.remove_range(0..unsigned(first));
        part.remove_range(unsigned(to.offset.max(first))..);
        part
    };
    let records = within(&held.records);
    let (results, letters) = (&records & &held.results, &records & &held.letters);
    let neither = &(&records - &held.results) - &held.letters;
    let count = |disposition: Disposition| settled[disposition as usize];
    // What was settled ahead of the first offset is in the totals before it, and in the log behind it.
    let silent = count(Disposition::Dropped) + count(Disposition::Filtered) + from.ahead;
    let missing = match counts_results {
        true => neither.len().saturating_sub(silent),
        false => 0,
    };
    let gone = unsigned(first) - unsigned(from.offset);
    let by_totals = settled.iter().sum::<u64>() + from.ahead;
    let by_log = records.len() + to.ahead;
    let uncounted = match gone {
        0 => signed(by_log) - signed(by_totals),
        // How many records were among the offsets that are gone, nobody knows.
        _ => (signed(by_log) - signed(by_totals)).max(0),
    };
    let suspects = match missing {
        0 => Vec::new(),
        _ => neither.iter().take(NAMED).map(signed).collect(),
    };
    Account {
        from: from.offset,
        to: to.offset,
        settled,
        records: records.len(),
        gone,
        with_result: results.len(),
        more_results: held.result_count.saturating_sub(held.results.len()),
        with_letter: letters.len(),
        uncounted,
        missing,
        suspects,
        neither: neither.len(),
        unsettled: (held.records.len() - held.before(to.offset)).saturating_sub(to.ahead),
    }
}

impl Held {
    /// How many records the log holds before an offset, as far as it was read.
    fn before(&self, offset: i64) -> u64 {
        unsigned(offset)
            .checked_sub(1)
            .map_or(0, |last| self.records.rank(last))
    }

    /// The offset from which on the log holds so many records before `to`; the error: how many more there would have to be.
    ///
    /// # Errors
    /// It holds fewer, as far as it was read.
    pub fn back_from(&self, to: i64, records: u64) -> Result<i64, u64> {
        if records == 0 {
            return Ok(to);
        }
        let before = self.before(to);
        let nth = before.checked_sub(records).ok_or_else(|| records - before)?;
        self.records.select(nth).map(signed).ok_or(records)
    }
}

impl Account {
    /// Nothing is missing, and the commits count what the log holds.
    pub fn adds_up(&self) -> bool {
        self.missing == 0 && self.uncounted == 0
    }
}

/// Offsets are never negative.
fn unsigned(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or_default()
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What really became of one record of the log.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Became {
        Delivered,
        Dropped,
        Filtered,
        DeadLettered,
        Redriven,
        Skipped,
        /// Its commit says that it was delivered, and its result is nowhere.
        Lost,
        /// A gap of the log.
        Gap,
    }

    fn became() -> impl Strategy<Value = Became> {
        use Became::*;
        prop::sample::select(vec![
            Delivered,
            Delivered,
            Delivered,
            Dropped,
            Filtered,
            DeadLettered,
            Redriven,
            Skipped,
            Lost,
            Gap,
        ])
    }

    fn disposition(became: Became) -> Option<Disposition> {
        Some(match became {
            Became::Delivered | Became::Lost => Disposition::Delivered,
            Became::Dropped => Disposition::Dropped,
            Became::Filtered => Disposition::Filtered,
            Became::DeadLettered | Became::Redriven => Disposition::DeadLettered,
            Became::Skipped => Disposition::Skipped,
            Became::Gap => return None,
        })
    }

    fn point(log: &[Became], offset: usize) -> Point {
        let mut point = Point {
            offset: signed(offset as u64),
            ..Point::default()
        };
        for became in log[..offset].iter().filter_map(|became| disposition(*became)) {
            point.totals[became as usize] += 1;
        }
        point
    }

    fn held(log: &[Became], low: usize) -> Held {
        let offsets = |is: &dyn Fn(Became) -> bool| {
            (0u64..)
                .zip(log)
                .filter(|(_, became)| is(**became))
                .map(|(at, _)| at)
                .collect::<RoaringTreemap>()
        };
        let mut records = offsets(&|became| became != Became::Gap);
        records.remove_range(0..low as u64);
        let results = offsets(&|became| matches!(became, Became::Delivered | Became::Redriven));
        Held {
            low: signed(low as u64),
            high: signed(log.len() as u64),
            records,
            result_count: results.len() + 1,
            results,
            letters: offsets(&|became| matches!(became, Became::DeadLettered | Became::Redriven | Became::Skipped)),
        }
    }

    proptest! {
        #[test]
        fn what_is_lost_is_found_and_nothing_else_is(
            log in prop::collection::vec(became(), 1..80), cuts in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        ) {
            let (a, b) = (cuts.0.index(log.len() + 1), cuts.1.index(log.len() + 1));
            let (from, to) = (a.min(b), a.max(b));
            let account = account(&point(&log, from), &point(&log, to), &held(&log, 0), true);
            let of = |wanted: Became| log[from..to].iter().filter(|became| **became == wanted).count() as u64;
            prop_assert_eq!(account.uncounted, 0, "the commits count what the log holds");
            prop_assert_eq!(account.missing, of(Became::Lost));
            prop_assert_eq!(account.adds_up(), of(Became::Lost) == 0);
            prop_assert_eq!(account.records, log[from..to].iter().filter(|became| **became != Became::Gap).count() as u64);
            prop_assert_eq!(account.with_letter, of(Became::DeadLettered) + of(Became::Redriven) + of(Became::Skipped));
            let lost = |at: &i64| log[usize::try_from(*at).unwrap()] == Became::Lost;
            if of(Became::Lost) > 0 {
                prop_assert_eq!(account.suspects.iter().filter(|at| lost(at)).count() as u64, of(Became::Lost), "each is named");
            }
            if of(Became::Dropped) + of(Became::Filtered) == 0 {
                prop_assert!(account.suspects.iter().all(lost), "and no other");
            }
            prop_assert_eq!(account.unsettled, log[to..].iter().filter(|became| **became != Became::Gap).count() as u64);
        }

        #[test]
        fn a_log_whose_beginning_is_gone_raises_no_alarm(log in prop::collection::vec(became(), 1..80), low in any::<prop::sample::Index>()) {
            let low = low.index(log.len());
            let mut sound = log.clone();
            sound.iter_mut().filter(|became| **became == Became::Lost).for_each(|became| *became = Became::Delivered);
            let account = account(&point(&sound, 0), &point(&sound, sound.len()), &held(&sound, low), true);
            prop_assert!(account.adds_up(), "{:?}", account);
            prop_assert_eq!(account.gone, low as u64);
        }

        #[test]
        fn a_pipeline_began_where_its_totals_say(log in prop::collection::vec(became(), 1..40), start in 0usize..20) {
            let full: Vec<Became> = log.into_iter().filter(|became| *became != Became::Gap).collect();
            let mut point = point(&full, full.len());
            point.offset += signed(start as u64);
            prop_assert_eq!(point.beginning().offset, signed(start as u64));
        }

        #[test]
        fn so_many_records_back_is_where_so_many_are_left(log in prop::collection::vec(became(), 1..60), to in any::<prop::sample::Index>(), back in 0u64..30) {
            let to = to.index(log.len() + 1);
            let records = |from: usize| log[from..to].iter().filter(|became| **became != Became::Gap).count() as u64;
            match held(&log, 0).back_from(signed(to as u64), back) {
                Ok(from) => prop_assert_eq!(records(usize::try_from(from).unwrap()), back),
                Err(more) => prop_assert_eq!(records(0) + more, back),
            }
        }
    }

    #[test]
    fn a_record_that_no_commit_counts_is_told() {
        let log = [Became::Delivered; 10];
        let mut to = point(&log, 10);
        to.totals[Disposition::Delivered as usize] -= 1;
        let account = account(&point(&log, 0), &to, &held(&log, 0), true);
        assert_eq!((account.uncounted, account.adds_up()), (1, false));
    }
}

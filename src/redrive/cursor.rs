//! How far a job has come in each dead-letter partition, while letters are done with in any order.

use std::collections::{BTreeMap, BTreeSet};

/// How far a job has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursors {
    partitions: BTreeMap<i32, Cursor>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Cursor {
    /// Letters before this have been looked at.
    read: i64,
    /// Those among them that are on their way.
    under_way: BTreeSet<i64>,
}

impl Cursors {
    /// Begins at these offsets.
    pub fn at(starts: &BTreeMap<i32, i64>) -> Cursors {
        let cursor = |read: i64| Cursor {
            read,
            under_way: BTreeSet::new(),
        };
        Cursors {
            partitions: starts
                .iter()
                .map(|(partition, start)| (*partition, cursor(*start)))
                .collect(),
        }
    }

    /// A letter is on its way.
    pub fn send(&mut self, partition: i32, offset: i64) {
        let cursor = self.partitions.entry(partition).or_default();
        cursor.under_way.insert(offset);
        cursor.read = cursor.read.max(offset + 1);
    }

    /// Something became of a letter.
    pub fn settle(&mut self, partition: i32, offset: i64) {
        if let Some(cursor) = self.partitions.get_mut(&partition) {
            cursor.under_way.remove(&offset);
        }
    }

    /// All letters before this offset have been looked at.
    pub fn read_up_to(&mut self, partition: i32, offset: i64) {
        let cursor = self.partitions.entry(partition).or_default();
        cursor.read = cursor.read.max(offset);
    }

    /// How many letters are on their way.
    pub fn under_way(&self) -> usize {
        self.partitions.values().map(|cursor| cursor.under_way.len()).sum()
    }

    /// Where reading goes on.
    pub fn read(&self) -> BTreeMap<i32, i64> {
        self.partitions
            .iter()
            .map(|(partition, cursor)| (*partition, cursor.read))
            .collect()
    }

    /// Before this, nothing is left to do.
    pub fn done(&self) -> BTreeMap<i32, i64> {
        let done = |cursor: &Cursor| cursor.under_way.first().copied().unwrap_or(cursor.read);
        self.partitions
            .iter()
            .map(|(partition, cursor)| (*partition, done(cursor)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_before_what_is_done_is_left_to_do(
            steps in prop::collection::vec((0..3i32, 0..3u8, any::<prop::sample::Index>()), 0..60),
        ) {
            let mut cursors = Cursors::at(&(0..3).map(|partition| (partition, 10)).collect());
            // By hand: for each letter, whether it is left to do.
            let mut letters: BTreeMap<(i32, i64), bool> = BTreeMap::new();
            let mut next = [10i64; 3];
            for (partition, what, which) in steps {
                let at = usize::try_from(partition).unwrap();
                match what {
                    0 => {
                        cursors.send(partition, next[at]);
                        letters.insert((partition, next[at]), true);
                        next[at] += 1;
                    }
                    1 => {
                        next[at] += 2;
                        cursors.read_up_to(partition, next[at]);
                    }
                    _ if !letters.is_empty() => {
                        let (partition, offset) = *letters.keys().nth(which.index(letters.len())).unwrap();
                        cursors.settle(partition, offset);
                        letters.insert((partition, offset), false);
                    }
                    _ => {}
                }
                let left = |partition: i32| {
                    let own = letters.iter().filter(|((at, _), is_left)| *at == partition && **is_left);
                    own.map(|((_, offset), _)| *offset).min()
                };
                for (partition, done) in cursors.done() {
                    let at = usize::try_from(partition).unwrap();
                    prop_assert_eq!(done, left(partition).unwrap_or(next[at]));
                }
                prop_assert_eq!(cursors.under_way(), letters.values().filter(|is_left| **is_left).count());
            }
        }
    }
}

//! Where reading a partition starts: the rule, and nothing else.

/// What is known of a partition when it is assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The group's committed offset, where it has one.
    pub committed: Option<i64>,
    /// The log's first offset and the one after its last; unknown where its leader does not answer.
    pub log: Option<(i64, i64)>,
    /// The pipeline has run before, and its group has no offset on any partition any more.
    pub offsets_are_gone: bool,
}

/// Where reading starts, and what has to be said about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At the committed offset.
    Committed(i64),
    /// At the first record: the group has no offset for this partition, which is new to it.
    NewPartition(i64),
    /// At the first record: the pipeline has run, and its group has no offset on any partition any more.
    OffsetsGone(i64),
    /// At the first record: the committed offset is past the log's end, so the log is not the one that was read.
    Recreated {
        /// What had been committed.
        committed: i64,
        /// The log's first offset.
        low: i64,
    },
    /// At the first record that still exists: retention removed those before it.
    Overtaken {
        /// What had been committed.
        committed: i64,
        /// The log's first offset.
        low: i64,
    },
    /// Not yet known: without a committed offset, the log's first has to be.
    Unknown,
}

/// The rule.
pub fn begin(facts: Facts) -> Begin {
    match (facts.committed, facts.log) {
        (Some(committed), Some((low, high))) if committed > high => Begin::Recreated { committed, low },
        (Some(committed), Some((low, _))) if committed < low => Begin::Overtaken { committed, low },
        // Where the leader does not answer, fetching finds out whether the offset still exists.
        (Some(committed), _) => Begin::Committed(committed),
        (None, Some((low, _))) if facts.offsets_are_gone => Begin::OffsetsGone(low),
        (None, Some((low, _))) => Begin::NewPartition(low),
        (None, None) => Begin::Unknown,
    }
}

/// What is to be done about an offset that turned out not to be in the log while reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Retention was faster.
    Overtaken {
        /// The first offset that still exists.
        to: i64,
    },
    /// The log is another one.
    Recreated {
        /// Its first offset.
        low: i64,
    },
    /// It is there after all.
    StillThere,
}

/// The same rule, for a reader that stood at `position`.
pub fn lost(position: i64, low: i64, high: i64) -> Lost {
    if position > high {
        Lost::Recreated { low }
    } else if position < low {
        Lost::Overtaken { to: low }
    } else {
        Lost::StillThere
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule_for_where_reading_starts() {
        let table = [
            // committed, log, where
            (Some(5), Some((0, 9)), Begin::Committed(5)),
            (Some(0), Some((0, 9)), Begin::Committed(0)),
            (Some(9), Some((0, 9)), Begin::Committed(9)),
            (Some(9), Some((9, 9)), Begin::Committed(9)),
            (Some(5), None, Begin::Committed(5)),
            (Some(10), Some((0, 9)), Begin::Recreated { committed: 10, low: 0 }),
            (Some(10), Some((0, 0)), Begin::Recreated { committed: 10, low: 0 }),
            (Some(5), Some((7, 9)), Begin::Overtaken { committed: 5, low: 7 }),
            (None, Some((0, 0)), Begin::NewPartition(0)),
            (None, Some((7, 9)), Begin::NewPartition(7)),
            (None, None, Begin::Unknown),
        ];
        for (committed, log, expected) in table {
            assert_eq!(
                begin(Facts {
                    committed,
                    log,
                    offsets_are_gone: false
                }),
                expected,
                "committed {committed:?}, log {log:?}"
            );
        }
    }

    #[test]
    fn offsets_that_have_expired_are_told_from_a_partition_that_is_new() {
        let of = |committed, log| {
            begin(Facts {
                committed,
                log,
                offsets_are_gone: true,
            })
        };
        assert_eq!(of(None, Some((7, 9))), Begin::OffsetsGone(7));
        assert_eq!(of(Some(8), Some((7, 9))), Begin::Committed(8));
        assert_eq!(of(None, None), Begin::Unknown);
    }

    #[test]
    fn an_offset_that_is_gone_was_overtaken_or_is_of_another_log() {
        assert_eq!(lost(5, 7, 9), Lost::Overtaken { to: 7 });
        assert_eq!(lost(10, 0, 9), Lost::Recreated { low: 0 });
        assert_eq!(lost(7, 7, 9), Lost::StillThere);
        assert_eq!(lost(9, 7, 9), Lost::StillThere);
    }
}

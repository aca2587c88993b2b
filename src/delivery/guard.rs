//! The guards: how many records may be given up in a row before it is the function, not the data.

/// Counts records given up in a row.
#[derive(Debug)]
pub(crate) struct Guard {
    limit: u32,
    in_a_row: u32,
    /// It was said that the guard has tripped.
    pub(crate) told: bool,
}

impl Guard {
    pub(crate) fn new(limit: u32) -> Guard {
        Guard {
            limit,
            in_a_row: 0,
            told: false,
        }
    }

    /// No record may be given up until something succeeds.
    pub(crate) fn tripped(&self) -> bool {
        self.in_a_row >= self.limit
    }

    /// How many more records may be given up in a row.
    pub(crate) fn room(&self) -> usize {
        self.limit.saturating_sub(self.in_a_row) as usize
    }

    /// A record was given up.
    pub(crate) fn count(&mut self) {
        self.in_a_row += 1;
    }

    /// Something succeeded, or a partition was newly assigned. True where the guard had been said to have tripped.
    pub(crate) fn reset(&mut self) -> bool {
        self.in_a_row = 0;
        std::mem::take(&mut self.told)
    }
}

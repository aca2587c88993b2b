//! How many calls may be on the wire: halved when the function is busy, grown by one a round of successes.
//!
//! Additive increase, multiplicative decrease, as in Chiu and Jain, "Analysis of the increase and decrease algorithms
//! for congestion avoidance in computer networks", 1989.

/// The limit on calls in flight.
#[derive(Debug)]
pub(crate) struct Concurrency {
    max: usize,
    limit: f64,
    /// Calls started before this one know nothing of the last cut, and do not cut again.
    cut_at_call: u64,
}

impl Concurrency {
    pub(crate) fn new(max: usize) -> Concurrency {
        Concurrency {
            max,
            limit: max as f64,
            cut_at_call: 0,
        }
    }

    /// Calls that may be on the wire, at least one.
    pub(crate) fn limit(&self) -> usize {
        (self.limit as usize).clamp(1, self.max)
    }

    /// Of those, calls that may be retries: one slot in four is kept for new work.
    pub(crate) fn retry_limit(&self) -> usize {
        let limit = self.limit();
        (limit - limit / 4).max(1)
    }

    pub(crate) fn succeeded(&mut self) {
        self.limit = (self.limit + 1.0 / self.limit).min(self.max as f64);
    }

    /// The call numbered `call` was told that the function is busy; `next_call` is the next number to be given out.
    pub(crate) fn busy(&mut self, call: u64, next_call: u64) {
        if call >= self.cut_at_call {
            self.limit = (self.limit / 2.0).max(1.0);
            self.cut_at_call = next_call;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_of_busy_answers_halves_once_and_successes_bring_it_back() {
        let mut concurrency = Concurrency::new(16);
        (0..16).for_each(|call| concurrency.busy(call, 16));
        assert_eq!(concurrency.limit(), 8);
        concurrency.busy(16, 20);
        assert_eq!(concurrency.limit(), 4);
        (0..1000).for_each(|_| concurrency.succeeded());
        assert_eq!(concurrency.limit(), 16);
        assert_eq!(concurrency.retry_limit(), 12);
    }
}

//! How much a task may hold: its own limit, or its share of the worker's where that is less.

/// The bound on what is held. It rises at once and falls with what is held, so that it is never below that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    own_limit: usize,
    told: usize,
    bound: usize,
}

impl Share {
    /// All that the task's own limit allows.
    pub(crate) fn whole(own_limit: usize) -> Share {
        Share {
            own_limit,
            told: own_limit,
            bound: own_limit,
        }
    }

    /// What the worker leaves to the task from now on; it holds `held` bytes.
    pub(crate) fn set(&mut self, bytes: usize, held: usize) {
        self.told = bytes.min(self.own_limit);
        self.bound = self.bound.max(self.told);
        self.follow(held);
    }

    /// Bytes were let go of.
    pub(crate) fn follow(&mut self, held: usize) {
        self.bound = self.bound.min(held.max(self.told));
    }

    /// What may be held now.
    pub(crate) fn bound(&self) -> usize {
        self.bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_bound_is_within_the_limit_and_falls_to_the_share_as_bytes_are_let_go_of(
            steps in prop::collection::vec((prop::option::of(0usize..2_000), 0usize..1_000), 1..50),
        ) {
            let mut share = Share::whole(1_000);
            let mut told = 1_000;
            for (tell, held) in steps {
                let before = share.bound();
                match tell {
                    Some(bytes) => {
                        told = bytes.min(1_000);
                        share.set(bytes, held);
                    }
                    None => share.follow(held),
                }
                let bound = share.bound();
                prop_assert!(bound >= told && bound <= 1_000);
                prop_assert!(bound >= held.min(before), "what is held within the bound stays within it");
                prop_assert!(bound <= told.max(held), "nothing more than that is kept");
            }
        }
    }
}

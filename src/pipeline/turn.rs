//! Turns: pipelines share a thread, and one that always has something to do lets the others go on in between.

use std::time::{Duration, Instant};

/// How long a pipeline goes on without a break.
const LONGEST: Duration = Duration::from_millis(1);

/// What ended at once is taken in up to so many before anything else has its turn.
pub(super) const MOST_DONE: usize = 256;

/// How long a pipeline has been going on.
#[derive(Debug)]
pub(super) struct Turn {
    since: Instant,
}

impl Turn {
    pub(super) fn start() -> Turn {
        Turn { since: Instant::now() }
    }

    /// Lets others go on, if it has been long enough.
    pub(super) async fn pause_if_long(&mut self) {
        if self.since.elapsed() >= LONGEST {
            tokio::task::yield_now().await;
            self.since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// Work that takes the thread for a while.
    fn work(long: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < long {
            std::hint::spin_loop();
        }
    }

    #[tokio::test]
    async fn one_that_never_runs_dry_lets_others_go_on_each_millisecond() {
        let over = Rc::new(Cell::new(false));
        let local = tokio::task::LocalSet::new();
        let others = Rc::new(Cell::new(0));
        let (ended, seen) = (over.clone(), others.clone());
        local.spawn_local(async move {
            while !ended.get() {
                seen.set(seen.get() + 1);
                tokio::task::yield_now().await;
            }
        });
        local
            .run_until(async {
                let mut turn = Turn::start();
                for _ in 0..200 {
                    work(LONGEST / 10);
                    turn.pause_if_long().await;
                }
                over.set(true);
            })
            .await;
        assert!((15..=200).contains(&others.get()), "{} turns of another", others.get());
    }
}

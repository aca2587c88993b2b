//! Room for answers: bodies are read while there is some, and one call may always finish.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The bytes that answers may take, beside what is held already.
#[derive(Debug)]
pub struct AnswerPool {
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that may be held, all together.
    limit: usize,
    /// Held outside of the pool: records, requests, results.
    held: usize,
    /// Answers that are being read.
    leased: usize,
    /// One lease may go past the limit, so that one call can always finish.
    privileged: bool,
}

impl AnswerPool {
    /// A pool of `limit` bytes.
    pub fn new(limit: usize) -> Arc<AnswerPool> {
        let state = State {
            limit,
            ..State::default()
        };
        Arc::new(AnswerPool {
            state: Mutex::new(state),
            freed: Notify::new(),
        })
    }

    /// Says how many bytes are held outside of the pool (records, requests, results) and count against the same limit, and
    /// what that limit is by now.
    pub fn set(&self, held: usize, limit: usize) {
        let mut state = self.state();
        let freed = held < state.held || limit > state.limit;
        (state.held, state.limit) = (held, limit);
        drop(state);
        if freed {
            self.freed.notify_waiters();
        }
    }

    /// Bytes of answers that are being read now.
    pub fn leased(&self) -> usize {
        self.state().leased
    }

    /// An empty lease.
    pub fn lease(self: &Arc<AnswerPool>) -> Lease {
        Lease {
            pool: Arc::clone(self),
            bytes: 0,
            privileged: false,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes taken from a pool, given back when dropped.
#[derive(Debug)]
pub struct Lease {
    pool: Arc<AnswerPool>,
    bytes: usize,
    privileged: bool,
}

impl Lease {
    /// Takes `bytes` more if there is room, or if no other lease stands past the limit.
    pub fn try_grow(&mut self, bytes: usize) -> bool {
        let mut state = self.pool.state();
        let fits = state.held.saturating_add(state.leased).saturating_add(bytes) <= state.limit;
        if !fits && !self.privileged {
            if state.privileged {
                return false;
            }
            state.privileged = true;
            self.privileged = true;
        }
        state.leased += bytes;
        self.bytes += bytes;
        true
    }

    /// Takes `bytes` more, waiting for room.
    pub async fn grow(&mut self, bytes: usize) {
        let pool = Arc::clone(&self.pool);
        loop {
            let freed = pool.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if self.try_grow(bytes) {
                return;
            }
            freed.await;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut state = self.pool.state();
        state.leased -= self.bytes;
        if self.privileged {
            state.privileged = false;
        }
        drop(state);
        self.pool.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn one_lease_may_always_finish_and_a_second_waits_for_room() {
        let pool = AnswerPool::new(100);
        let (mut first, mut second) = (pool.lease(), pool.lease());
        assert!(first.try_grow(60));
        assert!(second.try_grow(40));
        assert!(first.try_grow(50), "the first past the limit is privileged");
        assert!(!second.try_grow(1));
        assert!(first.try_grow(1000));
        drop(first);
        assert_eq!(pool.leased(), 40);
        assert!(second.try_grow(60));
        drop(second);
        assert_eq!(pool.leased(), 0);
    }

    #[test]
    fn what_is_held_elsewhere_counts() {
        let pool = AnswerPool::new(100);
        pool.set(100, 100);
        let (mut first, mut second) = (pool.lease(), pool.lease());
        assert!(first.try_grow(1));
        assert!(!second.try_grow(1));
        pool.set(0, 100);
        assert!(second.try_grow(99));
    }

    #[test]
    fn a_waiting_lease_is_woken_when_the_limit_rises() {
        let pool = AnswerPool::new(10);
        let (mut first, mut second) = (pool.lease(), pool.lease());
        assert!(first.try_grow(11));
        let mut context = Context::from_waker(Waker::noop());
        let mut waiting = Box::pin(second.grow(5));
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        pool.set(0, 16);
        assert_eq!(waiting.as_mut().poll(&mut context), Poll::Ready(()));
    }

    #[test]
    fn a_waiting_lease_is_woken_when_another_is_dropped() {
        let pool = AnswerPool::new(10);
        let (mut first, mut second) = (pool.lease(), pool.lease());
        assert!(first.try_grow(11));
        let mut context = Context::from_waker(Waker::noop());
        let mut waiting = Box::pin(second.grow(5));
        assert!(waiting.as_mut().poll(&mut context).is_pending());
        drop(first);
        assert_eq!(waiting.as_mut().poll(&mut context), Poll::Ready(()));
    }
}

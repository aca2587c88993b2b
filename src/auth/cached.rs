//! Proof that is fetched, kept until shortly before it ends, and fetched by one call while others wait for it. What can't be
//! renewed is used on until its end.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;
use tokio::time::timeout;

use super::{Proof, Unproven};

/// What is known to end is renewed when a fifth of its time is left, or a minute.
const MOST_MARGIN: Duration = Duration::from_secs(60);
/// What could not be renewed is asked for again after half of its time, within these.
const ASK_AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(1)];

/// Something that was fetched.
#[derive(Clone)]
pub(super) struct Fetched<T> {
    pub(super) value: T,
    /// How long it is good for, from when it was asked for; `None`: until it is refused.
    pub(super) valid_for: Option<Duration>,
}

#[derive(Clone)]
struct Kept<T> {
    value: T,
    proof: Proof,
    keep: Option<Duration>,
    ends: Option<Instant>,
}

/// The latest of what was fetched.
pub(super) struct Cached<T> {
    cache: Cache<(), Kept<T>>,
    fetched: AtomicU64,
    /// Until it is refused.
    latest: Mutex<Option<Kept<T>>>,
}

impl<T> fmt::Debug for Cached<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cached(…)")
    }
}

struct ByItsTime;

impl<T> Expiry<(), Kept<T>> for ByItsTime {
    fn expire_after_create(&self, (): &(), kept: &Kept<T>, _: Instant) -> Option<Duration> {
        kept.keep
    }
}

impl<T: Clone + Send + Sync + 'static> Cached<T> {
    pub(super) fn new() -> Cached<T> {
        Cached {
            cache: Cache::builder().max_capacity(1).expire_after(ByItsTime).build(),
            fetched: AtomicU64::new(0),
            latest: Mutex::new(None),
        }
    }

    /// What is kept, or what `fetch` comes to.
    pub(super) async fn get(
        &self,
        fetch: impl Future<Output = Result<Fetched<T>, Unproven>>,
    ) -> Result<(T, Proof), Unproven> {
        let kept = self.cache.try_get_with((), async {
            let asked = Instant::now();
            let Some((good, left)) = self.still_good(asked) else {
                return Ok(self.keep(fetch.await?, asked));
            };
            // Whoever gives it out may be slow, or away: calls go on with what is there.
            match timeout(left / 2, fetch).await {
                Ok(Ok(fetched)) => Ok(self.keep(fetched, asked)),
                Ok(Err(_)) | Err(_) => Ok(good),
            }
        });
        match kept.await {
            Ok(kept) => Ok((kept.value, kept.proof)),
            Err(unproven) => Err(Unproven::clone(&unproven)),
        }
    }

    fn keep(&self, fetched: Fetched<T>, asked: Instant) -> Kept<T> {
        let margin = |valid: Duration| (valid / 5).min(MOST_MARGIN);
        let until_renewed = |valid: Duration| (valid - margin(valid)).saturating_sub(asked.elapsed());
        let kept = Kept {
            value: fetched.value,
            proof: Proof(self.fetched.fetch_add(1, Ordering::Relaxed) + 1),
            keep: fetched.valid_for.map(until_renewed),
            ends: fetched.valid_for.map(|valid| asked + valid),
        };
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept.clone());
        kept
    }

    /// What was fetched last, to be renewed soon, and how long it is good for.
    fn still_good(&self, now: Instant) -> Option<(Kept<T>, Duration)> {
        let mut kept = self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let left = kept.ends?.checked_duration_since(now).filter(|left| !left.is_zero())?;
        let [least, most] = ASK_AGAIN_AFTER;
        kept.keep = Some((left / 2).clamp(least, most).min(left));
        Some((kept, left))
    }

    /// Throws away what was refused, unless another call has done so: the next one fetches.
    pub(super) fn renew(&self, refused: Proof) -> bool {
        if self.fetched.load(Ordering::Relaxed) == refused.0 {
            *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = None;
            self.cache.invalidate_all();
        }
        true
    }
}

//! Proof that is fetched, kept until shortly before it ends, and fetched by one call while others wait for it.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::future::Cache;

use super::{Proof, Unproven};

/// What is known to end is renewed when a fifth of its time is left, or a minute.
const MOST_MARGIN: Duration = Duration::from_secs(60);

/// Something that was fetched.
#[derive(Clone)]
pub(super) struct Fetched<T> {
    pub(super) value: T,
    /// How long it is good for; `None`: until it is refused.
    pub(super) valid_for: Option<Duration>,
}

#[derive(Clone)]
struct Kept<T> {
    value: T,
    proof: Proof,
    keep: Option<Duration>,
}

/// The latest of what was fetched.
pub(super) struct Cached<T> {
    cache: Cache<(), Kept<T>>,
    fetched: AtomicU64,
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
        }
    }

    /// What is kept, or what `fetch` comes to.
    pub(super) async fn get(
        &self,
        fetch: impl Future<Output = Result<Fetched<T>, Unproven>>,
    ) -> Result<(T, Proof), Unproven> {
        let kept = self.cache.try_get_with((), async {
            let fetched = fetch.await?;
            let margin = |valid: Duration| (valid / 5).min(MOST_MARGIN);
            Ok(Kept {
                value: fetched.value,
                proof: Proof(self.fetched.fetch_add(1, Ordering::Relaxed) + 1),
                keep: fetched.valid_for.map(|valid| valid - margin(valid)),
            })
        });
        match kept.await {
            Ok(kept) => Ok((kept.value, kept.proof)),
            Err(unproven) => Err(Unproven::clone(&unproven)),
        }
    }

    /// Throws away what was refused, unless another call has done so: the next one fetches.
    pub(super) fn renew(&self, refused: Proof) -> bool {
        if self.fetched.load(Ordering::Relaxed) == refused.0 {
            self.cache.invalidate_all();
        }
        true
    }
}

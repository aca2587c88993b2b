//! One thread a core, each with its own event loop. A pipeline lives on one of them with its connections, so that what
//! it does for a record wakes no other thread.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The threads that pipelines run on.
#[derive(Debug)]
pub struct Shards {
    shards: Vec<Shard>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Shard {
    handle: Handle,
    /// Dropped to end the thread.
    _alive: oneshot::Sender<()>,
}

impl Shards {
    /// Starts a thread for each core.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start() -> io::Result<Shards> {
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let shards = (0..cores).map(Shard::start).collect::<io::Result<_>>()?;
        Ok(Shards {
            shards,
            next: AtomicUsize::new(0),
        })
    }

    /// Runs a future on the next thread.
    pub(super) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % self.shards.len();
        self.shards[at].handle.spawn(future);
    }
}

impl Shard {
    fn start(index: usize) -> io::Result<Shard> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel::<()>();
        std::thread::Builder::new()
            .name(format!("shard-{index}"))
            .spawn(move || {
                // Ends with an error when the sender is dropped, which is the sign to end.
                let _ = runtime.block_on(ended);
            })?;
        Ok(Shard { handle, _alive: alive })
    }
}

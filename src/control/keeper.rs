//! Keeps one pipeline as it is wished: started, drained and started anew, paused, or not there.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::registry::SkipOrder;
use super::supervisor::Wish;
use crate::delivery::record::TopicPartition;
use crate::kafka::Leave;
use crate::pipeline::{Picture, Pipeline, Redriver, Shards};

/// What keeps one pipeline.
#[derive(Debug)]
pub(super) struct Keeper {
    wishes: watch::Sender<Option<Wish>>,
    /// How the pipeline leaves its group when the keeper ends.
    leave: Arc<OnceLock<Leave>>,
    seen: Arc<Mutex<Option<Seen>>>,
    keeping: JoinHandle<()>,
}

/// What is seen of a pipeline that runs.
#[derive(Debug)]
struct Seen {
    picture: watch::Receiver<Picture>,
    redriver: Redriver,
}

impl Keeper {
    /// Begins with a pipeline that is not there.
    pub(super) fn start(shards: &Arc<Shards>) -> Keeper {
        let (wishes, wished) = watch::channel(None);
        let (seen, leave) = (Arc::default(), Arc::default());
        let keeping = tokio::spawn(keep(wished, shards.clone(), Arc::clone(&seen), Arc::clone(&leave)));
        Keeper {
            wishes,
            leave,
            seen,
            keeping,
        }
    }

    /// How the pipeline is to be from now on; `None`: not at all.
    pub(super) fn wish(&self, wish: Option<Wish>) {
        self.wishes.send_if_modified(|now| {
            let new = *now != wish;
            *now = wish;
            new
        });
    }

    /// Whether it is to run.
    pub(super) fn is_wished(&self) -> bool {
        self.wishes.borrow().is_some()
    }

    /// What the pipeline looks like, where it runs.
    pub(super) fn picture(&self) -> Option<Picture> {
        lock(&self.seen).as_ref().map(|seen| seen.picture.borrow().clone())
    }

    /// Sends the pipeline's dead letters through it once more, where it runs.
    pub(super) fn redriver(&self) -> Option<Redriver> {
        lock(&self.seen).as_ref().map(|seen| seen.redriver.clone())
    }

    /// Drains the pipeline, and waits until it has ended.
    pub(super) async fn end(self, leave: Leave) {
        let _ = self.leave.set(leave);
        drop(self.wishes);
        // A keeper that panicked keeps nothing any more.
        let _ = self.keeping.await;
    }
}

async fn keep(
    mut wishes: watch::Receiver<Option<Wish>>,
    shards: Arc<Shards>,
    seen: Arc<Mutex<Option<Seen>>>,
    leave: Arc<OnceLock<Leave>>,
) {
    let mut running: Option<(Pipeline, Wish)> = None;
    loop {
        let wish = wishes.borrow_and_update().clone();
        match (running.take(), wish) {
            (None, None) => {}
            (None, Some(wish)) => {
                let pipeline = Pipeline::start(wish.settings.clone(), &shards);
                skip(&pipeline, &wish.skips);
                *lock(&seen) = Some(Seen {
                    picture: pipeline.watch(),
                    redriver: pipeline.redriver().clone(),
                });
                running = Some((pipeline, wish));
            }
            (Some((pipeline, now)), Some(wish)) if now.run == wish.run => {
                if now.settings.paused != wish.settings.paused {
                    pipeline.set_paused(wish.settings.paused);
                }
                if now.settings.share_bytes != wish.settings.share_bytes {
                    pipeline.set_share(wish.settings.share_bytes);
                }
                let told = now.skips.len();
                match wish.skips.strip_prefix(&now.skips[..]) {
                    Some(_) => skip(&pipeline, &wish.skips[told..]),
                    None => skip(&pipeline, &wish.skips),
                }
                running = Some((pipeline, wish));
            }
            (Some((pipeline, _)), Some(_) | None) => {
                // A member that came back with other topics would not make the group share them out.
                drain(pipeline, Leave::ForGood).await;
                *lock(&seen) = None;
                continue;
            }
        }
        if wishes.changed().await.is_err() {
            break;
        }
    }
    if let Some((pipeline, _)) = running {
        drain(pipeline, leave.get().copied().unwrap_or(Leave::ForGood)).await;
    }
}

/// A range that is told again, or that has passed, changes nothing; those that can't be taken are told by the pipeline's
/// own bound, and come again with its next start.
fn skip(pipeline: &Pipeline, orders: &[SkipOrder]) {
    for order in orders {
        let source = TopicPartition {
            topic: order.topic.as_str().into(),
            partition: order.partition,
        };
        let _ = pipeline.skip(&source, order.from, order.to, &order.reason);
    }
}

async fn drain(mut pipeline: Pipeline, leave: Leave) {
    pipeline.close(leave);
    pipeline.ended().await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

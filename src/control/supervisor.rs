//! Runs what this worker is to run.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;

use super::keeper::Keeper;
use super::registry::SkipOrder;
use crate::kafka::Leave;
use crate::pipeline::{Picture, PipelineSettings, PipelineState, Redriver, Shards};

/// A pipeline as it is to be.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What it is told.
    pub settings: PipelineSettings,
    /// Names everything that takes a new start to change: two wishes of one run differ at most in being paused, in their
    /// share of the worker's bytes, and in what is passed over.
    pub run: String,
    /// Records to pass over.
    pub skips: Vec<SkipOrder>,
}

impl PartialEq for Wish {
    fn eq(&self, other: &Wish) -> bool {
        let share = self.settings.share_bytes == other.settings.share_bytes;
        share && self.run == other.run && self.settings.paused == other.settings.paused && self.skips == other.skips
    }
}

/// Runs the pipelines of this worker.
#[derive(Debug)]
pub struct Supervisor {
    shards: Arc<Shards>,
    keepers: Mutex<BTreeMap<String, Keeper>>,
}

impl Supervisor {
    /// Starts the threads that pipelines run on.
    ///
    /// # Errors
    /// The system's, where it gives no threads.
    pub fn start() -> io::Result<Supervisor> {
        Ok(Supervisor {
            shards: Arc::new(Shards::start()?),
            keepers: Mutex::default(),
        })
    }

    /// These pipelines are to run from now on, and no others. Must be called within a Tokio runtime.
    pub fn set(&self, wishes: Vec<Wish>) {
        let mut keepers = self.keepers();
        let mut wished: BTreeMap<String, Wish> = (wishes.into_iter())
            .map(|wish| (wish.settings.name.clone(), wish))
            .collect();
        for (name, keeper) in keepers.iter() {
            keeper.wish(wished.remove(name));
        }
        for (name, wish) in wished {
            let keeper = Keeper::start(&self.shards);
            keeper.wish(Some(wish));
            keepers.insert(name, keeper);
        }
    }

    /// What a pipeline looks like, where it runs on this worker.
    pub fn picture(&self, name: &str) -> Option<Picture> {
        self.keepers().get(name)?.picture()
    }

    /// Sends a pipeline's dead letters through it once more, where it runs on this worker.
    pub fn redriver(&self, name: &str) -> Option<Redriver> {
        self.keepers().get(name)?.redriver()
    }

    /// Whether a pipeline runs here, or is to.
    pub fn has(&self, name: &str) -> bool {
        self.keepers().get(name).is_some_and(Keeper::is_wished)
    }

    /// Whether all pipelines are members of their groups; the error says what one of them waits for.
    ///
    /// # Errors
    /// What it waits for.
    pub fn ready(&self) -> Result<(), String> {
        let keepers = self.keepers();
        let waiting = keepers
            .values()
            .filter_map(Keeper::picture)
            .find_map(|picture| match picture.state {
                PipelineState::Starting => Some("a pipeline is starting".to_owned()),
                PipelineState::Waiting(reason) => Some(reason),
                PipelineState::Running | PipelineState::Stopped => None,
            });
        waiting.map_or(Ok(()), Err)
    }

    /// Drains all pipelines, side by side, and leaves their groups.
    pub async fn close(&self, leave: Leave) {
        let keepers = std::mem::take(&mut *self.keepers());
        join_all(keepers.into_values().map(|keeper| keeper.end(leave))).await;
    }

    fn keepers(&self) -> MutexGuard<'_, BTreeMap<String, Keeper>> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Joins source, function and sinks around the delivery core; the only clock and dice.

mod clock;
mod effects;
mod prepare;
mod redrive;
mod restarts;
mod run;
mod settings;
mod shards;
mod share;
mod skips;
mod transactions;
mod trial;
mod turn;

use tokio::sync::{mpsc, watch};

use self::skips::SkipList;
use crate::delivery::event::View;
use crate::delivery::record::TopicPartition;
use crate::delivery::skips::SkipRange;
use crate::kafka::Leave;

pub use redrive::{Fate, Fated, Redrive, Redriven, Redriver, Told};
pub use settings::PipelineSettings;
pub use shards::Shards;
pub use share::{Claim, share_by_weight};
pub use skips::SkipError;
pub use trial::{Trial, WouldSend, try_record, would_send};

/// A pipeline that runs on this worker: its task, and the parts that the task is joined with.
#[derive(Debug)]
pub struct Pipeline {
    redriver: Redriver,
    control: mpsc::UnboundedSender<Control>,
    picture: watch::Receiver<Picture>,
    skips: SkipList,
}

/// What a running pipeline can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Control {
    /// Drain, leave the group, end.
    Close(Leave),
    /// Keep the partitions and call nothing, or go on.
    SetPaused(bool),
    /// What the worker leaves to it of the bytes that it may hold.
    SetShare(usize),
    /// Pass over records.
    Skip(TopicPartition, SkipRange),
}

/// How far a pipeline has come, and what its task looks like.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    /// How far it has come.
    pub state: PipelineState,
    /// Its task.
    pub view: View,
}

/// How far a pipeline has come on this worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PipelineState {
    /// Its dead-letter topic and its group are being looked at; the reason says what it waits for.
    #[default]
    Starting,
    /// It waits for something that it cannot start without.
    Waiting(String),
    /// It is a member of its group.
    Running,
    /// It is draining, or has ended.
    Stopped,
}

impl Pipeline {
    /// Starts a pipeline on one of the worker's shards.
    pub fn start(settings: PipelineSettings, shards: &Shards) -> Pipeline {
        let (control, commands) = mpsc::unbounded_channel();
        let (publish, picture) = watch::channel(Picture::default());
        let redriver = Redriver::of(settings);
        let skips = SkipList::default();
        shards.spawn(run::supervise(redriver.clone(), commands, publish, skips.clone()));
        Pipeline {
            redriver,
            control,
            picture,
            skips,
        }
    }

    /// The pipeline's name.
    pub fn name(&self) -> &str {
        &self.redriver.settings().name
    }

    /// Sends its dead letters through it once more.
    pub fn redriver(&self) -> &Redriver {
        &self.redriver
    }

    /// What the pipeline looks like now. It changes about twice a second.
    pub fn picture(&self) -> Picture {
        self.picture.borrow().clone()
    }

    /// What the pipeline looks like from now on.
    pub fn watch(&self) -> watch::Receiver<Picture> {
        self.picture.clone()
    }

    /// Keeps its partitions and calls nothing, or goes on.
    pub fn set_paused(&self, paused: bool) {
        // A pipeline that has ended by itself needs no telling.
        let _ = self.control.send(Control::SetPaused(paused));
    }

    /// What the worker leaves to it from now on of the bytes that it may hold: what it holds above that is let go of as its
    /// records are done with, and it never holds more than its own limit.
    pub fn set_share(&self, bytes: usize) {
        // A pipeline that has ended by itself needs no telling.
        let _ = self.control.send(Control::SetShare(bytes));
    }

    /// Passes over the records of a partition from one offset to another, both included: those that are not settled become
    /// dead letters of stage `operator` with this reason, as soon as no call and no sink holds them. It holds for this
    /// worker and until the pipeline is started anew: whoever reads the partition next is to be told, too.
    ///
    /// # Errors
    /// A range that is empty, or one more than are kept for a partition.
    pub fn skip(&self, source: &TopicPartition, from: i64, to: i64, reason: &str) -> Result<(), SkipError> {
        let reason = reason.into();
        let range = SkipRange { from, to, reason };
        self.skips.add(source, range.clone())?;
        // A pipeline that has ended by itself has no records to pass over.
        let _ = self.control.send(Control::Skip(source.clone(), range));
        Ok(())
    }

    /// Starts the drain, and leaves the group after it; [`Pipeline::ended`] says when it is over.
    pub fn close(&self, leave: Leave) {
        // A pipeline that has ended by itself needs no telling.
        let _ = self.control.send(Control::Close(leave));
    }

    /// Waits until the pipeline has drained, left its group and ended.
    pub async fn ended(&mut self) {
        while self.picture.changed().await.is_ok() {}
    }
}

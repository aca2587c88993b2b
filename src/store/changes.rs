//! Who waits for which kind of key to change.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::Revision;

/// The watchers of one store, by kind.
#[derive(Debug, Default)]
pub(super) struct Changes(Mutex<BTreeMap<String, watch::Sender<Revision>>>);

impl Changes {
    pub(super) fn watch(&self, kind: &str) -> watch::Receiver<Revision> {
        self.all().entry(kind.to_owned()).or_default().subscribe()
    }

    /// Keys of this kind were written by this commit, or an earlier one.
    pub(super) fn tell(&self, kind: &str, revision: Revision) {
        if let Some(sender) = self.all().get(kind) {
            sender.send_if_modified(|known| {
                let newer = *known < revision;
                *known = revision.max(*known);
                newer
            });
        }
    }

    /// Changes up to this commit may have been missed: everybody looks.
    pub(super) fn tell_all(&self, revision: Revision) {
        let up_to = |known: &mut Revision| *known = revision.max(*known);
        self.all().values().for_each(|sender| sender.send_modify(up_to));
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<String, watch::Sender<Revision>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What redrives and accounts see of this worker and its fleet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::desk::{Desk, now_ms};
use super::here::Here;
use super::leader::Decided;
use super::{Duty, lock, reports};
use crate::control::access::Secrets;
use crate::control::accounts::Leads;
use crate::control::letters::Letters;
use crate::control::redrives::Around;
use crate::control::registry::Registry;
use crate::kafka::{ClusterSettings, SourceSettings};
use crate::letters::Index;
use crate::pipeline::Redriver;
use crate::store::{Store, StoreError};

/// What redrives see of this worker and its fleet.
pub(super) struct Surroundings {
    pub(super) here: Arc<Here>,
    pub(super) store: Arc<dyn Store>,
    pub(super) desk: Desk,
    pub(super) secrets: Secrets,
    pub(super) letters: Letters,
    pub(super) decided: Arc<Mutex<Decided>>,
    /// Pipelines that only workers without a store run: who leads redrives through them from apart. Each with the revision of the
    /// document that it was made of.
    pub(super) apart: Mutex<BTreeMap<String, (u64, Redriver)>>,
    /// What pipelines read, by the revision of their documents.
    pub(super) sources: Mutex<BTreeMap<String, (u64, SourceSettings)>>,
}

impl Surroundings {
    async fn keep_apart(&self, pipelines: &BTreeSet<String>) -> Result<(), StoreError> {
        let reports = reports(&*self.store).await?;
        let can_redrive = |name: &String| {
            let with_store = reports
                .iter()
                .filter(|report| report.identity.duties.contains(&Duty::Control));
            with_store.into_iter().any(|report| report.tasks.contains_key(name))
        };
        let registered = self.desk.pipelines().await?;
        let orphans: BTreeSet<&String> = pipelines.iter().filter(|name| !can_redrive(name)).collect();
        lock(&self.apart).retain(|name, _| orphans.contains(name));
        for name in orphans {
            let Some(pipeline) = registered.get(name) else { continue };
            if lock(&self.apart)
                .get(name)
                .is_some_and(|(revision, _)| *revision == pipeline.revision)
            {
                continue;
            }
            let secrets = self.secrets.values().await?;
            // A document that can't be built here is told by the workers that run it.
            if let Ok(built) = self.here.foundation.pipeline(&pipeline.document.to_string(), &secrets) {
                let redriver = Redriver::of(built.settings);
                lock(&self.apart).insert(name.clone(), (pipeline.revision, redriver));
            }
        }
        Ok(())
    }
}

impl Surroundings {
    async fn look_up_sources(&self) -> Result<Vec<(String, SourceSettings)>, StoreError> {
        let registered = self.desk.pipelines().await?;
        let is_known = |name: &str, revision: u64| {
            lock(&self.sources)
                .get(name)
                .is_some_and(|(known, _)| *known == revision)
        };
        if registered
            .values()
            .any(|pipeline| !is_known(&pipeline.name, pipeline.revision))
        {
            let secrets = self.secrets.values().await?;
            for pipeline in registered
                .values()
                .filter(|pipeline| !is_known(&pipeline.name, pipeline.revision))
            {
                let built = self.here.foundation.pipeline(&pipeline.document.to_string(), &secrets);
                // One that can't be built here is told by the workers that are to run it.
                let Ok(built) = built else { continue };
                lock(&self.sources).insert(pipeline.name.clone(), (pipeline.revision, built.settings.source));
            }
        }
        let mut sources = lock(&self.sources);
        sources.retain(|name, _| registered.contains_key(name));
        let stored = sources.iter().map(|(name, (_, source))| (name.clone(), source.clone()));
        let files = self.here.files.borrow();
        let from_files = files
            .iter()
            .map(|file| (file.settings.name.clone(), file.settings.source.clone()));
        Ok(stored.chain(from_files).collect())
    }
}

impl Around for Surroundings {
    fn worker(&self) -> &str {
        &self.here.identity.id
    }

    fn redriver(&self, pipeline: &str) -> Option<Redriver> {
        let own = self.here.supervisor.redriver(pipeline);
        own.or_else(|| lock(&self.apart).get(pipeline).map(|(_, redriver)| redriver.clone()))
    }

    fn index(&self) -> Option<Arc<Index>> {
        let keeps = self.letters.is_shared || Around::leads(self);
        keeps.then(|| self.letters.index.clone())
    }

    fn cluster(&self, name: &str) -> Option<Arc<ClusterSettings>> {
        self.here.foundation.worker().clusters.get(name).cloned()
    }

    fn leads(&self) -> bool {
        lock(&self.decided).leads
    }

    fn knows<'a>(&'a self, pipeline: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        async move {
            // What was followed so far may lack one that was registered just now.
            if Registry::new(self.store.clone()).get(pipeline).await?.is_some() {
                return Ok(true);
            }
            let here = self
                .here
                .files
                .borrow()
                .iter()
                .any(|file| file.settings.name == pipeline);
            Ok(here || (reports(&*self.store).await?.iter()).any(|report| report.files.contains_key(pipeline)))
        }
        .boxed()
    }

    fn look_after<'a>(&'a self, pipelines: &'a BTreeSet<String>) -> BoxFuture<'a, Result<(), StoreError>> {
        self.keep_apart(pipelines).boxed()
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(now_ms()).unwrap_or(i64::MAX)
    }
}

impl Leads for Surroundings {
    fn leads(&self) -> bool {
        Around::leads(self)
    }

    fn sources(&self) -> BoxFuture<'_, Result<Vec<(String, SourceSettings)>, StoreError>> {
        self.look_up_sources().boxed()
    }

    fn now_ms(&self) -> i64 {
        Around::now_ms(self)
    }
}

//! From what is registered and placed here to what the supervisor is to run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::plane::Work;
use crate::config::{Foundation, Registration, share_out};
use crate::control::registry::{Registered, SkipOrder};
use crate::control::supervisor::Wish;
use crate::pipeline::PipelineSettings;

/// Documents are built again after so long: what stands in files and in the environment may have changed.
const BUILD_AGAIN: Duration = Duration::from_secs(10);

/// The documents that were built, so that each is built once a revision.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    built: BTreeMap<String, Built>,
}

#[derive(Debug)]
struct Built {
    revision: u64,
    at: Instant,
    /// The settings, or every problem that this worker has with the document.
    outcome: Result<PipelineSettings, String>,
    run: String,
}

impl Wishes {
    /// What is to run: pipelines from files first, then those that were placed here and have other names.
    pub(super) fn of(
        &mut self,
        files: &[Registration],
        work: &Work,
        foundation: &Foundation,
    ) -> (Vec<Wish>, BTreeMap<String, String>) {
        let (placed, secrets) = (&work.pipelines, &work.secrets);
        let mut runs: BTreeMap<String, String> = BTreeMap::new();
        let files: Vec<&PipelineSettings> = files.iter().map(|file| &file.settings).collect();
        let mut settings: Vec<PipelineSettings> = files.iter().map(|file| (*file).clone()).collect();
        let mut refused = BTreeMap::new();
        for pipeline in &files {
            let run = format!("{}/{:x}", pipeline.revision, pipeline.references);
            runs.insert(pipeline.name.clone(), run);
        }
        self.built
            .retain(|name, _| placed.iter().any(|pipeline| pipeline.name == *name));
        // One whose offsets are to be moved leaves its group until they are.
        let placed = placed.iter().filter(|pipeline| pipeline.seek.is_none());
        let mut skips: BTreeMap<&str, &[SkipOrder]> = BTreeMap::new();
        for pipeline in placed.filter(|pipeline| files.iter().all(|file| file.name != pipeline.name)) {
            let built = self.build(pipeline, foundation, secrets);
            match &built.outcome {
                Ok(built_settings) => {
                    skips.insert(&pipeline.name, &pipeline.skips);
                    runs.insert(pipeline.name.clone(), built.run.clone());
                    settings.push(built_settings.clone());
                }
                Err(problems) => {
                    refused.insert(pipeline.name.clone(), problems.clone());
                }
            }
        }
        for pipeline in &mut settings {
            let source = &mut pipeline.source;
            source.has_run = work
                .have_run
                .contains(&format!("{}/{}", source.cluster.name, source.group));
        }
        let wishes = share_out(settings, foundation.worker())
            .into_iter()
            .map(|settings| Wish {
                run: runs.remove(&settings.name).unwrap_or_default(),
                skips: skips
                    .get(settings.name.as_str())
                    .map(|skips| skips.to_vec())
                    .unwrap_or_default(),
                settings,
            });
        (wishes.collect(), refused)
    }

    fn build(&mut self, pipeline: &Registered, foundation: &Foundation, secrets: &BTreeMap<String, String>) -> &Built {
        let now = Instant::now();
        let fresh = |built: &Built| built.revision == pipeline.revision && now.duration_since(built.at) < BUILD_AGAIN;
        if !self.built.get(&pipeline.name).is_some_and(fresh) {
            let outcome = foundation.pipeline(&pipeline.document.to_string(), secrets);
            let outcome = outcome.map_err(|problems| problems.to_string()).map(|registration| {
                let mut settings = registration.settings;
                settings.revision = pipeline.revision.to_string();
                settings.dead_letter.revision = settings.revision.clone();
                settings
            });
            let built = Built {
                revision: pipeline.revision,
                at: now,
                run: run(pipeline, outcome.as_ref().map_or(0, |settings| settings.references)),
                outcome,
            };
            self.built.insert(pipeline.name.clone(), built);
        }
        &self.built[&pipeline.name]
    }
}

/// Names everything that takes a new start to change: the document but for `state`, restarts by hand, and the values that
/// the document refers to.
fn run(pipeline: &Registered, references: u64) -> String {
    let mut document = pipeline.document.clone();
    if let Some(fields) = document.as_object_mut() {
        fields.remove("state");
    }
    document.sort_all_objects();
    let digest = Sha256::digest(document.to_string().as_bytes());
    let hash: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{hash}/{}/{references:x}", pipeline.restarts)
}

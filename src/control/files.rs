//! Pipelines from files, read anew when the files change.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{self, Loaded, Registration};
use crate::pipeline::PipelineSettings;
use crate::telemetry::WorkerTelemetry;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Follows a worker's files: the pipelines in them, as they are now. A file with problems leaves what was there.
pub fn follow(file: PathBuf, pipelines: Vec<Registration>) -> (watch::Receiver<Vec<Registration>>, JoinHandle<()>) {
    let (sender, receiver) = watch::channel(pipelines);
    (receiver, tokio::spawn(look(file, sender)))
}

async fn look(file: PathBuf, sender: watch::Sender<Vec<Registration>>) {
    let mut told = String::new();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let named = file.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || config::load(&named)).await else {
            continue;
        };
        match read {
            Ok(loaded) => {
                told.clear();
                let read = registrations(&loaded);
                let count = read.len();
                let replaced = sender.send_if_modified(|known| {
                    let new = names(known) != names(&read);
                    if new {
                        *known = read;
                    }
                    new
                });
                if replaced {
                    WorkerTelemetry.files_read(count);
                }
            }
            Err(problems) => {
                let problems = problems.to_string();
                if told != problems {
                    WorkerTelemetry.files_refused(&problems);
                }
                told = problems;
            }
        }
    }
}

/// A worker's pipelines from files, with their documents.
pub fn registrations(loaded: &Loaded) -> Vec<Registration> {
    let registration = |settings: &PipelineSettings| Registration {
        document: loaded.documents.get(&settings.name).cloned().unwrap_or_default(),
        settings: settings.clone(),
    };
    loaded.pipelines.iter().map(registration).collect()
}

/// What tells two readings of the same files apart.
fn names(pipelines: &[Registration]) -> Vec<(&str, &str, u64)> {
    let all = pipelines.iter().map(|pipeline| &pipeline.settings);
    all.map(|settings| (settings.name.as_str(), settings.revision.as_str(), settings.references))
        .collect()
}

//! Pipelines from files, read anew when the files change.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{self, Loaded, Registration};
use crate::pipeline::PipelineSettings;
use crate::telemetry::WorkerTelemetry;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// They are read after so long even where they look the same: what they refer to may have changed.
const READ_EVERY: Duration = Duration::from_secs(10);

/// Follows the files that were loaded: the pipelines in them, as they are now. Files with problems leave what was there.
/// Must be called within a Tokio runtime.
pub fn follow(file: PathBuf, loaded: &Loaded) -> (watch::Receiver<Vec<Registration>>, JoinHandle<()>) {
    let (sender, receiver) = watch::channel(registrations(loaded));
    let follower = Follower {
        looks: looks(&loaded.files),
        files: loaded.files.clone(),
        read: Instant::now(),
        told: String::new(),
        file,
        sender,
    };
    (receiver, tokio::spawn(follower.run()))
}

struct Follower {
    file: PathBuf,
    /// All files that were read.
    files: Vec<PathBuf>,
    /// How these looked then.
    looks: Vec<Look>,
    read: Instant,
    /// The problems that were told last.
    told: String,
    sender: watch::Sender<Vec<Registration>>,
}

/// What shows that a file, or what is in a folder, was changed.
type Look = Option<(SystemTime, u64)>;

fn looks(files: &[PathBuf]) -> Vec<Look> {
    let folders: BTreeSet<&Path> = files.iter().filter_map(|file| file.parent()).collect();
    let all = files.iter().map(PathBuf::as_path).chain(folders);
    all.map(|path| {
        let found = path.metadata().ok()?;
        Some((found.modified().ok()?, found.len()))
    })
    .collect()
}

impl Follower {
    async fn run(mut self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let looks = looks(&self.files);
            if looks == self.looks && self.read.elapsed() < READ_EVERY {
                continue;
            }
            (self.looks, self.read) = (looks, Instant::now());
            let file = self.file.clone();
            match tokio::task::spawn_blocking(move || config::load(&file)).await {
                Ok(Ok(loaded)) => self.take(&loaded),
                Ok(Err(problems)) => self.tell(problems.to_string()),
                Err(_) => {}
            }
        }
    }

    fn take(&mut self, loaded: &Loaded) {
        self.told.clear();
        if self.files != loaded.files {
            self.files.clone_from(&loaded.files);
            self.looks = looks(&self.files);
        }
        let read = registrations(loaded);
        let count = read.len();
        let replaced = self.sender.send_if_modified(|known| {
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

    fn tell(&mut self, problems: String) {
        if self.told != problems {
            WorkerTelemetry.files_refused(&problems);
        }
        self.told = problems;
    }
}

/// A worker's pipelines from files, with their documents.
fn registrations(loaded: &Loaded) -> Vec<Registration> {
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

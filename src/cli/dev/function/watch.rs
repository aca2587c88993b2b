//! The files of a function: which of them matter, and when one changes.

use std::fs;
use std::path::{Path, PathBuf};

use notify::event::ModifyKind;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Folders that are not a function's own work.
const OTHERS: [&str; 6] = ["node_modules", "__pycache__", "target", "build", "dist", "venv"];

/// Sources and settings: a function's own log or database does not restart it.
const SOURCES: [&str; 35] = [
    "py",
    "pyi",
    "js",
    "mjs",
    "cjs",
    "ts",
    "mts",
    "tsx",
    "go",
    "mod",
    "sum",
    "work",
    "java",
    "kt",
    "scala",
    "rs",
    "rb",
    "php",
    "cs",
    "fs",
    "ex",
    "exs",
    "lua",
    "pl",
    "sh",
    "json",
    "yaml",
    "yml",
    "toml",
    "ini",
    "cfg",
    "properties",
    "xml",
    "sql",
    "env",
];

/// More folders than this are no function's.
const MOST_FOLDERS: usize = 1000;

/// Changes that wait to be seen; more are the same burst.
const CHANGES: usize = 64;

/// Watches a folder with all that is in it; ends when this is dropped.
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    root: PathBuf,
    changes: Receiver<PathBuf>,
    folders: usize,
}

impl Watch {
    /// Watches a folder.
    ///
    /// # Errors
    /// What keeps it from that, as a sentence.
    pub(super) fn start(root: &Path) -> Result<Watch, String> {
        let (sender, changes) = channel(CHANGES);
        let of = |error: notify::Error| format!("the files in {} can't be watched: {error}", root.display());
        let mut watch = Watch {
            watcher: notify::recommended_watcher(move |event| tell(event, &sender)).map_err(of)?,
            root: root.to_owned(),
            changes,
            folders: 0,
        };
        watch.add(root).map_err(of)?;
        Ok(watch)
    }

    /// Waits for a change, and names the file. Nothing is lost where the wait is given up.
    pub(super) async fn changed(&mut self) -> String {
        loop {
            let Some(path) = self.changes.recv().await else {
                return std::future::pending().await;
            };
            let Ok(inside) = path.strip_prefix(&self.root) else {
                continue;
            };
            let inside = inside.to_owned();
            if path.is_dir() && is_own(&inside) {
                // What can't be watched was removed again.
                let _ = self.add(&path);
            } else if matters(&inside) {
                return inside.display().to_string();
            }
        }
    }

    fn add(&mut self, folder: &Path) -> Result<(), notify::Error> {
        if self.folders == MOST_FOLDERS {
            let text = format!("it has more than {MOST_FOLDERS} folders, expected those of one function");
            return Err(notify::Error::generic(&text));
        }
        self.watcher.watch(folder, RecursiveMode::NonRecursive)?;
        self.folders += 1;
        for entry in fs::read_dir(folder)?.flatten() {
            let path = entry.path();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_folder && path.strip_prefix(&self.root).is_ok_and(is_own) {
                self.add(&path)?;
            }
        }
        Ok(())
    }
}

fn tell(event: notify::Result<notify::Event>, changes: &Sender<PathBuf>) {
    let Ok(event) = event else { return };
    let changes_something = match event.kind {
        EventKind::Create(_) | EventKind::Remove(_) => true,
        EventKind::Modify(what) => !matches!(what, ModifyKind::Metadata(_)),
        EventKind::Any | EventKind::Access(_) | EventKind::Other => false,
    };
    for path in event.paths.into_iter().filter(|_| changes_something) {
        // One that does not fit belongs to a burst that is seen anyway.
        let _ = changes.try_send(path);
    }
}

/// Whether a change of this file restarts the function. The path is within its folder.
fn matters(path: &Path) -> bool {
    let is_hidden_file = path.file_name().is_some_and(|name| name == ".env");
    let extension = path.extension().and_then(|extension| extension.to_str());
    let is_source = extension.is_some_and(|extension| SOURCES.contains(&extension));
    path.parent().is_some_and(is_own) && (is_hidden_file || (is_source && is_own(path)))
}

/// Whether a folder is the function's own work.
fn is_own(path: &Path) -> bool {
    path.iter()
        .map(|part| part.to_string_lossy())
        .all(|part| !part.starts_with('.') && !OTHERS.contains(&&*part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_and_settings_matter_and_what_a_function_writes_does_not() {
        for path in [
            "orders.py",
            "rules/clean.py",
            "go.mod",
            "config.yaml",
            ".env",
            "package.json",
        ] {
            assert!(matters(Path::new(path)), "{path}");
        }
        for path in [
            ".git/index.json",
            "node_modules/left/index.js",
            "rules/__pycache__/clean.cpython-311.pyc",
            "target/classes/a.json",
            ".orders.py.swp",
            "orders.py~",
            ".#orders.py",
            "out.log",
            "state.db",
            "4913",
        ] {
            assert!(!matters(Path::new(path)), "{path}");
        }
    }
}

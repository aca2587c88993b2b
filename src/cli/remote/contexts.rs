//! Fleets by name, kept in `$XDG_CONFIG_HOME/fnbridge/contexts.json`, which only its owner can read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Failure;

/// All contexts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::cli) struct Contexts {
    /// The one that is used where none is named.
    #[serde(default)]
    pub(in crate::cli) current: Option<String>,
    #[serde(default)]
    pub(in crate::cli) contexts: BTreeMap<String, Context>,
}

/// A fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::cli) struct Context {
    /// A worker of it.
    pub(in crate::cli) url: String,
    /// A file with the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) token_file: Option<PathBuf>,
    /// A file of certificates (PEM) that the fleet's may chain to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) ca: Option<PathBuf>,
}

impl Context {
    pub(super) fn token(&self) -> Result<Option<String>, Failure> {
        let read = |file: &PathBuf| {
            fs::read_to_string(file)
                .map(|text| text.trim().to_owned())
                .map_err(|error| {
                    Failure::Said(format!(
                        "the context's token can't be read from {}: {error}",
                        file.display()
                    ))
                })
        };
        self.token_file.as_ref().map(read).transpose()
    }
}

impl Contexts {
    /// The context of this name, or the current one.
    pub(super) fn find(&self, name: Option<&str>) -> Result<Option<&Context>, Failure> {
        let Some(name) = name.or(self.current.as_deref()) else {
            return Ok(None);
        };
        match self.contexts.get(name) {
            Some(context) => Ok(Some(context)),
            None => Err(Failure::Said(format!(
                "found no context named {name:?}; `fnbridge context list` shows those there are"
            ))),
        }
    }
}

pub(in crate::cli) fn load() -> Result<Contexts, Failure> {
    let file = file()?;
    match fs::read_to_string(&file) {
        Ok(text) => serde_json::from_str(&text)
            .map_err(|error| Failure::Said(format!("{} is not as fnbridge writes it: {error}", file.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Contexts::default()),
        Err(error) => Err(Failure::Said(format!("{} can't be read: {error}", file.display()))),
    }
}

/// The file appears whole, or not at all.
pub(in crate::cli) fn save(contexts: &Contexts) -> Result<(), Failure> {
    let file = file()?;
    let part = file.with_extension("part");
    let written = || -> io::Result<()> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut open = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)?;
        writeln!(open, "{}", serde_json::to_string_pretty(contexts)?)?;
        fs::rename(&part, &file)
    };
    written().map_err(|error| Failure::Said(format!("{} can't be written: {error}", file.display())))
}

fn file() -> Result<PathBuf, Failure> {
    let folder = std::env::var_os("XDG_CONFIG_HOME")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from);
    let folder = folder.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")));
    let folder = folder.ok_or_else(|| Failure::Said("neither XDG_CONFIG_HOME nor HOME is set".to_owned()))?;
    Ok(folder.join("fnbridge").join("contexts.json"))
}

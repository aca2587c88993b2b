//! Data on stdout: for people, or as the API said it.

use std::io::Write;

use clap::ValueEnum;
use serde_json::Value;

use super::remote::Failure;

/// How data is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// As the API answers.
    Json,
    /// The same, as YAML.
    Yaml,
}

impl Output {
    /// Prints an answer; `table` is what people see of it, with colours where stdout is a terminal.
    pub(super) fn print(self, raw: &Value, table: impl FnOnce() -> String) -> Result<(), Failure> {
        let text = match self {
            Output::Table => table(),
            Output::Json => format!("{raw:#}\n"),
            Output::Yaml => serde_saphyr::to_string(raw).map_err(|error| Failure::Said(format!("no YAML: {error}")))?,
        };
        let mut out = anstream::stdout().lock();
        // Whoever reads stdout may have seen enough.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        Ok(())
    }
}

//! What a pipeline is told, already validated.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::convert::{self, Formats};
use crate::deadletter::DeadLetterSettings;
use crate::delivery::event::Admission;
use crate::delivery::record::Record;
use crate::delivery::settings::TaskSettings;
use crate::filter::Filter;
use crate::function::FunctionSettings;
use crate::kafka::SourceSettings;
use crate::sink::SinkSettings;

/// What a pipeline is told.
#[derive(Clone, Debug)]
pub struct PipelineSettings {
    /// Its name, unique in the fleet.
    pub name: String,
    /// Names the document that it was made of: the start of its SHA-256.
    pub revision: String,
    /// A digest over the values that the document refers to: files, environment, secrets.
    pub references: u64,
    /// Labels, for people and metrics.
    pub labels: BTreeMap<String, String>,
    /// It keeps its partitions and calls nothing.
    pub paused: bool,
    /// The delivery rules.
    pub task: TaskSettings,
    /// What it counts for where pipelines share what their worker may hold; at least 1.
    pub weight: u32,
    /// What the worker leaves to it of the bytes that it may hold; its own limit holds as well.
    pub share_bytes: usize,
    /// Where records come from.
    pub source: SourceSettings,
    /// What a record must be before the function may see it; `None`: it travels as it is.
    pub formats: Option<Formats>,
    /// Which records the function sees, or the sinks where there is none; `None`: all of them.
    pub filter: Option<Arc<Filter>>,
    /// The function; `None`: records go to the sinks as they are.
    pub function: Option<FunctionSettings>,
    /// The sinks by name, in the order of their numbers.
    pub sinks: Vec<(String, SinkSettings)>,
    /// Where records go that were given up.
    pub dead_letter: DeadLetterSettings,
}

impl PipelineSettings {
    /// What conversion and filter make of a record.
    pub(super) fn admit(&self, record: &Record) -> Admission {
        let converted = self.formats.as_ref().map(|formats| convert::admit(record, formats));
        match (converted, &self.filter) {
            (None | Some(Admission::Pass), Some(filter)) => filter.admit(record),
            (Some(admission), _) => admission,
            (None, None) => Admission::Pass,
        }
    }

    /// The sinks' names, in the order of their numbers.
    pub fn sink_names(&self) -> Vec<String> {
        self.sinks.iter().map(|(name, _)| name.clone()).collect()
    }
}

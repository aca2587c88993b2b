//! What was said of pipelines lately: the log's own lines, kept for whoever looks.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::{LazyLock, Mutex};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use utoipa::ToSchema;

use super::metrics::state::lock;
use super::status::rfc3339;

/// How many lines are kept.
const KEPT: usize = 1000;

/// Something that happened to a pipeline, as the log says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PipelineEvent {
    /// Counts what a worker says, from 1; unique together with the worker.
    pub number: u64,
    /// When, RFC 3339.
    pub at: String,
    /// The worker that it happened on.
    pub worker: String,
    /// The pipeline.
    pub pipeline: String,
    /// `info`, `warn` or `error`.
    pub level: String,
    /// What happened.
    pub text: String,
}

struct Recent {
    kept: Mutex<Kept>,
    live: broadcast::Sender<PipelineEvent>,
}

#[derive(Default)]
struct Kept {
    said: u64,
    lines: VecDeque<PipelineEvent>,
}

static RECENT: LazyLock<Recent> = LazyLock::new(|| Recent {
    kept: Mutex::default(),
    live: broadcast::channel(KEPT).0,
});

/// What was said lately, oldest first, of one pipeline or of all. The worker's name is left to whoever knows it.
pub fn recent_events(pipeline: Option<&str>) -> Vec<PipelineEvent> {
    let kept = lock(&RECENT.kept);
    let of_it = |event: &&PipelineEvent| pipeline.is_none_or(|pipeline| event.pipeline == pipeline);
    kept.lines.iter().filter(of_it).cloned().collect()
}

/// What is said from now on. A receiver that falls behind loses the oldest.
pub fn live_events() -> broadcast::Receiver<PipelineEvent> {
    RECENT.live.subscribe()
}

/// Keeps the lines that name a pipeline.
pub(super) struct KeepRecent;

impl<S: Subscriber> Layer<S> for KeepRecent {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        if level > Level::INFO {
            return;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let Some(pipeline) = line.pipeline else { return };
        let mut kept = lock(&RECENT.kept);
        kept.said += 1;
        let event = PipelineEvent {
            number: kept.said,
            at: rfc3339(SystemTime::now()),
            worker: String::new(),
            pipeline,
            level: level.as_str().to_ascii_lowercase(),
            text: line.message + &line.fields,
        };
        if kept.lines.len() == KEPT {
            kept.lines.pop_front();
        }
        kept.lines.push_back(event.clone());
        // Nobody may be looking.
        let _ = RECENT.live.send(event);
    }
}

/// A log line's parts.
#[derive(Default)]
struct Line {
    pipeline: Option<String>,
    message: String,
    fields: String,
}

impl Line {
    fn take(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let written = match field.name() {
            "message" => write!(self.message, "{value}"),
            name => write!(self.fields, " {name}={value}"),
        };
        // Writing into a String can't fail.
        let _ = written;
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "pipeline" => self.pipeline = Some(value.to_owned()),
            _ => self.take(field, format_args!("{value}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format_args!("{value:?}"));
    }
}

//! What `docs/failures.md` says that an operator sees, held against what a worker shows.

use std::path::Path;

use super::metrics::Metrics;
use super::wait::{self, PATIENCE};
use super::worker::Worker;

const PAGE: &str = include_str!("../../../docs/failures.md");

/// Something that is to be seen, as the page has it: a word that says where, and what stands there, with `…` for whatever
/// differs.
#[derive(Debug)]
struct Sight {
    place: Place,
    text: &'static str,
}

#[derive(Debug)]
enum Place {
    /// What `fnbridge pipelines status` prints.
    Status,
    Log,
    /// A series and its value, which is above 0 where none is said.
    Metric,
}

/// Waits until all is seen that the rows say which name this test.
///
/// # Panics
/// If no row says that anything is, or something is not.
pub fn await_seen(test: &str, worker: &Worker, pipeline: &str, folder: &Path) {
    let sights = sights(test);
    assert!(
        !sights.is_empty(),
        "docs/failures.md does not say what is seen in {test}"
    );
    let mut unseen = Vec::new();
    let seen = wait::patiently(PATIENCE, || {
        let status = sights.iter().any(|sight| matches!(sight.place, Place::Status));
        let status = match status {
            true => printed(worker, pipeline, folder),
            false => Vec::new(),
        };
        let (log, metrics) = (worker.log(), worker.metrics());
        let missing = sights.iter().filter(|sight| !sight.is_in(&status, &log, &metrics));
        unseen = missing.map(|sight| format!("{sight:?}")).collect();
        unseen.is_empty().then_some(())
    });
    if seen.is_none() {
        let status = printed(worker, pipeline, folder).join("\n");
        panic!("docs/failures.md says of {test}: {unseen:?}; the status is: {status}");
    }
}

fn printed(worker: &Worker, pipeline: &str, folder: &Path) -> Vec<String> {
    let url = worker.url();
    let ended = Worker::run(folder, &["pipelines", "status", pipeline, "--url", &url]);
    ended.output.lines().map(str::to_owned).collect()
}

fn sights(test: &str) -> Vec<Sight> {
    let named = format!("`e2e::{test}`");
    let rows = PAGE
        .lines()
        .filter(|line| line.starts_with('|') && line.contains(&named));
    rows.flat_map(|row| seen_of(row.split('|').nth(3).unwrap_or_default()))
        .collect()
}

/// The quotes of a cell, each behind the word that says where it is seen.
fn seen_of(cell: &'static str) -> Vec<Sight> {
    let mut sights = Vec::new();
    let mut pieces = cell.split('`');
    while let (Some(before), Some(text)) = (pieces.next(), pieces.next()) {
        let place = match before.split_whitespace().next_back() {
            Some("status") => Place::Status,
            Some("log") => Place::Log,
            Some("metric") => Place::Metric,
            other => panic!("docs/failures.md: found {other:?} before `{text}`, expected status, log or metric"),
        };
        sights.push(Sight { place, text });
    }
    sights
}

impl Sight {
    fn is_in(&self, status: &[String], log: &[String], metrics: &Metrics) -> bool {
        match self.place {
            Place::Status => status.iter().any(|line| holds(line, self.text)),
            Place::Log => log.iter().any(|line| holds(line, self.text)),
            Place::Metric => is_measured(metrics, self.text),
        }
    }
}

/// Whether the text's pieces stand in the line, in this order.
fn holds(line: &str, text: &str) -> bool {
    let mut rest = line;
    text.split('…').all(|piece| match rest.split_once(piece) {
        Some((_, behind)) => {
            rest = behind;
            true
        }
        None => false,
    })
}

fn is_measured(metrics: &Metrics, text: &str) -> bool {
    let (series, value) = match text.rsplit_once(' ') {
        Some((series, value)) => (series, value.parse::<f64>().ok()),
        None => (text, None),
    };
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels: Vec<&str> = labels
        .trim_end_matches('}')
        .split(',')
        .filter(|label| !label.is_empty())
        .collect();
    let sum = metrics.sum(name, &labels);
    value.map_or(sum > 0.0, |value| sum == value)
}

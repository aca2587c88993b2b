//! The metrics as text: for Prometheus, and for people.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::metric::{Kind, Metric, Read, Unit};
use super::seen::Seen;
use super::state::{PartitionState, WorkerState};
use super::table::TABLE;
use super::{Histogram, LATENCY_BOUNDS_SECONDS};
use crate::delivery::event::View;

/// All metrics as they stand, in Prometheus' text format.
pub(crate) fn exposition(worker: &WorkerState) -> String {
    let seen: Vec<Seen> = worker.pipelines().into_iter().map(Seen::new).collect();
    let mut page = String::with_capacity(16 << 10);
    for metric in TABLE {
        let mut out = Samples::new(metric);
        match metric.read {
            Read::Worker(read) => read(worker, &mut out),
            Read::Pipeline(read) => seen.iter().for_each(|pipeline| read(pipeline, &mut out)),
            Read::Sink(read) => {
                for pipeline in &seen {
                    for sink in &pipeline.state.sinks {
                        read(pipeline, sink, &mut out);
                    }
                }
            }
            Read::Partition(read) => {
                for pipeline in &seen {
                    for partition in pipeline.state.partitions() {
                        read(pipeline, &partition, &mut out);
                    }
                }
            }
            Read::Held(read) => {
                for pipeline in &seen {
                    for held in pipeline.held() {
                        if let Some(value) = read(pipeline, &held) {
                            let source = &held.view.source;
                            out.put(&[pipeline.name(), &source.topic, &source.partition.to_string()], value);
                        }
                    }
                }
            }
        }
        out.finish(&mut page);
    }
    page
}

/// The table of metrics as a page of documentation.
pub(crate) fn document() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         `GET /metrics` has them in Prometheus' text format. Gauges show how a pipeline last published that it looks, at most a\n\
         second ago; those of a partition are there while this worker holds it, its counters as long as the worker runs. Histograms\n\
         have buckets up to ",
    );
    let bounds: Vec<String> = LATENCY_BOUNDS_SECONDS.iter().map(f64::to_string).collect();
    let _ = writeln!(page, "{} seconds.\n", bounds.join(", "));
    page.push_str("This page is generated from the table that the metrics are read by; a test holds it to it.\n\n");
    page.push_str("| name | kind | unit | labels | what it says |\n|---|---|---|---|---|\n");
    for metric in TABLE {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            metric.name,
            metric.kind.name(),
            metric.unit.name(),
            labels.join(", "),
            metric.help
        );
    }
    page
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Unit::Seconds => "seconds",
            Unit::Bytes => "bytes",
            Unit::Records => "records",
            Unit::Times => "times",
            Unit::Things => "",
            Unit::Flag => "0 or 1",
        }
    }
}

/// The samples of one metric.
pub(crate) struct Samples<'m> {
    metric: &'m Metric,
    lines: String,
}

impl<'m> Samples<'m> {
    fn new(metric: &'m Metric) -> Samples<'m> {
        Samples {
            metric,
            lines: String::new(),
        }
    }

    /// A sample, with a value for each of the metric's labels.
    pub(crate) fn put(&mut self, labels: &[&str], value: f64) {
        self.line("", labels, &[], value);
    }

    /// A sample of 1 that says more of what it is about, in labels of its own.
    pub(crate) fn info(&mut self, labels: &[&str], more: &BTreeMap<String, String>) {
        // Different names may come to the same; the first one stands.
        let mut named = BTreeMap::new();
        for (name, value) in more {
            named.entry(label_name(name)).or_insert(value.as_str());
        }
        let more: Vec<(&str, &str)> = named.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        self.line("", labels, &more, 1.0);
    }

    pub(crate) fn count(&mut self, labels: &[&str], value: u64) {
        self.put(labels, value as f64);
    }

    pub(crate) fn flag(&mut self, labels: &[&str], so: bool) {
        self.put(labels, f64::from(u8::from(so)));
    }

    pub(crate) fn of(&mut self, seen: &Seen, partition: &PartitionState, value: u64) {
        self.count(&[seen.name(), &partition.source.topic, &partition.number], value);
    }

    pub(crate) fn of_which(&mut self, seen: &Seen, partition: &PartitionState, which: &str, value: u64) {
        let labels = [seen.name(), &partition.source.topic, &partition.number, which];
        self.count(&labels, value);
    }

    /// A sample of a pipeline that has published how it looks.
    pub(crate) fn viewed(&mut self, seen: &Seen, read: impl FnOnce(&View) -> f64) {
        if let Some(published) = &seen.published {
            self.put(&[seen.name()], read(&published.view));
        }
    }

    pub(crate) fn histogram(&mut self, labels: &[&str], histogram: &Histogram) {
        let cumulative = histogram.cumulative();
        for (bound, count) in LATENCY_BOUNDS_SECONDS.iter().zip(cumulative) {
            self.line("_bucket", labels, &[("le", &bound.to_string())], count as f64);
        }
        let all = cumulative[LATENCY_BOUNDS_SECONDS.len()] as f64;
        self.line("_bucket", labels, &[("le", "+Inf")], all);
        self.line("_sum", labels, &[], histogram.sum_seconds());
        self.line("_count", labels, &[], all);
    }

    fn line(&mut self, suffix: &str, labels: &[&str], more: &[(&str, &str)], value: f64) {
        debug_assert_eq!(labels.len(), self.metric.labels.len(), "{}", self.metric.name);
        let _ = write!(self.lines, "{}{suffix}", self.metric.name);
        let labels = self.metric.labels.iter().copied().zip(labels.iter().copied());
        let mut open = '{';
        for (name, value) in labels.chain(more.iter().copied()) {
            let _ = write!(self.lines, "{open}{name}=\"");
            escape(value, &mut self.lines);
            self.lines.push('"');
            open = ',';
        }
        if open == ',' {
            self.lines.push('}');
        }
        let _ = writeln!(self.lines, " {value}");
    }

    fn finish(self, page: &mut String) {
        let Metric { name, kind, help, .. } = self.metric;
        if !self.lines.is_empty() {
            let _ = writeln!(page, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
            page.push_str(&self.lines);
        }
    }
}

/// A user's label as one of Prometheus': nothing but letters, digits and underscores.
fn label_name(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    std::iter::once("label_")
        .flat_map(str::chars)
        .chain(name.chars().map(allowed))
        .collect()
}

/// A label's value may be anything; these three would end it.
fn escape(value: &str, into: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => into.push_str("\\\\"),
            '"' => into.push_str("\\\""),
            '\n' => into.push_str("\\n"),
            c => into.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_say_product_unit_and_kind() {
        let mut names = BTreeSet::new();
        for Metric { name, kind, unit, .. } in TABLE {
            assert!(name.starts_with("fnbridge_"), "{name}");
            assert!(names.insert(name), "{name} is there twice");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            let base = name.trim_end_matches("_total");
            let by_name = [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes)];
            for (suffix, its) in by_name {
                assert_eq!(base.ends_with(suffix), *unit == its, "{name}");
            }
        }
    }

    /// To write the page anew: `FNBRIDGE_WRITE_DOCS=1 cargo test --lib the_page_of_metrics_is_current`.
    #[test]
    fn the_page_of_metrics_is_current() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        let current = document();
        if std::env::var_os("FNBRIDGE_WRITE_DOCS").is_some() {
            std::fs::write(file, &current).unwrap();
        }
        let written = std::fs::read_to_string(file).unwrap_or_default();
        assert!(
            written == current,
            "docs/metrics.md is not what the table says; write it anew with \
             `FNBRIDGE_WRITE_DOCS=1 cargo test --lib the_page_of_metrics_is_current`"
        );
    }

    #[test]
    fn a_users_label_is_one_of_prometheus() {
        assert_eq!(label_name("app.kubernetes.io/team"), "label_app_kubernetes_io_team");
        assert_eq!(label_name("größe"), "label_gr__e");
    }

    #[test]
    fn a_label_cannot_end_its_own_line() {
        let mut text = String::new();
        escape("a\"b\\c\nd", &mut text);
        assert_eq!(text, "a\\\"b\\\\c\\nd");
    }
}

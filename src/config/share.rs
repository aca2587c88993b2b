//! What pipelines of one worker are to each other.

use super::build::WorkerSettings;
use crate::kafka::Topics;
use crate::pipeline::PipelineSettings;
use crate::sink::SinkSettings;

/// Gives each pipeline its part of what the worker may hold, and tells patterns the topics that they never name.
pub fn share_out(mut pipelines: Vec<PipelineSettings>, worker: &WorkerSettings) -> Vec<PipelineSettings> {
    const LEAST_BYTES: usize = 64 * 1024;
    let wanted: usize = pipelines.iter().map(|pipeline| pipeline.task.in_flight_bytes).sum();
    let dead_letters: Vec<(String, String)> = (pipelines.iter())
        .map(|pipeline| {
            (
                pipeline.dead_letter.cluster.name.clone(),
                pipeline.dead_letter.topic.clone(),
            )
        })
        .collect();
    let count = pipelines.len().max(1);
    for pipeline in &mut pipelines {
        if wanted > worker.in_flight_bytes {
            let part = pipeline.task.in_flight_bytes as f64 / wanted as f64 * worker.in_flight_bytes as f64;
            pipeline.task.in_flight_bytes = (part as usize).max(LEAST_BYTES);
            pipeline.source.inbox_bytes = pipeline.source.inbox_bytes.min(pipeline.task.in_flight_bytes);
        }
        pipeline.source.prefetch_bytes = (worker.prefetch_bytes / count).max(LEAST_BYTES);
        if let Topics::Pattern(_) = pipeline.source.topics {
            let cluster = pipeline.source.cluster.name.clone();
            let own = pipeline.sinks.iter().filter_map(|(_, sink)| match sink {
                SinkSettings::Kafka(kafka) => Some((&kafka.cluster.name, &kafka.topic)),
                SinkSettings::Http(_) | SinkSettings::Stdout => None,
            });
            let written = own.chain(dead_letters.iter().map(|(cluster, topic)| (cluster, topic)));
            let never: Vec<String> = (written.filter(|(of, _)| **of == cluster))
                .map(|(_, topic)| topic.clone())
                .collect();
            pipeline.source.never = never;
        }
    }
    pipelines
}

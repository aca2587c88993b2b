//! What pipelines of one worker are to each other.

use super::build::WorkerSettings;
use crate::kafka::Topics;
use crate::pipeline::{Claim, PipelineSettings, share_by_weight};
use crate::sink::SinkSettings;

/// The least that a pipeline has of anything.
const LEAST_BYTES: usize = 64 * 1024;

/// Gives each pipeline its part of what the worker may hold, by weight, and tells patterns the topics that they never name.
/// A pipeline that runs follows its part of the bytes held; what is fetched ahead is fixed when it starts.
pub fn share_out(mut pipelines: Vec<PipelineSettings>, worker: &WorkerSettings) -> Vec<PipelineSettings> {
    let held: Vec<Claim> = (pipelines.iter())
        .map(|pipeline| Claim {
            weight: pipeline.weight,
            most: pipeline.task.in_flight_bytes,
        })
        .collect();
    let held = share_by_weight(worker.in_flight_bytes, LEAST_BYTES, &held);
    let fetched: Vec<Claim> = (pipelines.iter())
        .map(|pipeline| Claim {
            weight: pipeline.weight,
            most: worker.prefetch_bytes,
        })
        .collect();
    let fetched = share_by_weight(worker.prefetch_bytes, LEAST_BYTES, &fetched);
    let dead_letters: Vec<(String, String)> = (pipelines.iter())
        .map(|pipeline| {
            (
                pipeline.dead_letter.cluster.name.clone(),
                pipeline.dead_letter.topic.clone(),
            )
        })
        .collect();
    for (pipeline, (held, fetched)) in pipelines.iter_mut().zip(held.into_iter().zip(fetched)) {
        pipeline.share_bytes = held;
        pipeline.source.inbox_bytes = pipeline.source.inbox_bytes.min(held);
        pipeline.source.prefetch_bytes = fetched;
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

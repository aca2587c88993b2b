//! What a partition does, and what explains it.

use crate::delivery::event::{GuardKind, PartitionView, View};

/// What a partition does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::telemetry) enum Doing {
    Running,
    /// Records are on the wire, or wait for the next attempt, and none was settled lately.
    WaitingForFunction,
    PausedByBreaker,
    PausedByGuard(GuardKind),
    BlockedOnDeadLetterTopic,
    WaitingForSink,
    Throttled,
    Paused,
    Rebalancing,
}

/// What holds for the whole pipeline.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Around {
    pub(super) paused: bool,
    pub(super) letters_blocked: bool,
    pub(super) sink_away: bool,
}

/// How long a record may be here before its partition is said to wait for the function, in seconds.
const WAITS_AFTER_SECONDS: f64 = 5.0;

impl Doing {
    pub(super) fn name(self) -> &'static str {
        match self {
            Doing::Running => "running",
            Doing::WaitingForFunction => "waiting_for_function",
            Doing::PausedByBreaker => "paused_by_breaker",
            Doing::PausedByGuard(_) => "paused_by_guard",
            Doing::BlockedOnDeadLetterTopic => "blocked_on_dead_letter_topic",
            Doing::WaitingForSink => "waiting_for_sink",
            Doing::Throttled => "throttled",
            Doing::Paused => "paused",
            Doing::Rebalancing => "rebalancing",
        }
    }

    /// Nothing goes on until somebody else has changed.
    pub(super) fn stands(self) -> bool {
        match self {
            Doing::PausedByBreaker
            | Doing::PausedByGuard(_)
            | Doing::BlockedOnDeadLetterTopic
            | Doing::WaitingForSink => true,
            Doing::Running | Doing::WaitingForFunction | Doing::Throttled | Doing::Paused | Doing::Rebalancing => false,
        }
    }

    /// The strongest reason comes first: what keeps the whole task from going on, then what keeps this partition.
    pub(super) fn of(view: &View, partition: &PartitionView, around: Around, oldest_seconds: f64) -> Doing {
        let guard = view.guards.first().map(|(guard, _)| *guard);
        let stands = partition.unsettled > 0;
        if partition.draining {
            Doing::Rebalancing
        } else if around.paused {
            Doing::Paused
        } else if around.letters_blocked && stands {
            Doing::BlockedOnDeadLetterTopic
        } else if view.breaker_open {
            Doing::PausedByBreaker
        } else if let Some(guard) = guard.filter(|_| stands) {
            Doing::PausedByGuard(guard)
        } else if around.sink_away && stands && partition.in_flight == 0 {
            Doing::WaitingForSink
        } else if view.usage.throttled && stands {
            Doing::Throttled
        } else if stands && oldest_seconds > WAITS_AFTER_SECONDS {
            Doing::WaitingForFunction
        } else {
            Doing::Running
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::event::Assignment;
    use crate::delivery::record::TopicPartition;

    fn partition() -> PartitionView {
        PartitionView {
            assignment: Assignment(1),
            source: TopicPartition {
                topic: "orders".into(),
                partition: 3,
            },
            committed: 40,
            position: 42,
            waiting: 1,
            in_flight: 1,
            unsettled: 2,
            held_bytes: 100,
            oldest_unsettled: None,
            oldest_waiting: None,
            paused: false,
            draining: false,
            totals: [0; 6],
        }
    }

    fn sink_away() -> Around {
        Around {
            sink_away: true,
            ..Around::default()
        }
    }

    #[test]
    fn records_that_come_and_go_are_running() {
        let doing = |oldest| Doing::of(&View::default(), &partition(), Around::default(), oldest);
        assert_eq!(doing(0.2), Doing::Running);
        assert_eq!(doing(6.0), Doing::WaitingForFunction);
    }

    #[test]
    fn what_keeps_the_whole_task_explains_more_than_what_keeps_a_partition() {
        let open = View {
            breaker_open: true,
            ..View::default()
        };
        assert_eq!(Doing::of(&open, &partition(), sink_away(), 6.0), Doing::PausedByBreaker);
        let paused = Around {
            paused: true,
            ..sink_away()
        };
        assert_eq!(Doing::of(&open, &partition(), paused, 6.0), Doing::Paused);
        let draining = PartitionView {
            draining: true,
            ..partition()
        };
        assert_eq!(Doing::of(&open, &draining, paused, 6.0), Doing::Rebalancing);
    }

    #[test]
    fn a_sink_that_is_away_explains_only_a_partition_whose_calls_are_over() {
        let held = PartitionView {
            in_flight: 0,
            ..partition()
        };
        assert_eq!(
            Doing::of(&View::default(), &held, sink_away(), 0.1),
            Doing::WaitingForSink
        );
        let settled = PartitionView {
            unsettled: 0,
            ..held.clone()
        };
        assert_eq!(Doing::of(&View::default(), &settled, sink_away(), 0.0), Doing::Running);
    }
}

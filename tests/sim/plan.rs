//! What a world is like: its settings, and how much goes wrong in it.

use fnbridge_delivery::rate::Rate;
use fnbridge_delivery::settings::{
    BatchSettings, Delivery, GuardSettings, OnExhausted, Ordering, RateLimits, RetrySettings, TaskSettings,
};
use fnbridge_delivery::time::Millis;

use crate::dice::Rng;

/// What one world is like.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    /// Events that tasks are given before everything is healed.
    pub steps: u64,
    pub partitions: usize,
    pub workers: usize,
    pub keys: u64,
    /// What workers run; more than one where pipelines are changed.
    pub settings: Vec<TaskSettings>,
    pub records: Shares,
    pub faults: Faults,
    /// Records in the largest hand-over of the poll thread.
    pub fetch: u64,
    /// A partition with so many records behind its committed offset gets no more.
    pub behind: usize,
    /// The largest record's value, in bytes.
    pub value_bytes: u64,
    /// In the end nothing is healed but what is away: an operator passes over what is stuck.
    pub operator_ends_it: bool,
}

/// Of how many records it is true that…
#[derive(Clone, Debug, Default)]
pub struct Shares {
    pub gap: f64,
    pub no_key: f64,
    pub filtered: f64,
    pub unconvertible: f64,
    pub poison: f64,
    pub refused: f64,
    pub too_large: f64,
    pub dropped: f64,
    pub given_up: f64,
    pub dropped_by_status: f64,
    pub given_up_by_status: f64,
    pub asked_again: f64,
    /// Of results: a sink refuses it.
    pub refused_result: f64,
}

/// How likely it is, at each step or answer, that…
#[derive(Clone, Debug, Default)]
pub struct Faults {
    pub rebalance: f64,
    /// Of rebalances: everybody lets everything go first.
    pub eager: f64,
    pub crash: f64,
    /// A worker dies between two of the things that it was asked to do at once.
    pub crash_between: f64,
    /// A worker misses its session, and does not know.
    pub fence: f64,
    /// A worker drains what it holds, leaves, and comes back with other settings where there are some.
    pub restart: f64,
    pub outage: f64,
    pub sink_outage: f64,
    pub letter_outage: f64,
    pub pause: f64,
    pub expire: f64,
    /// A topic is deleted and created anew.
    pub recreate: f64,
    /// Of assignments: the memo is cut off, altered, of another version, or gone.
    pub corrupt_memo: f64,
    /// Of assignments: the leader does not say where the log begins and ends.
    pub blind: f64,
    /// The wall clock jumps back or forth, or everything stands still for a while.
    pub clock: f64,
    /// An answer is a failed attempt, though nothing is wrong with the records.
    pub flaky: f64,
    pub busy: f64,
    pub deliver_nothing: f64,
    /// A request to a sink is cut short.
    pub cut_short: f64,
    /// A sink stores results, or the topic a dead letter, and the acknowledgement is lost.
    pub ack_lost: f64,
    pub commit_refused: f64,
    pub slow: f64,
    /// An operator passes over some records.
    pub skip: f64,
    /// The worker leaves a task more or less of what it may hold.
    pub reshare: f64,
}

impl Faults {
    /// Each with its name.
    pub fn each(&mut self) -> [(&'static str, &mut f64); 24] {
        [
            ("rebalance", &mut self.rebalance),
            ("eager", &mut self.eager),
            ("crash", &mut self.crash),
            ("crash_between", &mut self.crash_between),
            ("fence", &mut self.fence),
            ("restart", &mut self.restart),
            ("outage", &mut self.outage),
            ("sink_outage", &mut self.sink_outage),
            ("letter_outage", &mut self.letter_outage),
            ("pause", &mut self.pause),
            ("expire", &mut self.expire),
            ("recreate", &mut self.recreate),
            ("corrupt_memo", &mut self.corrupt_memo),
            ("blind", &mut self.blind),
            ("clock", &mut self.clock),
            ("flaky", &mut self.flaky),
            ("busy", &mut self.busy),
            ("deliver_nothing", &mut self.deliver_nothing),
            ("cut_short", &mut self.cut_short),
            ("ack_lost", &mut self.ack_lost),
            ("commit_refused", &mut self.commit_refused),
            ("slow", &mut self.slow),
            ("skip", &mut self.skip),
            ("reshare", &mut self.reshare),
        ]
    }
}

impl Shares {
    /// Each with its name.
    pub fn each(&mut self) -> [(&'static str, &mut f64); 13] {
        [
            ("gap", &mut self.gap),
            ("no_key", &mut self.no_key),
            ("filtered", &mut self.filtered),
            ("unconvertible", &mut self.unconvertible),
            ("poison", &mut self.poison),
            ("refused", &mut self.refused),
            ("too_large", &mut self.too_large),
            ("dropped", &mut self.dropped),
            ("given_up", &mut self.given_up),
            ("dropped_by_status", &mut self.dropped_by_status),
            ("given_up_by_status", &mut self.given_up_by_status),
            ("asked_again", &mut self.asked_again),
            ("refused_result", &mut self.refused_result),
        ]
    }
}

impl Plan {
    /// A world for a seed: everything that can happen, in random measure.
    pub fn random(seed: u64) -> Plan {
        let mut rng = Rng::new(seed);
        let rng = &mut rng;
        let variants = if rng.chance(0.1) { 3 } else { 1 };
        let sinks = rng.below(4) as usize;
        let first = settings(rng, sinks);
        let mut all = vec![first.clone()];
        for _ in 1..variants {
            let other = settings(rng, sinks);
            all.push(TaskSettings {
                delivery: first.delivery,
                ordering: other.ordering,
                batch: other.batch,
                ..first.clone()
            });
        }
        if rng.chance(0.25) {
            all.iter_mut().for_each(|s| s.delivery = Delivery::ExactlyOnce);
        }
        let exactly_once = all[0].delivery == Delivery::ExactlyOnce;
        let calm = rng.chance(0.15);
        let rare = |rng: &mut Rng, most: f64| if rng.chance(0.5) { rng.roll() * most } else { 0.0 };
        Plan {
            seed,
            steps: *rng.pick(&[100, 200, 400, 400, 800]),
            partitions: rng.between(1, 5) as usize,
            workers: rng.between(1, 3) as usize,
            keys: *rng.pick(&[1, 3, 10, 1000]),
            settings: all,
            records: Shares {
                gap: rare(rng, 0.2),
                no_key: rare(rng, 0.3),
                filtered: rare(rng, 0.3),
                unconvertible: rare(rng, 0.02),
                poison: rare(rng, 0.05),
                refused: rare(rng, 0.05),
                too_large: rare(rng, 0.02),
                dropped: rare(rng, 0.2),
                given_up: rare(rng, 0.05),
                dropped_by_status: rare(rng, 0.03),
                given_up_by_status: rare(rng, 0.03),
                asked_again: rare(rng, 0.2),
                refused_result: rare(rng, 0.05),
            },
            faults: if calm {
                Faults::default()
            } else {
                Faults {
                    rebalance: rare(rng, 0.02),
                    eager: *rng.pick(&[0.0, 0.0, 0.0, 0.5, 1.0]),
                    crash: rare(rng, 0.01),
                    crash_between: rare(rng, 0.003),
                    fence: rare(rng, 0.01),
                    restart: rare(rng, 0.005),
                    outage: rare(rng, 0.01),
                    sink_outage: rare(rng, 0.01),
                    letter_outage: rare(rng, 0.01),
                    pause: rare(rng, 0.005),
                    expire: rare(rng, 0.005),
                    recreate: rare(rng, 0.003),
                    // What is settled ahead is known from the memo alone: whoever alters it has results stored again.
                    corrupt_memo: if rng.chance(0.1) && !exactly_once { 0.05 } else { 0.0 },
                    blind: rare(rng, 0.2),
                    clock: rare(rng, 0.01),
                    flaky: rare(rng, 0.5),
                    busy: rare(rng, 0.3),
                    deliver_nothing: rare(rng, 0.02),
                    cut_short: rare(rng, 0.3),
                    ack_lost: rare(rng, 0.1),
                    commit_refused: rare(rng, 0.3),
                    slow: rare(rng, 0.1),
                    skip: rare(rng, 0.02),
                    reshare: rare(rng, 0.02),
                }
            },
            fetch: *rng.pick(&[1, 5, 20, 50]),
            behind: *rng.pick(&[20, 100, 100, 400]),
            value_bytes: *rng.pick(&[10, 1000, 20_000]),
            operator_ends_it: false,
        }
    }

    /// Whether workers run different settings, as after a change of the pipeline.
    pub fn changes(&self) -> bool {
        self.settings.len() > 1
    }
}

/// Most often none.
fn limits(rng: &mut Rng) -> RateLimits {
    let mut one_of = |thousandths: &[u64]| Rate::from_thousandths(*rng.pick(thousandths)).filter(|_| rng.chance(0.2));
    RateLimits {
        records_per_second: one_of(&[2_500, 10_000, 1_000_000]),
        bytes_per_second: one_of(&[20_000_000, 1_000_000_000]),
    }
}

fn settings(rng: &mut Rng, sinks: usize) -> TaskSettings {
    TaskSettings {
        ordering: *rng.pick(&[Ordering::Partition, Ordering::Key, Ordering::None]),
        delivery: Delivery::AtLeastOnce,
        batch: BatchSettings {
            max_records: *rng.pick(&[1, 2, 7, 30, 100]),
            max_bytes: *rng.pick(&[1000, 20_000, 1 << 20]),
            linger: *rng.pick(&[Millis(0), Millis(0), Millis(50)]),
        },
        max_in_flight: *rng.pick(&[1, 2, 4, 16]),
        in_flight_bytes: *rng.pick(&[20_000, 200_000, 32 << 20]),
        limits: limits(rng),
        retry: RetrySettings {
            max_attempts: *rng.pick(&[1, 2, 3, 5]),
            initial_backoff: Millis(200),
            max_backoff: *rng.pick(&[Millis(400), Millis(30_000)]),
            max_age: *rng.pick(&[None, None, None, Some(Millis(20_000))]),
        },
        on_exhausted: *rng.pick(&[OnExhausted::DeadLetter, OnExhausted::DeadLetter, OnExhausted::Block]),
        guard: GuardSettings {
            failed: *rng.pick(&[1, 3, 3, 10]),
            refused: *rng.pick(&[5, 100]),
        },
        drain_timeout: *rng.pick(&[Millis(1_000), Millis(35_000)]),
        commit_interval: Millis::secs(1),
        has_function: rng.chance(0.9),
        sinks,
    }
}

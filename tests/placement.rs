//! A fleet of 1,000 workers and 20,000 pipelines, on paper: what each change moves, how even it ends, and how long a round
//! takes. `./run tests placement` prints the table of `docs/fleet.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use fnbridge::control::fleet::placement::{Candidate, Demand, Placement, place};

const WORKERS: usize = 1_000;
const PIPELINES: usize = 20_000;
/// Rounds are counted until one moves nothing; more than this is flapping.
const MOST_ROUNDS: usize = 400;

struct Fleet {
    workers: Vec<Candidate>,
    demands: Vec<Demand>,
    placement: Placement,
}

#[derive(Default)]
struct Outcome {
    moves: usize,
    rounds: usize,
    longest: Duration,
}

#[test]
#[ignore = "a simulation of some seconds: ./run tests placement"]
fn a_large_fleet_is_placed_evenly_and_stays_so() {
    let mut fleet = Fleet {
        workers: (0..WORKERS).map(worker).collect(),
        demands: (0..PIPELINES).map(demand).collect(),
        placement: Placement::new(),
    };
    println!(
        "| change | tasks moved | rounds | most tasks / mean | most load / mean | hottest task / mean | longest round |"
    );
    println!("|---|---|---|---|---|---|---|");
    fleet.settle("cold start");
    fleet.workers.remove(17);
    let died = fleet.settle("a worker dies");
    assert!(
        died.moves < 200,
        "a worker's own tasks, and little else: {}",
        died.moves
    );
    fleet.workers.drain(100..200);
    fleet.settle("100 more die");
    fleet.workers.extend((0..101).map(|n| worker(WORKERS + n)));
    fleet.settle("101 join");
    fleet.demands.extend((0..100).map(|n| demand(PIPELINES + n)));
    let registered = fleet.settle("100 pipelines are registered");
    assert!(registered.moves < 1_000, "{}", registered.moves);
    fleet.demands[5].load = 2_000.0;
    fleet.settle("a pipeline becomes the hottest of all");
    let noisy = fleet.noise(100);
    fleet.print("100 rounds of loads that vary by 10 %", &noisy);
    assert!(noisy.moves < 100, "nothing flaps: {}", noisy.moves);
    assert!(noisy.longest < Duration::from_secs(5), "{:?}", noisy.longest);
}

fn worker(n: usize) -> Candidate {
    Candidate {
        id: format!("worker-{n:05}"),
        labels: BTreeMap::from([("zone".to_owned(), format!("z{}", n % 3))]),
        takes: true,
    }
}

/// Loads are spread as those of many tenants: a few are hot. One in ten pipelines is held to a zone.
fn demand(n: usize) -> Demand {
    let mut dice = fastrand::Rng::with_seed(n as u64);
    let zone = n
        .is_multiple_of(10)
        .then(|| ("zone".to_owned(), format!("z{}", dice.u8(0..3))));
    Demand {
        name: format!("pipeline-{n:05}"),
        tasks: [1, 1, 1, 2, 3][dice.usize(0..5)],
        labels: zone.into_iter().collect(),
        load: 1_000.0 / f64::from(dice.u32(1..1_000)),
        settling: false,
    }
}

impl Fleet {
    fn round(&mut self, demands: &[Demand], outcome: &mut Outcome) -> usize {
        let started = Instant::now();
        let placed = place(&self.workers, demands, &self.placement);
        outcome.longest = outcome.longest.max(started.elapsed());
        outcome.rounds += 1;
        assert!(placed.unplaced.is_empty());
        let none = BTreeSet::new();
        let moved = placed
            .placement
            .iter()
            .map(|(name, on)| on.difference(self.placement.get(name).unwrap_or(&none)).count());
        let moves: usize = moved.sum();
        outcome.moves += moves;
        self.placement = placed.placement;
        moves
    }

    fn settle(&mut self, what: &str) -> Outcome {
        let mut outcome = Outcome::default();
        let demands = self.demands.clone();
        while self.round(&demands, &mut outcome) > 0 {
            assert!(outcome.rounds < MOST_ROUNDS, "{what}: it does not settle");
        }
        self.print(what, &outcome);
        outcome
    }

    fn noise(&mut self, rounds: usize) -> Outcome {
        let (mut outcome, mut dice) = (Outcome::default(), fastrand::Rng::with_seed(7));
        for _ in 0..rounds {
            let noisy = |demand: &Demand| Demand {
                load: demand.load * (0.9 + 0.2 * dice.f64()),
                ..demand.clone()
            };
            let demands: Vec<Demand> = self.demands.iter().map(noisy).collect();
            self.round(&demands, &mut outcome);
        }
        outcome
    }

    fn print(&self, what: &str, outcome: &Outcome) {
        let loads: BTreeMap<&str, f64> = self
            .demands
            .iter()
            .map(|demand| (demand.name.as_str(), demand.load))
            .collect();
        let mut each: BTreeMap<&str, (usize, f64)> = self
            .workers
            .iter()
            .map(|worker| (worker.id.as_str(), (0, 0.0)))
            .collect();
        for (name, on) in &self.placement {
            for worker in on {
                let (count, load) = each.entry(worker).or_default();
                *count += 1;
                *load += loads[name.as_str()];
            }
        }
        let workers = each.len() as f64;
        let (count, load) = each
            .values()
            .fold((0, 0.0), |(c, l), (count, load)| (c + count, l + load));
        let most = each.values().map(|(count, _)| *count).max().unwrap_or_default();
        let hottest = each.values().map(|(_, load)| *load).fold(0.0, f64::max);
        println!(
            "| {what} | {} | {} | {:.2} | {:.2} | {:.2} | {:.0} ms |",
            outcome.moves,
            outcome.rounds,
            most as f64 / (count as f64 / workers),
            hottest / (load / workers),
            loads.values().copied().fold(0.0, f64::max) / (load / workers),
            outcome.longest.as_secs_f64() * 1000.0
        );
    }
}

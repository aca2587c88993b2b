//! Which workers run which pipelines: a pure function of who is there, what is wished, and what runs now.
//!
//! What runs stays where it is unless there is a reason: its worker is gone or may take nothing, labels no longer fit, fewer
//! tasks are wished, counts have drifted apart, or one worker is much hotter than the mean and a move would help.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// A worker that may be given pipelines.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// False: it is draining or stuck, is given nothing, and loses what it has.
    pub takes: bool,
}

/// A pipeline to be placed.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// Its name.
    pub name: String,
    /// How many workers may share it.
    pub tasks: u32,
    /// The labels that its workers have to have.
    pub labels: BTreeMap<String, String>,
    /// What one of its tasks costs its worker; any unit, the same for all.
    pub load: f64,
    /// It was moved for its load a short while ago, and stays for now.
    pub settling: bool,
}

/// The workers of each pipeline.
pub type Placement = BTreeMap<String, BTreeSet<String>>;

/// What was decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Placed {
    /// Where each pipeline is to run.
    pub placement: Placement,
    /// The pipelines that no worker can run, and why.
    pub unplaced: BTreeMap<String, String>,
    /// The pipelines that were moved for their load.
    pub moved_for_load: Vec<String>,
}

/// Counts may differ by so many tasks, or by this share of the mean, before something is moved for it.
const COUNT_SLACK: usize = 2;
const COUNT_SLACK_SHARE: f64 = 0.1;
/// A worker is hot at this many times the mean load.
const HOT: f64 = 1.25;
/// Moves for load in one round, at most.
const LOAD_MOVES: usize = 8;

/// Decides where pipelines run.
pub fn place(workers: &[Candidate], demands: &[Demand], current: &Placement) -> Placed {
    let mut round = Round::new(workers, demands);
    round.keep(current);
    round.fill();
    round.even_counts();
    round.cool();
    round.placed()
}

/// A worker's count of tasks, the bits of its load, and where it stands among the workers.
type Rank = (usize, u64, usize);

struct Round<'a> {
    workers: Vec<&'a Candidate>,
    demands: Vec<&'a Demand>,
    /// By worker: the demands that it has.
    has: Vec<BTreeSet<usize>>,
    loads: Vec<f64>,
    /// By demand: the workers that have it.
    on: Vec<BTreeSet<usize>>,
    /// Each set of labels, and the workers that fit it.
    fits: BTreeMap<&'a BTreeMap<String, String>, Vec<usize>>,
    moved_for_load: Vec<String>,
}

impl<'a> Round<'a> {
    fn new(workers: &'a [Candidate], demands: &'a [Demand]) -> Round<'a> {
        let mut workers: Vec<&Candidate> = workers.iter().filter(|worker| worker.takes).collect();
        workers.sort_by(|a, b| a.id.cmp(&b.id));
        let mut demands: Vec<&Demand> = demands.iter().collect();
        demands.sort_by(|a, b| a.name.cmp(&b.name));
        let mut fits: BTreeMap<&BTreeMap<String, String>, Vec<usize>> = BTreeMap::new();
        for demand in &demands {
            fits.entry(&demand.labels).or_insert_with(|| {
                let fit = |worker: &Candidate| demand.labels.iter().all(|(k, v)| worker.labels.get(k) == Some(v));
                (0..workers.len()).filter(|at| fit(workers[*at])).collect()
            });
        }
        Round {
            has: vec![BTreeSet::new(); workers.len()],
            loads: vec![0.0; workers.len()],
            on: vec![BTreeSet::new(); demands.len()],
            workers,
            demands,
            fits,
            moved_for_load: Vec::new(),
        }
    }

    fn fitting(&self, demand: usize) -> &[usize] {
        self.fits.get(&self.demands[demand].labels).map_or(&[], Vec::as_slice)
    }

    fn wanted(&self, demand: usize) -> usize {
        (self.demands[demand].tasks.max(1) as usize).min(self.fitting(demand).len())
    }

    fn give(&mut self, demand: usize, worker: usize) {
        if self.on[demand].insert(worker) {
            self.has[worker].insert(demand);
            self.loads[worker] += self.demands[demand].load;
        }
    }

    fn take(&mut self, demand: usize, worker: usize) {
        if self.on[demand].remove(&worker) {
            self.has[worker].remove(&demand);
            self.loads[worker] -= self.demands[demand].load;
        }
    }

    /// What runs stays, where it may.
    fn keep(&mut self, current: &Placement) {
        let at: BTreeMap<&str, usize> = (self.workers.iter().enumerate())
            .map(|(at, worker)| (worker.id.as_str(), at))
            .collect();
        for demand in 0..self.demands.len() {
            let Some(running) = current.get(&self.demands[demand].name) else {
                continue;
            };
            let fitting = self.fitting(demand);
            let kept: Vec<usize> = (running.iter())
                .filter_map(|id| at.get(id.as_str()).copied())
                .filter(|worker| fitting.binary_search(worker).is_ok())
                .take(self.wanted(demand))
                .collect();
            kept.into_iter().for_each(|worker| self.give(demand, worker));
        }
    }

    /// What is missing goes to whoever has least, the hottest pipelines first.
    fn fill(&mut self) {
        let mut missing: Vec<usize> = (0..self.demands.len())
            .filter(|demand| self.on[*demand].len() < self.wanted(*demand))
            .collect();
        missing.sort_by(|a, b| heavier(self.demands[*a].load, self.demands[*b].load).then(a.cmp(b)));
        let mut queues: BTreeMap<&BTreeMap<String, String>, BTreeSet<Rank>> = BTreeMap::new();
        for demand in missing {
            let labels = &self.demands[demand].labels;
            let wanted = self.wanted(demand);
            let mut queue = match queues.remove(labels) {
                Some(queue) => queue,
                None => self.fitting(demand).iter().map(|worker| self.rank(*worker)).collect(),
            };
            let mut passed = Vec::new();
            while self.on[demand].len() < wanted {
                let Some((count, load, worker)) = queue.pop_first() else {
                    break;
                };
                // Another set of labels may have given it something since.
                if (count, load, worker) != self.rank(worker) {
                    queue.insert(self.rank(worker));
                    continue;
                }
                self.give(demand, worker);
                passed.push(worker);
            }
            queue.extend(passed.into_iter().map(|worker| self.rank(worker)));
            queues.insert(labels, queue);
        }
    }

    /// Who comes first when something is to be given: fewest tasks, then least load.
    fn rank(&self, worker: usize) -> Rank {
        // Loads are not negative, and the bits of such numbers are in their order.
        (self.has[worker].len(), self.loads[worker].max(0.0).to_bits(), worker)
    }

    /// Counts that are no farther apart than this are even.
    fn count_slack(&self) -> usize {
        let total: usize = self.has.iter().map(BTreeSet::len).sum();
        let mean = total as f64 / self.workers.len() as f64;
        COUNT_SLACK.max((mean * COUNT_SLACK_SHARE) as usize)
    }

    /// Moves tasks from whoever has most to whoever has least, while they are far apart.
    fn even_counts(&mut self) {
        if self.workers.len() < 2 {
            return;
        }
        let slack = self.count_slack();
        let mut order: BTreeSet<(usize, usize)> = (0..self.workers.len()).map(|at| (self.has[at].len(), at)).collect();
        let mut stuck: BTreeSet<usize> = BTreeSet::new();
        loop {
            let Some(&(most, from)) = order.iter().rev().find(|(_, at)| !stuck.contains(at)) else {
                return;
            };
            let Some(&(least, to)) = order.first() else { return };
            if most <= least + slack {
                return;
            }
            let movable =
                |demand: &&usize| !self.on[**demand].contains(&to) && self.fitting(**demand).binary_search(&to).is_ok();
            let Some(demand) = self.has[from].iter().find(movable).copied() else {
                stuck.insert(from);
                continue;
            };
            order.remove(&(most, from));
            order.remove(&(least, to));
            self.take(demand, from);
            self.give(demand, to);
            order.insert((most - 1, from));
            order.insert((least + 1, to));
        }
    }

    /// Moves load away from workers that are much hotter than the mean, where that brings a real gain.
    fn cool(&mut self) {
        if self.workers.len() < 2 {
            return;
        }
        let mean = self.loads.iter().sum::<f64>() / self.workers.len() as f64;
        let mut hot: Vec<usize> = (0..self.workers.len())
            .filter(|at| self.loads[*at] > mean * HOT)
            .collect();
        hot.sort_by(|a, b| heavier(self.loads[*a], self.loads[*b]));
        for from in hot {
            while self.moved_for_load.len() < LOAD_MOVES && self.loads[from] > mean * HOT {
                let Some((demand, to)) = self.best_move(from, mean) else {
                    break;
                };
                self.take(demand, from);
                self.give(demand, to);
                self.moved_for_load.push(self.demands[demand].name.clone());
            }
        }
    }

    /// The task whose move leaves both workers closest together, if the hotter of them ends well below where it was.
    fn best_move(&self, from: usize, mean: f64) -> Option<(usize, usize)> {
        let counts = || self.has.iter().map(BTreeSet::len);
        let (fewest, most) = (counts().min()?, counts().max()?);
        let (slack, left) = (self.count_slack(), self.has[from].len() - 1);
        // What the counts would call back is not given away.
        let stays_even = |to: &usize| {
            let gets = self.has[*to].len() + 1;
            gets <= left + 1 || (gets <= fewest.min(left) + slack && most.max(gets) <= left + slack)
        };
        let coldest = |demand: usize| {
            let free = self
                .fitting(demand)
                .iter()
                .copied()
                .filter(|to| !self.on[demand].contains(to) && stays_even(to));
            free.min_by(|a, b| self.loads[*a].total_cmp(&self.loads[*b]))
        };
        let movable = self.has[from].iter().copied().filter(|demand| {
            let demand = self.demands[*demand];
            !demand.settling && demand.load > mean * (HOT - 1.0) / 2.0
        });
        let after = |(demand, to): &(usize, usize)| {
            let load = self.demands[*demand].load;
            (self.loads[from] - load).max(self.loads[*to] + load)
        };
        let best = movable
            .filter_map(|demand| Some((demand, coldest(demand)?)))
            .min_by(|a, b| after(a).total_cmp(&after(b)))?;
        (after(&best) < self.loads[from] - mean * (HOT - 1.0) / 2.0).then_some(best)
    }

    fn placed(self) -> Placed {
        let mut placed = Placed {
            moved_for_load: self.moved_for_load,
            ..Placed::default()
        };
        for (demand, on) in self.demands.iter().zip(&self.on) {
            if on.is_empty() {
                placed
                    .unplaced
                    .insert(demand.name.clone(), unplaced(&self.workers, demand));
            }
            let workers = on.iter().map(|at| self.workers[*at].id.clone()).collect();
            placed.placement.insert(demand.name.clone(), workers);
        }
        placed
    }
}

fn heavier(a: f64, b: f64) -> Ordering {
    b.total_cmp(&a)
}

fn unplaced(workers: &[&Candidate], demand: &Demand) -> String {
    if workers.is_empty() {
        return "no worker is there that could run it".to_owned();
    }
    let labels: Vec<String> = demand.labels.iter().map(|(k, v)| format!("{k}: {v}")).collect();
    format!(
        "none of {} workers has the labels {{{}}}",
        workers.len(),
        labels.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn workers(count: usize) -> Vec<Candidate> {
        let zone = |n: usize| BTreeMap::from([("zone".to_owned(), format!("z{}", n % 3))]);
        (0..count)
            .map(|n| Candidate {
                id: format!("w{n:03}"),
                labels: zone(n),
                takes: true,
            })
            .collect()
    }

    prop_compose! {
        fn demand(name: usize)(tasks in 1..5_u32, load in 0..1000_u32, zone in prop::option::weighted(0.3, 0..4_u32)) -> Demand {
            Demand {
                name: format!("p{name:03}"),
                tasks,
                labels: zone.map(|zone| ("zone".to_owned(), format!("z{zone}"))).into_iter().collect(),
                load: f64::from(load),
                settling: false,
            }
        }
    }

    fn demands() -> impl Strategy<Value = Vec<Demand>> {
        (0..60_usize).prop_flat_map(|count| (0..count).map(demand).collect::<Vec<_>>())
    }

    fn moves(from: &Placement, to: &Placement) -> usize {
        to.iter()
            .map(|(name, on)| on.difference(from.get(name).unwrap_or(&BTreeSet::new())).count())
            .sum()
    }

    /// Rounds until nothing is moved any more.
    fn settled(workers: &[Candidate], demands: &[Demand], mut placement: Placement) -> Placement {
        for _ in 0..200 {
            let next = place(workers, demands, &placement).placement;
            if next == placement {
                return placement;
            }
            placement = next;
        }
        panic!("it does not settle");
    }

    proptest! {
        #[test]
        fn every_pipeline_runs_on_as_many_fitting_workers_as_it_may(demands in demands(), count in 0..12_usize) {
            let workers = workers(count);
            let placed = place(&workers, &demands, &Placement::new());
            for demand in &demands {
                let fit = |worker: &&Candidate| demand.labels.iter().all(|(k, v)| worker.labels.get(k) == Some(v));
                let fitting: BTreeSet<String> = workers.iter().filter(fit).map(|worker| worker.id.clone()).collect();
                let on = &placed.placement[&demand.name];
                prop_assert!(on.is_subset(&fitting));
                prop_assert_eq!(on.len(), fitting.len().min(demand.tasks as usize));
                prop_assert_eq!(placed.unplaced.contains_key(&demand.name), fitting.is_empty());
            }
        }

        #[test]
        fn what_has_settled_stays_under_noisy_loads(demands in demands(), count in 1..12_usize, seed in any::<u64>()) {
            let workers = workers(count);
            let placement = settled(&workers, &demands, Placement::new());
            let mut dice = fastrand::Rng::with_seed(seed);
            let mut moved = 0;
            let mut now = placement.clone();
            for _ in 0..20 {
                let noisy: Vec<Demand> = (demands.iter().cloned())
                    .map(|demand| Demand { load: demand.load * (0.98 + 0.04 * dice.f64()), ..demand })
                    .collect();
                let next = place(&workers, &noisy, &now).placement;
                moved += moves(&now, &next);
                now = next;
            }
            prop_assert!(moved <= 3, "{moved} moves");
        }

        #[test]
        fn a_worker_that_is_gone_moves_its_own_and_little_else(demands in demands(), count in 2..12_usize) {
            let mut all = workers(count);
            let before = settled(&all, &demands, Placement::new());
            let gone = all.pop().map(|worker| worker.id).unwrap_or_default();
            let its_own = before.values().filter(|on| on.contains(&gone)).count();
            let after = place(&all, &demands, &before).placement;
            prop_assert!(after.values().all(|on| !on.contains(&gone)));
            prop_assert!(moves(&before, &after) <= its_own + LOAD_MOVES + all.len() * COUNT_SLACK);
        }

        #[test]
        fn counts_of_pipelines_that_may_run_anywhere_stay_close(count in 2..12_usize, pipelines in 0..200_usize) {
            let workers = workers(count);
            let demands: Vec<Demand> = (0..pipelines)
                .map(|n| Demand { name: format!("p{n}"), tasks: 1, labels: BTreeMap::new(), load: 0.0, settling: false })
                .collect();
            let first = place(&workers[..1], &demands, &Placement::new()).placement;
            let placed = place(&workers, &demands, &first).placement;
            let held = |worker: &Candidate| placed.values().filter(|on| on.contains(&worker.id)).count();
            let counts: Vec<usize> = workers.iter().map(held).collect();
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            prop_assert!(most - least <= COUNT_SLACK.max((pipelines / count) / 10 + 1), "{counts:?}");
        }
    }

    #[test]
    fn a_hot_pipeline_drifts_away_from_another() {
        let workers = workers(2);
        let demand = |name: &str, load: f64| Demand {
            name: name.to_owned(),
            tasks: 1,
            labels: BTreeMap::new(),
            load,
            settling: false,
        };
        let demands = [
            demand("a", 500.0),
            demand("b", 500.0),
            demand("c", 1.0),
            demand("d", 1.0),
        ];
        let on = |id: &str| BTreeSet::from([id.to_owned()]);
        let current: Placement = [("a", "w000"), ("b", "w000"), ("c", "w001"), ("d", "w001")]
            .into_iter()
            .map(|(name, id)| (name.to_owned(), on(id)))
            .collect();
        let placed = place(&workers, &demands, &current);
        assert_ne!(placed.placement["a"], placed.placement["b"]);
        assert_eq!(placed.moved_for_load.len(), 1);
        let again = place(&workers, &demands, &placed.placement);
        assert_eq!((again.placement, again.moved_for_load), (placed.placement, vec![]));
    }

    #[test]
    fn a_worker_that_takes_nothing_loses_what_it_has() {
        let mut workers = workers(2);
        workers[0].takes = false;
        let demands = [Demand {
            name: "a".to_owned(),
            tasks: 2,
            labels: BTreeMap::new(),
            load: 1.0,
            settling: false,
        }];
        let current = Placement::from([("a".to_owned(), BTreeSet::from(["w000".to_owned()]))]);
        let placed = place(&workers, &demands, &current).placement;
        assert_eq!(placed["a"], BTreeSet::from(["w001".to_owned()]));
    }
}

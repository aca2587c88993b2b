//! Dead letters of the fleet, as the worker that leads counts them: by pipeline, stage and group, with no more groups than a
//! page of metrics bears.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use super::page::Samples;
use super::state::lock;

/// Groups of a pipeline that are told apart; letters of others are counted together.
const GROUPS: usize = 50;
/// The group of those.
const OTHER: &str = "other";

/// Letters of one pipeline, stage and group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depth {
    /// The pipeline that gave them up.
    pub pipeline: String,
    /// The stage.
    pub stage: String,
    /// The group's fingerprint.
    pub fingerprint: String,
    /// How many somebody has to see to.
    pub letters: u64,
    /// When the oldest of them was given up, in milliseconds since the Unix epoch.
    pub oldest_ms: i64,
}

type Labels = (String, String, String);

/// What is counted of dead letters.
#[derive(Debug, Default)]
pub(crate) struct Letters(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    open: Vec<Depth>,
    arrived: BTreeMap<Labels, u64>,
}

impl Letters {
    /// What is open by now; nothing where another worker leads.
    pub(crate) fn set_open(&self, open: Vec<Depth>) {
        lock(&self.0).open = bounded(open);
    }

    /// A letter has been written.
    pub(crate) fn arrived(&self, pipeline: &str, stage: &str, fingerprint: &str) {
        let arrived = &mut lock(&self.0).arrived;
        let labels = |group: &str| (pipeline.to_owned(), stage.to_owned(), group.to_owned());
        let known = labels(fingerprint);
        let groups: BTreeSet<&str> = (arrived.keys())
            .filter(|(of, _, _)| of == pipeline)
            .map(|(_, _, group)| group.as_str())
            .collect();
        let label = match arrived.contains_key(&known) || groups.len() < GROUPS {
            true => known,
            false => labels(OTHER),
        };
        *arrived.entry(label).or_default() += 1;
    }

    pub(crate) fn put_open(&self, out: &mut Samples<'_>) {
        for depth in &lock(&self.0).open {
            out.put(
                &[&depth.pipeline, &depth.stage, &depth.fingerprint],
                depth.letters as f64,
            );
        }
    }

    pub(crate) fn put_ages(&self, out: &mut Samples<'_>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut oldest: BTreeMap<&str, i64> = BTreeMap::new();
        let counted = lock(&self.0);
        for depth in &counted.open {
            let first = oldest.entry(&depth.pipeline).or_insert(depth.oldest_ms);
            *first = (*first).min(depth.oldest_ms);
        }
        for (pipeline, first_ms) in oldest {
            let age = now.as_secs_f64() - first_ms as f64 / 1000.0;
            out.put(&[pipeline], age.max(0.0));
        }
    }

    pub(crate) fn put_arrived(&self, out: &mut Samples<'_>) {
        for ((pipeline, stage, group), count) in &lock(&self.0).arrived {
            out.count(&[pipeline, stage, group], *count);
        }
    }
}

/// The largest groups of each pipeline; what is left of a stage is one group.
fn bounded(mut open: Vec<Depth>) -> Vec<Depth> {
    open.sort_by(|a, b| (&a.pipeline, b.letters, &a.fingerprint).cmp(&(&b.pipeline, a.letters, &b.fingerprint)));
    let mut kept: Vec<Depth> = Vec::new();
    for depth in open {
        let groups = kept.iter().filter(|other| other.pipeline == depth.pipeline).count();
        if groups < GROUPS {
            kept.push(depth);
            continue;
        }
        let same = |other: &&mut Depth| {
            other.pipeline == depth.pipeline && other.stage == depth.stage && other.fingerprint == OTHER
        };
        match kept.iter_mut().find(same) {
            Some(other) => {
                other.letters += depth.letters;
                other.oldest_ms = other.oldest_ms.min(depth.oldest_ms);
            }
            None => kept.push(Depth {
                fingerprint: OTHER.to_owned(),
                ..depth
            }),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_groups_are_told_as_their_largest_and_one_other() {
        let depth = |n: u64| Depth {
            pipeline: format!("p{}", n % 2),
            stage: "function".to_owned(),
            fingerprint: format!("{n:04}"),
            letters: n,
            oldest_ms: i64::try_from(1000 - n).unwrap(),
        };
        let all: Vec<Depth> = (1..=200).map(depth).collect();
        let kept = bounded(all.clone());
        assert_eq!(kept.len(), 2 * (GROUPS + 1));
        let sum = |depths: &[Depth]| depths.iter().map(|depth| depth.letters).sum::<u64>();
        assert_eq!(sum(&kept), sum(&all), "none is left out");
        let other = kept.iter().find(|depth| depth.fingerprint == OTHER).unwrap();
        assert_eq!((other.letters, other.oldest_ms), ((1..=50).map(|n| 2 * n).sum(), 900));
        assert_eq!(kept[0].letters, 200);
    }

    #[test]
    fn arrivals_of_many_groups_are_counted_and_few_are_named() {
        let letters = Letters::default();
        (0..80).for_each(|n| letters.arrived("p", "function", &format!("{n:04}")));
        letters.arrived("p", "function", "0003");
        let arrived = &lock(&letters.0).arrived;
        assert_eq!(arrived.len(), GROUPS + 1);
        assert_eq!(arrived.values().sum::<u64>(), 81);
        assert_eq!(arrived[&("p".to_owned(), "function".to_owned(), "0003".to_owned())], 2);
    }
}

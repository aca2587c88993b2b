//! What a run comes to.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use crate::checker::Found;
use crate::history::{Course, History, Kind, Ms, Who};
use crate::run::Options;
use crate::witness::Usage;

/// Runs that last this long have enough samples to speak of growth.
const LONG: Ms = 20 * 60_000;

/// What a worker may use at most, at any time.
const MOST_RSS_BYTES: u64 = 400 << 20;
const MOST_DESCRIPTORS: usize = 600;
const MOST_THREADS: usize = 250;

const SHOWN: usize = 30;

pub struct Report {
    pub options: Options,
    /// When the first fault could come.
    pub start: Ms,
    pub kinds: BTreeMap<&'static str, usize>,
    pub history: History,
    pub found: Found,
    pub usage: Vec<Usage>,
    pub ended: Vec<String>,
    /// Why the pipelines did not come to an end, if they did not.
    pub unsettled: Option<String>,
}

impl Report {
    /// Whether everything adds up.
    pub fn holds(&self) -> bool {
        self.failures().is_empty()
    }

    /// What does not add up, a line each.
    pub fn failures(&self) -> String {
        let mut lines = Vec::new();
        for problem in self.found.problems.iter().take(SHOWN) {
            let record = problem.record.map_or(String::new(), |id| format!(" {id}"));
            lines.push(format!(
                "{}{record}: {}: {}",
                problem.pipeline, problem.rule, problem.text
            ));
        }
        let more = self.found.problems.len().saturating_sub(SHOWN);
        if more > 0 {
            lines.push(format!("… and {more} more"));
        }
        lines.extend(self.ended.iter().cloned());
        lines.extend(self.unsettled.clone());
        lines.extend(self.greed());
        lines.join("\n")
    }

    /// Workers that use too much, or more and more.
    fn greed(&self) -> Vec<String> {
        let mut greed = Vec::new();
        for usage in &self.usage {
            let worker = usage.worker;
            if usage.rss_bytes > MOST_RSS_BYTES || usage.descriptors > MOST_DESCRIPTORS || usage.threads > MOST_THREADS
            {
                greed.push(format!("worker {worker} uses too much: {usage:?}"));
            }
        }
        greed.truncate(3);
        for (worker, life) in self.lives() {
            greed.extend(growth(worker, &life));
        }
        greed
    }

    fn lives(&self) -> BTreeMap<Who, Vec<Usage>> {
        let mut lives: BTreeMap<Who, Vec<Usage>> = BTreeMap::new();
        for usage in &self.usage {
            lives.entry(usage.worker).or_default().push(*usage);
        }
        lives
    }
}

/// A life's second quarter against its last one.
struct Quarters {
    before: f64,
    after: f64,
}

impl Quarters {
    fn of(life: &[Usage], what: impl Fn(&Usage) -> f64) -> Quarters {
        let quarter = life.len() / 4;
        let mean = |part: &[Usage]| part.iter().map(&what).sum::<f64>() / part.len().max(1) as f64;
        Quarters {
            before: mean(&life[quarter..quarter * 2]),
            after: mean(&life[life.len() - quarter..]),
        }
    }

    fn grew(&self, share: f64, least: f64) -> bool {
        self.after - self.before > (self.before * share).max(least)
    }
}

fn growth(worker: Who, life: &[Usage]) -> Vec<String> {
    let (Some(first), Some(last)) = (life.first(), life.last()) else {
        return Vec::new();
    };
    if last.at - first.at < LONG {
        return Vec::new();
    }
    let all = [
        (
            "MiB",
            Quarters::of(life, |usage| usage.rss_bytes as f64 / f64::from(1 << 20)),
            0.15,
            16.0,
        ),
        (
            "descriptors",
            Quarters::of(life, |usage| usage.descriptors as f64),
            0.10,
            10.0,
        ),
        ("threads", Quarters::of(life, |usage| usage.threads as f64), 0.10, 6.0),
    ];
    let grown = all
        .into_iter()
        .filter(|(_, quarters, share, least)| quarters.grew(*share, *least));
    grown
        .map(|(what, quarters, ..)| {
            format!(
                "worker {worker} grew from {:.1} to {:.1} {what} between its second and its last quarter",
                quarters.before, quarters.after
            )
        })
        .collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.options.length.as_secs_f64() / 60.0;
        writeln!(f, "seed {}, {minutes:.1} min of chaos", self.options.seed)?;
        let kinds: Vec<String> = self
            .kinds
            .iter()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect();
        writeln!(f, "faults: {}", kinds.join(", "))?;
        for course in &self.history.courses {
            self.course(f, course)?;
        }
        self.repeats(f)?;
        self.resources(f)?;
        match self.failures() {
            none if none.is_empty() => write!(f, "everything adds up"),
            failures => write!(f, "{} problems\n{failures}", self.found.problems.len()),
        }
    }
}

impl Report {
    fn course(&self, f: &mut fmt::Formatter<'_>, course: &Course) -> fmt::Result {
        let letters: HashSet<_> = course.letters.iter().map(|letter| letter.of).collect();
        let healthy = letters
            .iter()
            .filter(|id| course.input.get(id).is_some_and(|input| !input.kind.is_dead()))
            .count();
        let dropped = course
            .input
            .values()
            .filter(|input| input.kind == Kind::Nothing)
            .count();
        writeln!(
            f,
            "{}: {} records in, {} calls, {} dropped, {} dead-lettered ({healthy} of them by the function's faults)",
            course.pipeline,
            course.input.len(),
            course.calls.len(),
            dropped,
            letters.len()
        )?;
        for stream in &course.streams {
            let firsts: HashSet<_> = stream.outputs.iter().map(|output| (output.of, output.index)).collect();
            let repeats = stream.outputs.len() - firsts.len();
            writeln!(
                f,
                "  {}: {} results, {repeats} of them again; longest stall {:.1} s",
                stream.name,
                stream.outputs.len(),
                self.longest_stall(stream.outputs.iter().map(|output| output.at)) as f64 / 1000.0
            )?;
        }
        Ok(())
    }

    /// The longest time in which nothing was stored, while there was something to store.
    fn longest_stall(&self, stored: impl Iterator<Item = Ms>) -> Ms {
        let mut stored: Vec<Ms> = stored.filter(|at| *at >= self.start).collect();
        stored.push(self.start);
        stored.sort_unstable();
        stored.windows(2).map(|two| two[1] - two[0]).max().unwrap_or_default()
    }

    fn repeats(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for repeats in &self.found.repeats {
            let mut faults = self.history.faults.iter();
            let fault = faults
                .find(|fault| fault.number == repeats.fault)
                .expect("it explained");
            writeln!(
                f,
                "  {}, {}: {} records again, of {} in flight at fault {} ({})",
                repeats.pipeline, repeats.stream, repeats.records, repeats.in_flight, fault.number, fault.what
            )?;
        }
        let aftermath = self.found.repeats.iter().map(|repeats| repeats.aftermath).max();
        writeln!(
            f,
            "faults repeated what was first called up to {} ms after their end",
            aftermath.unwrap_or_default()
        )
    }

    fn resources(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = |what: &dyn Fn(&Usage) -> u64| self.usage.iter().map(what).max().unwrap_or_default();
        writeln!(
            f,
            "workers, each at most: {} MiB, {} descriptors, {} threads",
            most(&|usage| usage.rss_bytes) >> 20,
            most(&|usage| usage.descriptors as u64),
            most(&|usage| usage.threads as u64)
        )?;
        for (worker, life) in self.lives() {
            let (first, last) = (life[0], life[life.len() - 1]);
            if last.at - first.at >= LONG {
                let rss = Quarters::of(&life, |usage| usage.rss_bytes as f64 / f64::from(1 << 20));
                let descriptors = Quarters::of(&life, |usage| usage.descriptors as f64);
                let threads = Quarters::of(&life, |usage| usage.threads as f64);
                writeln!(
                    f,
                    "worker {worker}, second and last quarter: {:.1} and {:.1} MiB, {:.1} and {:.1} descriptors, {:.1} and {:.1} threads",
                    rss.before, rss.after, descriptors.before, descriptors.after, threads.before, threads.after
                )?;
            }
        }
        Ok(())
    }
}

//! Does what was planned, and notes when it really was.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::proxy::{Proxy, Weather};
use crate::history::{Fault, Ms, Touches};
use crate::schedule::{Mood, Planned, Track, Trouble, What};
use crate::stage::{LINES, Stage, lock};

/// A broker that starts again on a busy machine needs a while to catch up.
const CATCH_UP: Duration = Duration::from_secs(120);

const BETWEEN_RESETS: Ms = 400;

/// Faults that were, and those that are.
#[derive(Default)]
pub struct Faults {
    number: AtomicUsize,
    done: Mutex<Vec<(&'static str, Fault)>>,
}

impl Faults {
    /// Does what a track has planned, one after the other, until it is time to end.
    pub fn run(&self, stage: &Stage, track: &Track, start: Ms, over: &AtomicBool) {
        for planned in &track.planned {
            pause_until(stage, start + planned.at, over);
            if over.load(Ordering::SeqCst) {
                return;
            }
            self.one(stage, planned, over);
        }
    }

    /// All of them, in the order in which they began, each with its kind.
    pub fn all(&self) -> Vec<(&'static str, Fault)> {
        let mut all = lock(&self.done).clone();
        all.sort_by_key(|(_, fault)| fault.from);
        all
    }

    fn one(&self, stage: &Stage, planned: &Planned, over: &AtomicBool) {
        let number = self.number.fetch_add(1, Ordering::SeqCst);
        let touches = touches(stage, &planned.what);
        let from = stage.now();
        begin(stage, &planned.what);
        hold(stage, &planned.what, from + planned.lasts, over);
        end(stage, &planned.what);
        let fault = Fault {
            number,
            from,
            until: stage.now(),
            what: planned.what.to_string(),
            touches,
        };
        lock(&self.done).push((planned.what.kind(), fault));
    }
}

fn touches(stage: &Stage, what: &What) -> Touches {
    match what {
        What::BrokerKilled(_) => Touches::Brokers,
        What::WorkerKilled(slot) => Touches::Killed(stage.worker(*slot).expect("a worker in each place").0),
        What::WorkerFrozen(slot) => Touches::Frozen(*slot),
        What::Wire { slot, .. } => Touches::Wire(*slot),
        What::Function { pipeline, mood } => Touches::Calls {
            pipeline: *pipeline,
            fail: fails(*mood),
        },
        What::FunctionWire { pipeline, trouble } => Touches::Calls {
            pipeline: *pipeline,
            fail: stops(*trouble),
        },
        What::Posts(_) | What::PostsWire(_) => Touches::Posts,
        What::StoreKilled | What::StoreWire(_) => Touches::Store,
    }
}

/// Whether every call fails.
fn fails(mood: Mood) -> bool {
    match mood {
        Mood::Status(_) => true,
        Mood::Lies(lie) => lie != crate::schedule::Lie::OneMissing,
        Mood::Slow(_) | Mood::Well | Mood::Flaky => false,
    }
}

/// Whether nothing comes through.
fn stops(trouble: Trouble) -> bool {
    match trouble {
        Trouble::Weather(Weather::Still | Weather::Dead | Weather::Mute | Weather::Cut) => true,
        Trouble::Weather(Weather::Fair | Weather::Late(_) | Weather::Narrow(_)) | Trouble::Resets => false,
    }
}

fn begin(stage: &Stage, what: &What) {
    match what {
        What::BrokerKilled(broker) => stage.cluster.broker(*broker).kill(),
        What::WorkerKilled(slot) => {
            if let Some((who, worker)) = stage.take_worker(*slot) {
                worker.kill();
                stage.keep_log(who, &worker);
            }
        }
        What::WorkerFrozen(slot) => stage.worker(*slot).expect("a worker in each place").1.freeze(),
        What::Function { pipeline, mood } => stage.functions[*pipeline].set(*mood),
        What::Posts(mood) => stage.posts.set(*mood),
        What::StoreKilled => lock(&stage.store).kill(),
        What::Wire { trouble, .. }
        | What::FunctionWire { trouble, .. }
        | What::PostsWire(trouble)
        | What::StoreWire(trouble) => {
            if let Trouble::Weather(weather) = trouble {
                proxies(stage, what).iter().for_each(|proxy| proxy.set(*weather));
            }
        }
    }
}

/// Until it is time to end the fault. Connections that are reset come back, and are reset again.
fn hold(stage: &Stage, what: &What, until: Ms, over: &AtomicBool) {
    let resets = matches!(
        what,
        What::Wire {
            trouble: Trouble::Resets,
            ..
        } | What::FunctionWire {
            trouble: Trouble::Resets,
            ..
        } | What::PostsWire(Trouble::Resets)
            | What::StoreWire(Trouble::Resets)
    );
    while resets && stage.now() < until && !over.load(Ordering::SeqCst) {
        proxies(stage, what).iter().for_each(|proxy| proxy.reset());
        pause_until(stage, (stage.now() + BETWEEN_RESETS).min(until), over);
    }
    pause_until(stage, until, over);
}

fn end(stage: &Stage, what: &What) {
    match what {
        What::BrokerKilled(broker) => {
            let topics: Vec<String> = LINES
                .iter()
                .flat_map(|line| [line.source(), line.sink(), line.letters()])
                .chain(["__consumer_offsets".to_owned()])
                .collect();
            stage.cluster.resume(*broker, &topics, CATCH_UP);
        }
        What::WorkerKilled(slot) => stage.start_worker(*slot),
        What::WorkerFrozen(slot) => stage.worker(*slot).expect("a worker in each place").1.thaw(),
        What::Function { pipeline, .. } => stage.functions[*pipeline].set(Mood::Well),
        What::Posts(_) => stage.posts.set(Mood::Well),
        What::StoreKilled => lock(&stage.store).resume(),
        What::Wire { .. } | What::FunctionWire { .. } | What::PostsWire(_) | What::StoreWire(_) => {
            proxies(stage, what).iter().for_each(|proxy| proxy.set(Weather::Fair));
        }
    }
}

fn proxies<'a>(stage: &'a Stage, what: &What) -> Vec<&'a Proxy> {
    match what {
        What::Wire { slot, brokers, .. } => {
            let between = brokers.iter().map(|broker| stage.cluster.between(*slot, *broker));
            between.collect()
        }
        What::FunctionWire { pipeline, .. } => vec![&stage.function_ways[*pipeline]],
        What::PostsWire(_) => vec![&stage.posts_way],
        What::StoreWire(_) => vec![&stage.store_way],
        What::BrokerKilled(_)
        | What::WorkerKilled(_)
        | What::WorkerFrozen(_)
        | What::Function { .. }
        | What::Posts(_)
        | What::StoreKilled => Vec::new(),
    }
}

/// Waits until a moment of the run, or until it is over.
pub fn pause_until(stage: &Stage, moment: Ms, over: &AtomicBool) {
    const AT_MOST: Ms = 50;
    loop {
        let left = moment - stage.now();
        if left <= 0 || over.load(Ordering::SeqCst) {
            return;
        }
        thread::sleep(Duration::from_millis(
            u64::try_from(left.min(AT_MOST)).expect("positive"),
        ));
    }
}

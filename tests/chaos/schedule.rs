//! What goes wrong, and when: all of it decided by a seed before the run begins.

use std::fmt;
use std::time::Duration;

use crate::harness::cluster::BROKERS;
use crate::harness::proxy::Weather;
use crate::history::Ms;

/// How many workers there are.
pub const SLOTS: usize = 3;

/// The worker that is never killed, so that what it uses is seen over the whole run.
pub const SPARED: usize = 0;

/// A run's faults. Each track is one after the other; tracks run side by side.
pub struct Schedule {
    pub tracks: Vec<Track>,
}

pub struct Track {
    pub name: &'static str,
    pub planned: Vec<Planned>,
}

/// A fault to come.
#[derive(Clone, Debug, PartialEq)]
pub struct Planned {
    pub at: Ms,
    pub lasts: Ms,
    pub what: What,
}

/// What happens.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    BrokerKilled(usize),
    WorkerKilled(usize),
    WorkerFrozen(usize),
    /// Between a worker and some brokers.
    Wire {
        slot: usize,
        brokers: Vec<usize>,
        trouble: Trouble,
    },
    /// The function, as a pipeline finds it.
    Function {
        pipeline: usize,
        mood: Mood,
    },
    /// Between all workers and a pipeline's function.
    FunctionWire {
        pipeline: usize,
        trouble: Trouble,
    },
    Posts(Mood),
    PostsWire(Trouble),
    StoreKilled,
    StoreWire(Trouble),
}

/// What befalls a wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trouble {
    /// All connections are reset, again and again.
    Resets,
    Weather(Weather),
}

/// How a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// It takes this long, in milliseconds.
    Slow(u64),
    /// It answers with this status.
    Status(u16),
    /// It fails on one call of two.
    Flaky,
    Lies(Lie),
}

/// Answers of 200 that are none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    WrongIds,
    HalfBody,
    Html,
    Garbage,
    TwiceTheSame,
    OneMissing,
}

/// How long faults of a track last, and how long it is quiet between them, in milliseconds.
struct Rhythm {
    name: &'static str,
    quiet: (Ms, Ms),
    lasts: (Ms, Ms),
}

const RHYTHMS: [Rhythm; 6] = [
    Rhythm {
        name: "brokers",
        quiet: (9_000, 22_000),
        lasts: (1_000, 6_000),
    },
    Rhythm {
        name: "workers",
        quiet: (6_000, 14_000),
        lasts: (500, 4_000),
    },
    Rhythm {
        name: "wires",
        quiet: (3_000, 10_000),
        lasts: (2_000, 12_000),
    },
    Rhythm {
        name: "functions",
        quiet: (2_000, 6_000),
        lasts: (3_000, 9_000),
    },
    Rhythm {
        name: "posts",
        quiet: (5_000, 15_000),
        lasts: (2_000, 9_000),
    },
    Rhythm {
        name: "store",
        quiet: (12_000, 30_000),
        lasts: (4_000, 15_000),
    },
];

/// Longer than a session.
const FROZEN: (Ms, Ms) = (8_000, 14_000);

const WEATHERS: [Trouble; 7] = [
    Trouble::Resets,
    Trouble::Weather(Weather::Late(Duration::from_millis(150))),
    Trouble::Weather(Weather::Narrow(20_000)),
    Trouble::Weather(Weather::Still),
    Trouble::Weather(Weather::Dead),
    Trouble::Weather(Weather::Mute),
    Trouble::Weather(Weather::Cut),
];

const MOODS: [Mood; 14] = [
    Mood::Slow(1_500),
    Mood::Slow(6_000),
    Mood::Status(500),
    Mood::Status(503),
    Mood::Status(429),
    Mood::Status(401),
    Mood::Status(302),
    Mood::Flaky,
    Mood::Lies(Lie::WrongIds),
    Mood::Lies(Lie::HalfBody),
    Mood::Lies(Lie::Html),
    Mood::Lies(Lie::Garbage),
    Mood::Lies(Lie::TwiceTheSame),
    Mood::Lies(Lie::OneMissing),
];

impl Schedule {
    /// The schedule of a seed.
    pub fn of(seed: u64, length: Duration, pipelines: usize) -> Schedule {
        let length = Ms::try_from(length.as_millis()).expect("a length");
        let mut dice = fastrand::Rng::with_seed(seed);
        let tracks = RHYTHMS.iter().map(|rhythm| {
            let mut deck = Deck::new(rhythm.name, pipelines, dice.fork());
            let planned = plan(rhythm, length, &mut deck, &mut dice);
            Track {
                name: rhythm.name,
                planned,
            }
        });
        Schedule {
            tracks: tracks.collect(),
        }
    }

    /// The tracks of these names alone, at the same times.
    pub fn only(mut self, names: &str) -> Schedule {
        let names: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).collect();
        for name in &names {
            assert!(
                self.tracks.iter().any(|track| track.name == *name),
                "no track is named {name}"
            );
        }
        if !names.is_empty() {
            self.tracks.retain(|track| names.contains(&track.name));
        }
        self
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for track in &self.tracks {
            for Planned { at, lasts, what } in &track.planned {
                writeln!(f, "{:9} {at:7} ms, for {lasts:5} ms: {what}", track.name)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::BrokerKilled(broker) => write!(f, "broker {broker} killed"),
            What::WorkerKilled(slot) => write!(f, "worker {slot} killed"),
            What::WorkerFrozen(slot) => write!(f, "worker {slot} frozen"),
            What::Wire { slot, brokers, trouble } => {
                write!(f, "between worker {slot} and brokers {brokers:?}: {trouble:?}")
            }
            What::Function { pipeline, mood } => write!(f, "function of pipeline {pipeline}: {mood:?}"),
            What::FunctionWire { pipeline, trouble } => {
                write!(f, "before the function of pipeline {pipeline}: {trouble:?}")
            }
            What::Posts(mood) => write!(f, "HTTP sink: {mood:?}"),
            What::PostsWire(trouble) => write!(f, "before the HTTP sink: {trouble:?}"),
            What::StoreKilled => write!(f, "store killed"),
            What::StoreWire(trouble) => write!(f, "before the store: {trouble:?}"),
        }
    }
}

impl What {
    /// What a summary counts it as.
    pub fn kind(&self) -> &'static str {
        match self {
            What::BrokerKilled(_) => "broker killed",
            What::WorkerKilled(_) => "worker killed",
            What::WorkerFrozen(_) => "worker frozen",
            What::Wire { .. } => "worker cut off from brokers",
            What::Function {
                mood: Mood::Lies(_), ..
            } => "function lying",
            What::Function {
                mood: Mood::Slow(_), ..
            } => "function slow",
            What::Function { .. } => "function failing",
            What::FunctionWire { .. } => "wire to a function",
            What::Posts(_) => "HTTP sink failing",
            What::PostsWire(_) => "wire to the HTTP sink",
            What::StoreKilled | What::StoreWire(_) => "store away",
        }
    }
}

fn plan(rhythm: &Rhythm, length: Ms, deck: &mut Deck, dice: &mut fastrand::Rng) -> Vec<Planned> {
    let mut planned = Vec::new();
    let mut at = dice.i64(1_000..=rhythm.quiet.1);
    loop {
        let what = deck.draw();
        let lasts = match &what {
            What::WorkerFrozen(_) => dice.i64(FROZEN.0..=FROZEN.1),
            _ => dice.i64(rhythm.lasts.0..=rhythm.lasts.1),
        };
        if at + lasts > length {
            return planned;
        }
        planned.push(Planned { at, lasts, what });
        at += lasts + dice.i64(rhythm.quiet.0..=rhythm.quiet.1);
    }
}

/// All that a track knows, shuffled, so that nothing comes again before everything has come.
struct Deck {
    track: &'static str,
    pipelines: usize,
    left: Vec<What>,
    dice: fastrand::Rng,
}

impl Deck {
    fn new(track: &'static str, pipelines: usize, dice: fastrand::Rng) -> Deck {
        Deck {
            track,
            pipelines,
            left: Vec::new(),
            dice,
        }
    }

    fn draw(&mut self) -> What {
        if self.left.is_empty() {
            self.left = match self.track {
                "brokers" => (0..BROKERS).map(What::BrokerKilled).collect(),
                "workers" => workers(),
                "wires" => wires(&mut self.dice),
                "functions" => functions(self.pipelines, &mut self.dice),
                "posts" => posts(),
                _ => store(),
            };
            self.dice.shuffle(&mut self.left);
        }
        self.left.pop().expect("every track knows something")
    }
}

fn workers() -> Vec<What> {
    let killed = (0..SLOTS).filter(|slot| *slot != SPARED).map(What::WorkerKilled);
    killed.chain((0..SLOTS).map(What::WorkerFrozen)).collect()
}

/// All weathers, to one broker and to all.
fn wires(dice: &mut fastrand::Rng) -> Vec<What> {
    let mut all = Vec::new();
    for trouble in WEATHERS {
        for brokers in [vec![dice.usize(..BROKERS)], (0..BROKERS).collect()] {
            all.push(What::Wire {
                slot: dice.usize(..SLOTS),
                brokers,
                trouble,
            });
        }
    }
    all
}

fn functions(pipelines: usize, dice: &mut fastrand::Rng) -> Vec<What> {
    let mut all = Vec::new();
    for mood in MOODS {
        let pipeline = dice.usize(..pipelines);
        all.push(What::Function { pipeline, mood });
    }
    for trouble in WEATHERS {
        let pipeline = dice.usize(..pipelines);
        all.push(What::FunctionWire { pipeline, trouble });
    }
    all
}

fn posts() -> Vec<What> {
    let moods = [
        Mood::Status(503),
        Mood::Status(500),
        Mood::Slow(2_000),
        Mood::Slow(6_000),
    ];
    let wires = WEATHERS.map(What::PostsWire);
    moods.into_iter().map(What::Posts).chain(wires).collect()
}

fn store() -> Vec<What> {
    let away = [Weather::Still, Weather::Dead, Weather::Mute].map(|weather| What::StoreWire(Trouble::Weather(weather)));
    [What::StoreKilled, What::StoreKilled].into_iter().chain(away).collect()
}

/// The tests of this file, by name.
pub const TESTS: &[(&str, fn())] = &[
    ("the_same_seed_is_the_same_schedule", the_same_seed_is_the_same_schedule),
    ("an_hour_has_every_kind_of_fault", an_hour_has_every_kind_of_fault),
];

const HOUR: Duration = Duration::from_secs(3600);

fn the_same_seed_is_the_same_schedule() {
    let written = |seed| Schedule::of(seed, HOUR, 3).to_string();
    assert_eq!(written(7), written(7));
    assert_ne!(written(7), written(8));
}

fn an_hour_has_every_kind_of_fault() {
    let schedule = Schedule::of(7, HOUR, 3);
    let all = schedule.tracks.iter().flat_map(|track| &track.planned);
    let kinds: std::collections::BTreeSet<&str> = all.map(|planned| planned.what.kind()).collect();
    assert_eq!(kinds.len(), 11, "{kinds:?}");
    for track in &schedule.tracks {
        let follow = track.planned.windows(2).all(|two| two[0].at + two[0].lasts < two[1].at);
        assert!(follow, "faults of the track {} overlap", track.name);
    }
}

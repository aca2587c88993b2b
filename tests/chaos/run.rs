//! One run: the stage is set, things go wrong for a while, it is quiet, and then everything is counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::checker;
use crate::faults::{Faults, pause_until};
use crate::harness::topics::Entry;
use crate::harness::wait;
use crate::harness::worker::Worker;
use crate::history::{Fault, History, Ms, Sample};
use crate::input::Records;
use crate::read;
use crate::report::Report;
use crate::schedule::{SLOTS, Schedule};
use crate::stage::{LINES, Line, PARTITIONS, Stage};
use crate::witness::{Group, Witness};

/// How long it may take, once all is well, until everything is settled.
const PATIENCE: Duration = Duration::from_secs(180);

/// Between the records that are produced, and how many of a pipeline's are produced at once.
const TICK: Ms = 100;
const RECORDS_A_TICK: usize = 8;

/// What a run is told.
#[derive(Clone, Debug)]
pub struct Options {
    pub seed: u64,
    pub length: Duration,
    /// The names of the tracks that are played, separated by commas; without any, all are.
    pub tracks: String,
}

impl Options {
    /// The command that does the same again.
    fn command(&self) -> String {
        let minutes = self.length.as_secs_f64() / 60.0;
        let tracks = match self.tracks.as_str() {
            "" => String::new(),
            names => format!(" --tracks {names}"),
        };
        format!("./run tests chaos --minutes {minutes} --seed {}{tracks}", self.seed)
    }
}

/// Runs, and says what came of it.
///
/// # Errors
/// What does not add up; what is needed to find out why stays in the folder that is named.
pub fn run(options: Options) -> Result<(), String> {
    println!("chaos: seed {}, {:.0} s", options.seed, options.length.as_secs_f64());
    let folder = folder(options.seed);
    let schedule = Schedule::of(options.seed, options.length, LINES.len()).only(&options.tracks);
    fs::write(folder.join("schedule.txt"), schedule.to_string()).expect("the schedule");
    let report = play(&options, &schedule, &folder);
    let text = report.to_string();
    println!("{text}");
    if report.holds() {
        let _ = fs::remove_dir_all(&folder);
        return Ok(());
    }
    fs::write(folder.join("report.txt"), &text).expect("the report");
    Err(format!(
        "{}\nWhat it left: {}\nAgain: {}",
        report.failures(),
        folder.display(),
        options.command()
    ))
}

fn play(options: &Options, schedule: &Schedule, folder: &Path) -> Report {
    let stage = Stage::set(folder.to_owned());
    let (faults, witness) = (Faults::default(), Witness::default());
    let start = stage.now();
    let (samples, unsettled) = let_it_happen(options, schedule, &stage, &faults, &witness);
    let all = faults.all();
    keep_faults(folder, &all);
    if unsettled.is_some() {
        keep_status(&stage);
    }
    stage.end();
    let courses = LINES.iter().zip(samples).enumerate();
    let history = History {
        courses: courses
            .map(|(number, (line, samples))| read::course(&stage, number, line, samples))
            .collect(),
        faults: all.iter().map(|(_, fault)| fault.clone()).collect(),
    };
    let mut kinds: BTreeMap<&'static str, usize> = BTreeMap::new();
    all.iter().for_each(|(kind, _)| *kinds.entry(kind).or_default() += 1);
    let report = Report {
        options: options.clone(),
        start,
        kinds,
        found: checker::check(&history),
        history,
        usage: witness.usage(),
        ended: witness.ended(),
        unsettled,
    };
    if !report.holds() {
        keep(&stage, &report);
    }
    report
}

/// What the groups had committed, by pipeline; and why it did not come to an end, if it did not.
fn let_it_happen(
    options: &Options,
    schedule: &Schedule,
    stage: &Stage,
    faults: &Faults,
    witness: &Witness,
) -> (Vec<Vec<Sample>>, Option<String>) {
    let (over, settled) = (&AtomicBool::new(false), &AtomicBool::new(false));
    let start = stage.now();
    thread::scope(|scope| {
        let watching = LINES.map(|line| scope.spawn(move || Witness::watch_commits(stage, &line, settled)));
        scope.spawn(|| witness.watch_workers(stage, settled));
        let producing = scope.spawn(|| produce(stage, options.seed, over));
        let tracks = schedule.tracks.iter();
        let tracks: Vec<_> = tracks
            .map(|track| scope.spawn(move || faults.run(stage, track, start, over)))
            .collect();
        let end = start + Ms::try_from(options.length.as_millis()).expect("a length");
        pause_until(stage, end, over);
        over.store(true, Ordering::SeqCst);
        let ended = tracks.into_iter().chain([producing]).map(|thread| thread.join());
        let went_well = ended.collect::<Vec<_>>().iter().all(Result::is_ok);
        let unsettled = if went_well {
            await_settled(stage).err()
        } else {
            Some("what was to go wrong, or to be produced, could not be: the panic above says why".to_owned())
        };
        settled.store(true, Ordering::SeqCst);
        let samples = watching.into_iter().map(|watch| watch.join().expect("a watch"));
        (samples.collect(), unsettled)
    })
}

/// Produces on and on, and a healthy record for each partition at the end.
fn produce(stage: &Stage, seed: u64, over: &AtomicBool) {
    let writer = stage.cluster.client().writer(&[]);
    let mut records = LINES.map(|line| Records::new(seed ^ line.name.len() as u64, line.lanes, PARTITIONS));
    let send = |line: &Line, entries: Vec<Entry>| entries.iter().for_each(|entry| writer.send(&line.source(), entry));
    let all_durable = || assert_eq!(writer.flush(), [""; 0], "records that could not be produced");
    while !over.load(Ordering::SeqCst) {
        let next = stage.now() + TICK;
        for (line, records) in LINES.iter().zip(&mut records) {
            send(line, (0..RECORDS_A_TICK).map(|_| records.draw()).collect());
        }
        all_durable();
        pause_until(stage, next, over);
    }
    for (line, records) in LINES.iter().zip(&mut records) {
        send(line, records.healthy());
    }
    all_durable();
}

/// Waits until every group has committed the end of its source.
fn await_settled(stage: &Stage) -> Result<(), String> {
    let client = stage.cluster.client();
    for line in &LINES {
        let group = Group::of(&client, line);
        let mut seen = None;
        let done = wait::patiently(PATIENCE, || {
            let (committed, ends) = (group.committed()?, group.ends()?);
            let done = committed == ends;
            seen = Some((committed, ends));
            done.then_some(())
        });
        if done.is_none() {
            return Err(format!(
                "{} is not settled {} s after all was well again; committed and ends: {seen:?}",
                line.name,
                PATIENCE.as_secs()
            ));
        }
    }
    Ok(())
}

/// What the workers say of pipelines that do not come to an end.
fn keep_status(stage: &Stage) {
    for line in &LINES {
        for (who, worker) in (0..SLOTS).filter_map(|slot| stage.worker(slot)) {
            let said = Worker::run(
                &stage.folder,
                &["pipelines", "status", line.name, "--url", &worker.url()],
            );
            let file = stage.folder.join(format!("status-{}-{who}.txt", line.name));
            fs::write(file, said.output + &said.log).expect("a status");
        }
    }
}

fn keep_faults(folder: &Path, all: &[(&str, Fault)]) {
    let lines = all.iter().map(|(_, fault)| {
        format!(
            "{:3} {:7} to {:7} ms: {}\n",
            fault.number, fault.from, fault.until, fault.what
        )
    });
    fs::write(folder.join("faults.txt"), lines.collect::<String>()).expect("the faults");
}

/// Everything that was seen, for whoever has to find out why.
fn keep(stage: &Stage, report: &Report) {
    for course in &report.history.courses {
        let lines = |all: Vec<String>| all.join("\n") + "\n";
        let write = |what: &str, all: Vec<String>| {
            let file = stage.folder.join(format!("{}-{what}.txt", course.pipeline));
            fs::write(file, lines(all)).expect("a part of the history");
        };
        write(
            "input",
            course
                .input
                .iter()
                .map(|(id, input)| format!("{id} {input:?}"))
                .collect(),
        );
        write(
            "calls",
            course
                .calls
                .iter()
                .enumerate()
                .map(|(n, call)| format!("{n} {call:?}"))
                .collect(),
        );
        write(
            "letters",
            course.letters.iter().map(|letter| format!("{letter:?}")).collect(),
        );
        write(
            "commits",
            course.samples.iter().map(|sample| format!("{sample:?}")).collect(),
        );
        for stream in &course.streams {
            write(
                stream.name,
                stream.outputs.iter().map(|output| format!("{output:?}")).collect(),
            );
        }
    }
    for broker in 0..crate::harness::cluster::BROKERS {
        let from = stage.cluster.broker(broker).folder().join("broker.log");
        let _ = fs::copy(from, stage.folder.join(format!("broker-{broker}.log")));
    }
}

/// Beside the build's other output, so that it lasts.
fn folder(seed: u64) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{seed}"));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder for the run");
    folder
}

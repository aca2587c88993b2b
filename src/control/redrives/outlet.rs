//! Where a job's letters go out: through the pipeline, or to the topic that they came from. Both tell alike what became of them.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use crate::deadletter::redriven;
use crate::delivery::rate::Rate;
use crate::delivery::record::{Header, Record};
use crate::kafka::{Outgoing, Producer, ProducerSettings, SendError};
use crate::pipeline::{Fate, Fated, PipelineSettings, Redrive, Redriven, Told};

/// Names the first record that a record is a repetition of.
const ORIGIN: &str = "fnbridge.origin";
const AT_ONCE: usize = 100;
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Where a job's letters go out.
pub(super) enum Outlet {
    Pipeline(Redrive),
    Source(ToSource),
}

impl Outlet {
    pub(super) fn send(&self, letters: Vec<Redriven>) {
        match self {
            Outlet::Pipeline(redrive) => redrive.send(letters),
            // One that has ended has told so.
            Outlet::Source(source) => drop(source.letters.as_ref().map(|sender| sender.send(letters))),
        }
    }

    pub(super) fn kept(&self) {
        if let Outlet::Pipeline(redrive) = self {
            redrive.kept();
        }
    }

    pub(super) fn close(&mut self) {
        match self {
            Outlet::Pipeline(redrive) => redrive.close(),
            Outlet::Source(source) => source.letters = None,
        }
    }

    pub(super) async fn told(&mut self) -> Option<Told> {
        match self {
            Outlet::Pipeline(redrive) => redrive.told().await,
            Outlet::Source(source) => source.told.recv().await,
        }
    }
}

/// Writes letters to the topic that they came from.
pub(super) struct ToSource {
    letters: Option<mpsc::UnboundedSender<Vec<Redriven>>>,
    told: mpsc::UnboundedReceiver<Told>,
    running: JoinHandle<()>,
}

impl ToSource {
    /// Writes at most so many letters a second. Must be called within a Tokio runtime.
    pub(super) fn start(settings: Arc<PipelineSettings>, rate: Option<Rate>) -> ToSource {
        let (letters, mut ordered) = mpsc::unbounded_channel::<Vec<Redriven>>();
        let (tell, told) = mpsc::unbounded_channel();
        let running = tokio::spawn(async move {
            let mut pace = Pace::new(rate);
            let mut producer = None;
            while let Some(letters) = ordered.recv().await {
                for some in letters.chunks(pace.at_once()) {
                    if ordered.is_closed() && ordered.is_empty() {
                        return;
                    }
                    pace.wait(some.len()).await;
                    write(&settings, &mut producer, some, &tell).await;
                }
            }
        });
        ToSource {
            letters: Some(letters),
            told,
            running,
        }
    }
}

impl Drop for ToSource {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Writes these, again and again until the cluster has all of them, in their order.
async fn write(
    settings: &PipelineSettings,
    producer: &mut Option<Producer>,
    letters: &[Redriven],
    tell: &mpsc::UnboundedSender<Told>,
) {
    let mut waits = ExponentialBuilder::default()
        .with_max_delay(MAX_WAIT)
        .with_jitter()
        .without_max_times()
        .build();
    let mut left: Vec<(&Redriven, Record)> = letters.iter().map(|letter| (letter, repetition(letter))).collect();
    let mut has_waited = false;
    while !left.is_empty() {
        let trouble = match send(settings, producer, &left).await {
            Ok(results) => {
                // What stands behind one that failed may be stored before it: it is sent once more, so that order holds.
                let first_failed = results.iter().position(Result::is_err).unwrap_or(left.len());
                let stored = left.drain(..first_failed).map(|(letter, _)| Fated {
                    place: letter.place.clone(),
                    offset: letter.offset,
                    fate: Fate::Delivered,
                });
                let stored: Vec<Fated> = stored.collect();
                if !stored.is_empty() {
                    let _ = tell.send(Told::Fated(stored));
                }
                results.into_iter().find_map(Result::err)
            }
            Err(trouble) => Some(trouble),
        };
        if let Some(trouble) = trouble {
            has_waited = true;
            let _ = tell.send(Told::Waits(Some(trouble)));
            sleep(waits.next().unwrap_or(MAX_WAIT)).await;
        }
    }
    if has_waited {
        let _ = tell.send(Told::Waits(None));
    }
}

async fn send(
    settings: &PipelineSettings,
    producer: &mut Option<Producer>,
    letters: &[(&Redriven, Record)],
) -> Result<Vec<Result<(), String>>, String> {
    if producer.is_none() {
        let client_id = format!("fnbridge/{}/redrive", settings.name);
        let opened = Producer::open(ProducerSettings::new(settings.source.cluster.clone(), client_id));
        *producer = Some(opened.map_err(|error| error.to_string())?);
    }
    let Some(producer) = producer else {
        return Ok(Vec::new());
    };
    let outgoing = letters.iter().map(|(_, record)| Outgoing {
        topic: &record.source.topic,
        partition: Some(record.source.partition),
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &record.headers,
        more_headers: &[],
        timestamp_ms: record.timestamp_ms,
    });
    let results = producer.send_all(outgoing).await;
    Ok(results.into_iter().map(|result| result.map_err(said)).collect())
}

fn said(error: SendError) -> String {
    match error {
        SendError::TooLarge(text)
        | SendError::Refused(text)
        | SendError::Denied(text)
        | SendError::Missing(text)
        | SendError::Away(text)
        | SendError::Other(text) => text,
        SendError::Full => "the producer's window is full".to_owned(),
        SendError::Purged => "the producer was closed before the broker answered".to_owned(),
    }
}

/// The record as it goes to its topic once more: it says which record it repeats, and how often it was redriven.
fn repetition(letter: &Redriven) -> Record {
    let mut record = redriven(&letter.record, letter.redrives);
    if record.headers.iter().all(|header| header.name != ORIGIN) {
        record.headers.push(Header {
            name: ORIGIN.to_owned(),
            value: Some(letter.record.id().to_string().into()),
        });
    }
    record
}

/// Holds to a rate.
struct Pace {
    rate: Option<Rate>,
    next: Instant,
}

impl Pace {
    fn new(rate: Option<Rate>) -> Pace {
        Pace {
            rate,
            next: Instant::now(),
        }
    }

    /// About a tenth of what may go a second.
    fn at_once(&self) -> usize {
        let tenth = self.rate.map_or(AT_ONCE as f64, |rate| rate.per_second() / 10.0);
        (tenth as usize).clamp(1, AT_ONCE)
    }

    async fn wait(&mut self, letters: usize) {
        let Some(rate) = self.rate else { return };
        sleep_until(self.next).await;
        let takes = Duration::from_secs_f64(letters as f64 / rate.per_second());
        self.next = self.next.max(Instant::now()) + takes;
    }
}

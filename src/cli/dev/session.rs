//! The running pieces of `fnbridge dev`, joined: what is seen goes into the model, the model onto the screen.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::Function;
use super::counts;
use super::feeder::{Fed, Feeder};
use super::model::{Feeding, Model};
use super::pipeline::Running;
use super::screen::Screen;
use super::stop::Stop;
use super::tail::Sighting;
use super::view;
use crate::cli::local::Said;
use crate::pipeline::PipelineState;
use crate::telemetry::render_metrics;

/// How often the view is painted.
const FRAME: Duration = Duration::from_millis(200);

/// Signals that come so soon after the first are the same wish, sent to a process and to its group.
const SAME_WISH: Duration = Duration::from_secs(1);

/// Where stdout is no terminal, so many results are shown a second, at most.
const RESULTS_A_SECOND: usize = 2;

/// And so many lines of what a function writes.
const OUTPUT_A_SECOND: usize = 50;

/// The running pieces.
pub(super) struct Session {
    pub(super) model: Model,
    pub(super) screen: Screen,
    pub(super) function: Function,
    pub(super) pipeline: Running,
    pub(super) feeder: Arc<Feeder>,
    pub(super) feeding: Option<JoinHandle<Fed>>,
    pub(super) sightings: Receiver<Sighting>,
    pub(super) log: Option<Receiver<String>>,
    pub(super) started: Instant,
}

/// How a session ended.
pub(super) enum End {
    /// Everything that was on the wire is finished.
    Drained,
    /// Asked twice.
    Cut,
    /// Nobody reads stdout any more.
    Unread,
}

impl Session {
    /// Shows what happens until it is told to stop, then drains.
    pub(super) async fn run(mut self, stop: &mut Stop) -> std::io::Result<()> {
        let end = match self.watch(stop).await {
            Ok(()) => self.drain(stop).await?,
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                self.pipeline.close();
                self.pipeline.ended().await;
                End::Unread
            }
            Err(error) => return Err(error),
        };
        self.function.stop().await;
        let drained = match end {
            End::Drained => true,
            End::Cut => false,
            End::Unread => return Ok(()),
        };
        self.screen.close(&view::summary(&self.model, drained))
    }

    async fn watch(&mut self, stop: &mut Stop) -> std::io::Result<()> {
        let mut seconds = Seconds::default();
        let mut frames = interval(FRAME);
        frames.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                () = stop.asked() => return Ok(()),
                Some(sighting) = self.sightings.recv() => self.saw(sighting, &mut seconds)?,
                _ = frames.tick() => self.frame(&mut seconds).await?,
            }
        }
    }

    fn saw(&mut self, sighting: Sighting, seconds: &mut Seconds) -> std::io::Result<()> {
        self.model.elapsed = self.started.elapsed();
        match sighting {
            Sighting::Result(seen) => {
                if seconds.results < RESULTS_A_SECOND {
                    self.screen.print(&view::result_line(&seen))?;
                }
                seconds.results += 1;
                self.model.result(seen);
            }
            Sighting::Letter(seen) => {
                self.screen.print(&view::dead_letter_line(&seen))?;
                let is_first = self.model.poison.is_none();
                self.model.letter(seen);
                for line in view::poison_steps(&self.model).iter().filter(|_| is_first) {
                    self.screen.print(line)?;
                }
            }
        }
        Ok(())
    }

    /// Takes in what the function said since, and prints it where stdout is no terminal.
    fn listen(&mut self, seconds: &mut Seconds) -> std::io::Result<()> {
        let Some(local) = self.function.local() else {
            return Ok(());
        };
        let (mut said, lost) = local.output().since(seconds.heard);
        self.model.function = local.standing();
        let beside_records = shown_beside_records(&said);
        // What is newer than a frame waits for the next: the call that it belongs to may just fail.
        let start = seconds.heard + lost;
        let is_old = usize::try_from(seconds.said.saturating_sub(start)).unwrap_or(usize::MAX);
        seconds.said = start + said.len() as u64;
        said.truncate(is_old);
        seconds.heard = start + said.len() as u64;
        seconds.unsaid += lost;
        for said in said {
            let is_output = matches!(said, Said::Out(_) | Said::Err(_));
            if matches!(&said, Said::Err(line) if beside_records.contains(line)) {
                continue;
            }
            if is_output && seconds.output >= OUTPUT_A_SECOND {
                seconds.unsaid += 1;
            } else {
                let as_before = self.model.is_known(&said);
                for line in view::function_lines(&said, as_before) {
                    self.screen.print(&line)?;
                }
                seconds.output += usize::from(is_output);
            }
            self.model.says(said);
        }
        Ok(())
    }

    async fn frame(&mut self, seconds: &mut Seconds) -> std::io::Result<()> {
        self.look().await;
        self.listen(seconds)?;
        if seconds.passed(self.started.elapsed()) {
            let settled = self.model.all_settled();
            self.model.second(settled - seconds.settled);
            if settled != seconds.settled || self.model.elapsed.as_secs().is_multiple_of(10) {
                self.screen.print(&view::second_line(&self.model))?;
            }
            if seconds.unsaid > 0 {
                self.screen.print(&view::unsaid_line(seconds.unsaid))?;
            }
            seconds.settled = settled;
            seconds.results = 0;
            (seconds.output, seconds.unsaid) = (0, 0);
        }
        self.screen.paint(&view::screen(&self.model, self.screen.height()))
    }

    /// Takes in what has changed.
    async fn look(&mut self) {
        self.model.elapsed = self.started.elapsed();
        let picture = self.pipeline.picture();
        self.feeder.consumed(&picture.view);
        self.model.fed = self.feeder.fed();
        let page = render_metrics();
        self.model.attempts = counts::by_label(&page, "fnbridge_attempts_total", "outcome");
        self.model.settled = counts::by_label(&page, "fnbridge_settled_records_total", "disposition");
        self.model.trouble = match picture.state {
            PipelineState::Waiting(reason) => Some(reason),
            PipelineState::Starting | PipelineState::Running | PipelineState::Stopped => None,
        };
        self.model.task = picture.view;
        while let Some(line) = self.log.as_mut().and_then(|log| log.try_recv().ok()) {
            self.model.warning(line);
        }
        if self.feeding.as_ref().is_some_and(JoinHandle::is_finished)
            && let Some(feeding) = self.feeding.take()
        {
            self.model.feeding = match feeding.await {
                Ok(Fed::End) => Feeding::Ended,
                Ok(Fed::Unreadable(error)) => Feeding::Failed(error.to_string()),
                Ok(Fed::Refused(error)) => Feeding::Failed(error.to_string()),
                Err(error) => Feeding::Failed(error.to_string()),
            };
        }
    }

    async fn drain(&mut self, stop: &mut Stop) -> std::io::Result<End> {
        if let Some(feeding) = self.feeding.take() {
            feeding.abort();
        }
        self.pipeline.close();
        let asked = Instant::now();
        let mut frames = interval(FRAME);
        loop {
            tokio::select! {
                () = stop.asked() => if asked.elapsed() > SAME_WISH {
                    return Ok(End::Cut);
                },
                _ = frames.tick() => {
                    self.look().await;
                    if self.pipeline.picture().state == PipelineState::Stopped {
                        return Ok(End::Drained);
                    }
                    self.model.trouble = Some("draining: what is on the wire is finished; Ctrl-C again ends at once".to_owned());
                    self.screen.paint(&view::screen(&self.model, self.screen.height()))?;
                }
            }
        }
    }
}

/// What is counted by the second.
#[derive(Default)]
struct Seconds {
    last: u64,
    settled: u64,
    results: usize,
    output: usize,
    unsaid: u64,
    /// How much of what the function says was taken in: of the whole session.
    heard: u64,
    /// How much it had said at the last frame.
    said: u64,
}

/// Lines of stderr that a failed call shows with its records.
fn shown_beside_records(said: &[Said]) -> HashSet<String> {
    let failed = said.iter().filter_map(|said| match said {
        Said::Failed { lines, .. } => Some(lines),
        Said::Out(_) | Said::Err(_) | Said::Note(_) => None,
    });
    failed.flatten().cloned().collect()
}

impl Seconds {
    fn passed(&mut self, elapsed: Duration) -> bool {
        let now = elapsed.as_secs();
        std::mem::replace(&mut self.last, now) != now
    }
}

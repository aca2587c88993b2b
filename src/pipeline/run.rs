//! The loop: what happens goes into the task, what it asks for is done.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::clock::{Clock, Jitter};
use super::effects::{Done, Hands};
use super::prepare::{Prepared, prepare};
use super::skips::{SkipList, skip_event};
use super::{Control, Picture, PipelineSettings, PipelineState};
use crate::convert::{Formats, admit};
use crate::delivery::Task;
use crate::delivery::event::{Admission, Arrival, Effect, Event, View};
use crate::delivery::record::Record;
use crate::kafka::{Source, SourceEvent, SourceEvents, Started, Trouble};
use crate::telemetry::PipelineTelemetry;

/// How often the task's picture is published, at most.
const PICTURE_EVERY: Duration = Duration::from_millis(500);
/// How long a pipeline whose source has ended by itself waits before it starts anew.
const RESTART_AFTER: Duration = Duration::from_secs(10);

/// Why a run ended.
enum Ended {
    /// It was told to, and has drained.
    Closed,
    /// Its source can't go on.
    SourceEnded,
}

/// Runs a pipeline until it is told to close; one whose source can't go on is started anew after a while.
pub(super) async fn supervise(
    settings: PipelineSettings,
    mut commands: mpsc::UnboundedReceiver<Control>,
    picture: watch::Sender<Picture>,
    skips: SkipList,
) {
    let settings = Arc::new(settings);
    let telemetry = PipelineTelemetry::open(&settings.name, &settings.sink_names());
    telemetry.pipeline_started(&settings.revision, &settings.labels);
    let mut paused = settings.paused;
    loop {
        let prepared = tokio::select! {
            prepared = prepare(&settings, &telemetry, &picture) => prepared,
            () = told_to_close(&mut commands, &mut paused) => break,
        };
        telemetry.pipeline_joins();
        let run = Run::start(&settings, paused, &telemetry, &picture, &skips, prepared);
        match run.run(&mut commands, &mut paused).await {
            Ended::Closed => break,
            Ended::SourceEnded => telemetry.pipeline_restarts(),
        }
        tokio::select! {
            () = tokio::time::sleep(RESTART_AFTER) => {}
            () = told_to_close(&mut commands, &mut paused) => break,
        }
    }
    picture.send_replace(Picture {
        state: PipelineState::Stopped,
        view: View::default(),
    });
    telemetry.pipeline_stopped();
}

/// Heeds what is told until it is to close.
async fn told_to_close(commands: &mut mpsc::UnboundedReceiver<Control>, paused: &mut bool) {
    loop {
        match commands.recv().await {
            Some(Control::SetPaused(now)) => *paused = now,
            // It is kept, and told with each assignment.
            Some(Control::Skip(..)) => {}
            // A dropped handle closes the pipeline, too.
            Some(Control::Close) | None => return,
        }
    }
}

/// One membership in the group, from joining to leaving.
struct Run<'a> {
    task: Task,
    clock: Clock,
    dice: Jitter,
    source: Source,
    events: SourceEvents,
    hands: Hands,
    formats: Option<Formats>,
    telemetry: &'a PipelineTelemetry,
    picture: &'a watch::Sender<Picture>,
    skips: &'a SkipList,
    published: Instant,
    state: PipelineState,
}

impl<'a> Run<'a> {
    fn start(
        settings: &Arc<PipelineSettings>,
        paused: bool,
        telemetry: &'a PipelineTelemetry,
        picture: &'a watch::Sender<Picture>,
        skips: &'a SkipList,
        prepared: Prepared,
    ) -> Run<'a> {
        let mut task = Task::new(settings.task.clone());
        let clock = Clock::start();
        let mut dice = Jitter::default();
        task.handle(Event::SetPaused(paused), clock.now(), &mut dice);
        telemetry.pipeline_paused(paused);
        let (source, events) = Source::start(settings.source.clone());
        picture.send_replace(Picture {
            state: PipelineState::Running,
            view: View::default(),
        });
        Run {
            task,
            clock,
            dice,
            source,
            events,
            hands: Hands::new(settings, telemetry, prepared),
            formats: settings.formats,
            telemetry,
            picture,
            skips,
            published: Instant::now(),
            state: PipelineState::Running,
        }
    }

    async fn run(mut self, commands: &mut mpsc::UnboundedReceiver<Control>, paused: &mut bool) -> Ended {
        let mut closing = false;
        let mut arrived = Vec::new();
        loop {
            let wakeup = self.next_wakeup();
            tokio::select! {
                biased;
                done = self.hands.next() => {
                    self.take_in(done);
                    while let Some(done) = self.hands.next_now() {
                        self.take_in(done);
                    }
                }
                open = self.events.recv_many(&mut arrived) => {
                    if !open {
                        return if closing { Ended::Closed } else { Ended::SourceEnded };
                    }
                    arrived.drain(..).for_each(|event| self.take_in_source(event));
                }
                told = commands.recv(), if !closing => match told {
                    Some(Control::SetPaused(now)) => {
                        *paused = now;
                        self.telemetry.pipeline_paused(now);
                        self.handle(Event::SetPaused(now));
                    }
                    Some(Control::Skip(source, range)) => self.handle(skip_event(&source, &range)),
                    Some(Control::Close) | None => {
                        closing = true;
                        self.source.close();
                    }
                },
                () = sleep_until(wakeup) => self.handle(Event::Tick),
            }
            self.task.advance(self.clock.moment());
            while let Some(effect) = self.task.poll_effect() {
                self.perform(effect);
            }
            self.hands.pool.set_held(self.task.held_bytes());
            self.publish();
        }
    }

    fn next_wakeup(&self) -> Instant {
        let picture = self.published + PICTURE_EVERY;
        self.task
            .next_wakeup()
            .map_or(picture, |moment| self.clock.instant(moment).min(picture))
    }

    fn handle(&mut self, event: Event) {
        let now = self.clock.now();
        self.task.handle(event, now, &mut self.dice);
    }

    fn take_in(&mut self, done: Done) {
        if let Some(event) = self.hands.take_in(done) {
            self.handle(event);
        }
    }

    fn take_in_source(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Assigned {
                assignment,
                source,
                position,
                memo,
                started,
            } => {
                self.telemetry.assigned(assignment, &source, position, &started);
                if matches!(started, Started::Recreated { .. }) {
                    self.skips.forget(&source);
                }
                let skips = self.skips.events(&source);
                self.handle(Event::Assigned {
                    assignment,
                    source,
                    position,
                    memo,
                });
                skips.into_iter().for_each(|skip| self.handle(skip));
            }
            SourceEvent::Records { assignment, records } => {
                self.telemetry.polled(assignment, &records);
                let admit = |record: &Record| match &self.formats {
                    Some(formats) => admit(record, formats),
                    None => Admission::Pass,
                };
                let arrivals = records
                    .into_iter()
                    .map(|record| Arrival {
                        admission: admit(&record),
                        record,
                    })
                    .collect();
                self.handle(Event::Arrived { assignment, arrivals });
            }
            SourceEvent::Revoked(assignments) => {
                self.telemetry.revoked(&assignments);
                self.handle(Event::Revoked { assignments });
            }
            SourceEvent::Lost(assignments) => {
                self.telemetry.lost(&assignments);
                self.handle(Event::Lost { assignments });
            }
            SourceEvent::Overtaken { assignment, from, to } => self.handle(Event::Overtaken { assignment, from, to }),
            SourceEvent::Committed { outcomes } => {
                self.telemetry.committed(&outcomes);
                self.handle(Event::Committed { outcomes });
            }
            SourceEvent::Watermarks { assignment, high, .. } => self.telemetry.watermarks(assignment, high),
            SourceEvent::Trouble(Trouble { kind, text }) => {
                self.telemetry.source_trouble(kind.name(), &text, kind.fatal());
                if kind.fatal() {
                    self.state = PipelineState::Waiting(text);
                    self.show();
                }
            }
            SourceEvent::Recovered(kind) => self.telemetry.source_recovered(kind.name()),
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Call(call) => self.hands.call(call),
            Effect::Abandon(call) => self.hands.abandon(call),
            Effect::Store(store) => self.hands.store(store),
            Effect::WriteLetter(letter) => self.hands.write_letter(&letter),
            Effect::RecycleSinks => self.hands.recycle_sinks(),
            Effect::Commit(entries) => self.source.commit(entries),
            Effect::Pause(assignment) => self.source.pause(&[assignment]),
            Effect::Resume(assignment) => self.source.resume(&[assignment]),
            Effect::Release(assignment) => self.source.release(assignment),
            Effect::Notice(notice) => self.telemetry.notice(&notice),
        }
    }

    fn publish(&mut self) {
        if self.published.elapsed() >= PICTURE_EVERY {
            self.hands.look_after_outputs();
            self.show();
        }
    }

    fn show(&mut self) {
        self.published = Instant::now();
        let view = self.task.view();
        self.telemetry.publish(&view, self.clock.moment());
        self.skips.forget_passed(&view);
        self.picture.send_replace(Picture {
            state: self.state.clone(),
            view,
        });
    }
}

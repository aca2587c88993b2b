//! The loop: what happens goes into the task, what it asks for is done.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::clock::{Clock, Jitter};
use super::effects::{Done, Hands};
use super::prepare::{Prepared, prepare};
use super::restarts::Restarts;
use super::skips::SkipList;
use super::turn::{MOST_DONE, Turn};
use super::{Control, Picture, PipelineSettings, PipelineState, Redriver};
use crate::delivery::Task;
use crate::delivery::answer::Failure;
use crate::delivery::event::{Arrival, Effect, Event, View};
use crate::delivery::group::GroupEvent;
use crate::kafka::Health;
use crate::kafka::{Leave, Source, SourceEvent, SourceEvents, Trouble};
use crate::telemetry::{PipelineTelemetry, Voice};

/// How often the task's picture is published, at most.
const PICTURE_EVERY: Duration = Duration::from_millis(500);
/// How often it is published where nothing happens: that it is shows that the pipeline is alive.
const SAME_PICTURE_EVERY: Duration = Duration::from_secs(5);

/// Why a run ended.
enum Ended {
    /// It was told to, and has drained.
    Closed,
    /// Its source can't go on.
    SourceGone,
    /// Whether a transaction was committed can't be known here: it is not drained, and commits nothing more.
    Undecided,
}

/// Runs a pipeline until it is told to close; one that can't go on is started anew after a while.
pub(super) async fn supervise(
    pipeline: Redriver,
    mut commands: mpsc::UnboundedReceiver<Control>,
    picture: watch::Sender<Picture>,
    skips: SkipList,
) {
    let settings = pipeline.settings();
    let telemetry = PipelineTelemetry::open(&settings.name, &settings.sink_names());
    telemetry.pipeline_started(&settings.revision, &settings.labels);
    let mut told = Told {
        paused: settings.paused,
        share_bytes: settings.share_bytes,
    };
    let mut restarts = Restarts::default();
    loop {
        let prepared = tokio::select! {
            prepared = prepare(settings, settings.task.delivery, &telemetry, |reason| {
                telemetry.pipeline_waits(reason);
                picture.send_replace(Picture {
                    state: PipelineState::Waiting(reason.to_owned()),
                    view: View::default(),
                });
            }) => prepared,
            () = told.heed_until_close(&mut commands) => break,
        };
        telemetry.pipeline_joins();
        let began = Instant::now();
        let run = Run::start(&pipeline, told, &telemetry, &picture, &skips, prepared);
        match run.run(&mut commands, &mut told).await {
            Ended::Closed => break,
            Ended::SourceGone | Ended::Undecided => {}
        }
        let wait = restarts.after(began.elapsed());
        telemetry.pipeline_restarts(wait);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = told.heed_until_close(&mut commands) => break,
        }
    }
    picture.send_replace(Picture {
        state: PipelineState::Stopped,
        view: View::default(),
    });
    telemetry.pipeline_stopped();
}

/// What a pipeline was told last, for its next start.
#[derive(Clone, Copy, Debug)]
struct Told {
    paused: bool,
    share_bytes: usize,
}

impl Told {
    /// Heeds what is told until it is to close.
    async fn heed_until_close(&mut self, commands: &mut mpsc::UnboundedReceiver<Control>) {
        loop {
            match commands.recv().await {
                Some(Control::SetPaused(paused)) => self.paused = paused,
                Some(Control::SetShare(bytes)) => self.share_bytes = bytes,
                // It is kept, and told with each assignment.
                Some(Control::Skip(..)) => {}
                // A dropped handle closes the pipeline, too.
                Some(Control::Close(_)) | None => return,
            }
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
    settings: Arc<PipelineSettings>,
    telemetry: &'a PipelineTelemetry,
    picture: &'a watch::Sender<Picture>,
    skips: &'a SkipList,
    published: Instant,
    /// Nothing has happened since it was published.
    is_same: bool,
    state: PipelineState,
}

impl<'a> Run<'a> {
    fn start(
        pipeline: &Redriver,
        told: Told,
        telemetry: &'a PipelineTelemetry,
        picture: &'a watch::Sender<Picture>,
        skips: &'a SkipList,
        prepared: Prepared,
    ) -> Run<'a> {
        let settings = pipeline.settings();
        let mut task = Task::new(settings.task.clone());
        let clock = Clock::start();
        let mut dice = Jitter::default();
        task.handle(Event::SetPaused(told.paused), clock.now(), &mut dice);
        let in_flight_bytes = told.share_bytes;
        task.handle(Event::SetShare { in_flight_bytes }, clock.now(), &mut dice);
        telemetry.pipeline_paused(told.paused);
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
            hands: Hands::new(pipeline, telemetry, prepared),
            settings: settings.clone(),
            telemetry,
            picture,
            skips,
            published: Instant::now(),
            is_same: false,
            state: PipelineState::Running,
        }
    }

    async fn run(mut self, commands: &mut mpsc::UnboundedReceiver<Control>, told: &mut Told) -> Ended {
        let mut closing = false;
        let mut turn = Turn::start();
        let mut arrived = Vec::new();
        loop {
            let wakeup = self.next_wakeup();
            tokio::select! {
                biased;
                // First, so that one that always has something to do can be stopped.
                command = commands.recv(), if !closing => closing = self.obey(command, told),
                done = self.hands.next() => {
                    self.take_in(done);
                    for _ in 0..MOST_DONE {
                        let Some(done) = self.hands.next_now() else { break };
                        self.take_in(done);
                    }
                    self.events.recv_now(&mut arrived);
                }
                open = self.events.recv_many(&mut arrived) => if !open {
                    return if closing { Ended::Closed } else { Ended::SourceGone };
                },
                () = sleep_until(wakeup) => self.handle(Event::Tick),
            }
            if self.hands.is_undecided() {
                return if closing { Ended::Closed } else { Ended::Undecided };
            }
            arrived.drain(..).for_each(|event| self.take_in_source(event));
            self.task.advance(self.clock.moment());
            while let Some(effect) = self.task.poll_effect() {
                self.perform(effect);
                turn.pause_if_long().await;
            }
            self.hands.pool.set(self.task.held_bytes(), self.task.in_flight_bytes());
            self.publish();
            turn.pause_if_long().await;
        }
    }

    /// True: it is to close.
    fn obey(&mut self, command: Option<Control>, told: &mut Told) -> bool {
        match command {
            Some(Control::SetPaused(paused)) => {
                told.paused = paused;
                self.telemetry.pipeline_paused(paused);
                self.handle(Event::SetPaused(paused));
            }
            Some(Control::SetShare(in_flight_bytes)) => {
                told.share_bytes = in_flight_bytes;
                self.handle(Event::SetShare { in_flight_bytes });
            }
            Some(Control::Skip(source, range)) => self.handle(range.event(&source)),
            Some(Control::Close(leave)) => {
                self.source.close(leave);
                return true;
            }
            // A dropped handle closes the pipeline, too.
            None => {
                self.source.close(Leave::ForGood);
                return true;
            }
        }
        false
    }

    fn next_wakeup(&self) -> Instant {
        let picture = self.published + self.picture_after();
        self.task
            .next_wakeup()
            .map_or(picture, |moment| self.clock.instant(moment).min(picture))
    }

    fn picture_after(&self) -> Duration {
        match self.is_same && self.task.held_bytes() == 0 {
            true => SAME_PICTURE_EVERY,
            false => PICTURE_EVERY,
        }
    }

    fn handle(&mut self, event: Event) {
        self.is_same &= matches!(event, Event::Tick);
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
            SourceEvent::Group(event) => self.take_in_group(event),
            SourceEvent::Records { assignment, records } => {
                self.telemetry.polled(assignment, &records);
                let arrivals = records
                    .into_iter()
                    .map(|record| Arrival {
                        admission: self.settings.admit(&record),
                        record,
                    })
                    .collect();
                self.handle(Event::Arrived { assignment, arrivals });
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

    fn take_in_group(&mut self, event: GroupEvent) {
        match &event {
            GroupEvent::Assigned {
                assignment,
                source,
                position,
                started,
                ..
            } => self.telemetry.assigned(*assignment, source, *position, started),
            GroupEvent::Revoked(assignments) => self.telemetry.revoked(assignments),
            GroupEvent::Lost(assignments) => self.telemetry.lost(assignments),
            GroupEvent::Committed { outcomes } => self.telemetry.committed(outcomes),
            GroupEvent::Overtaken { .. } => {}
        }
        for event in self.skips.events(event) {
            self.handle(event);
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
            Effect::Transact(transaction) => self.hands.transact(transaction, self.source.voucher()),
            Effect::Pause(assignment) => self.source.pause(&[assignment]),
            Effect::Resume(assignment) => self.source.resume(&[assignment]),
            Effect::Release(assignment) => self.source.release(assignment),
            Effect::Notice(notice) => self.telemetry.notice(&notice),
        }
    }

    fn publish(&mut self) {
        if self.published.elapsed() >= self.picture_after() {
            self.tell_health();
            self.show();
        }
    }

    fn tell_health(&mut self) {
        for (outlet, health) in self.hands.changed_outlets() {
            let away = |reason, blocked| {
                let failure = Failure::of(reason);
                self.telemetry.outlet_away(outlet, Voice::Client, &failure, blocked);
            };
            match health {
                Health::Fine => self.telemetry.outlet_back(outlet, Voice::Client),
                Health::Away(reason) => away(reason, false),
                Health::Blocked(reason) => away(reason, true),
            }
        }
    }

    fn show(&mut self) {
        self.published = Instant::now();
        self.is_same = true;
        let view = self.task.view();
        self.telemetry.publish(&view, self.clock.moment());
        self.skips.forget_passed(&view);
        self.picture.send_replace(Picture {
            state: self.state.clone(),
            view,
        });
    }
}

//! When a function's process is started, stopped and started again. Nothing here has a clock: time is an argument.

use std::time::Duration;

/// Files are written in bursts: a restart waits until nothing has changed for so long.
const QUIET: Duration = Duration::from_millis(150);

/// A burst that does not end is cut off here.
const LONGEST_BURST: Duration = Duration::from_secs(2);

/// Calls on the wire get so long to end before a restart.
const LAST_CALLS: Duration = Duration::from_secs(3);

/// The first wait after an end that nobody asked for; each is twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// One that ended while it served is waited for as after so many ends: which record ends it has to be found out.
const SERVED_FAILURES: u32 = 3;

/// Whoever served for so long has not failed at the start.
const STABLE: Duration = Duration::from_secs(10);

/// A process that does not listen by then is said to be late.
const LATE: Duration = Duration::from_secs(10);

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The process was started.
    Started,
    /// It listens.
    Listens,
    /// It ended, or could not be started.
    Ended,
    /// A file changed.
    Changed,
    /// No call is on the wire.
    Idle,
}

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Start the process.
    Start,
    /// Let no call through, and say when none is on the wire.
    Close,
    /// End the process.
    Stop,
    /// Say that it does not listen.
    SayLate,
}

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be started.
    Due,
    /// Being started.
    Starting,
    /// It runs, and does not listen.
    Silent { since: Duration, told: bool },
    /// It serves.
    Serving { since: Duration },
    /// It is to be restarted, and what is on the wire may end.
    Closing { until: Duration },
    /// Being stopped.
    Stopping,
    /// It ended by itself.
    Waiting { until: Duration },
}

/// Decides what is to be done with one process.
#[derive(Debug)]
pub(super) struct Supervisor {
    state: State,
    /// Ends in a row that nobody asked for.
    failures: u32,
    /// When the first and the last change of a burst came.
    burst: Option<(Duration, Duration)>,
}

impl Supervisor {
    /// A process that is being started.
    pub(super) fn new() -> Supervisor {
        Supervisor {
            state: State::Starting,
            failures: 0,
            burst: None,
        }
    }

    /// Takes in what happened.
    pub(super) fn handle(&mut self, event: Event, now: Duration) {
        match (event, self.state) {
            (Event::Changed, _) => self.burst = Some((self.burst.map_or(now, |(first, _)| first), now)),
            (Event::Started, State::Starting) => {
                self.state = State::Silent {
                    since: now,
                    told: false,
                }
            }
            (Event::Listens, State::Silent { .. }) => self.state = State::Serving { since: now },
            (Event::Idle, State::Closing { .. }) => self.state = State::Closing { until: now },
            (Event::Ended, State::Stopping | State::Closing { .. }) => self.state = State::Due,
            (Event::Ended, state) => {
                let failures = self.failures + 1;
                self.failures = match state {
                    State::Serving { since } if now >= since + STABLE => 1,
                    State::Serving { .. } => failures.min(SERVED_FAILURES),
                    _ => failures,
                };
                self.state = State::Waiting {
                    until: now + self.wait(),
                };
            }
            (Event::Started | Event::Listens | Event::Idle, _) => {}
        }
    }

    /// The next thing to do, if there is one by now.
    pub(super) fn poll(&mut self, now: Duration) -> Option<Effect> {
        if self.can_restart()
            && self.change_is_whole().is_some_and(|at| now >= at)
            && let Some(effect) = self.restart(now)
        {
            return Some(effect);
        }
        match self.state {
            State::Due => Some(self.start()),
            State::Waiting { until } if now >= until => Some(self.start()),
            State::Closing { until } if now >= until => {
                self.state = State::Stopping;
                Some(Effect::Stop)
            }
            State::Silent { since, told: false } if now >= since + LATE => {
                self.state = State::Silent { since, told: true };
                Some(Effect::SayLate)
            }
            _ => None,
        }
    }

    /// When there may be something to do without anything happening.
    pub(super) fn next_wakeup(&self) -> Option<Duration> {
        let own = match self.state {
            State::Due => Some(Duration::ZERO),
            State::Waiting { until } | State::Closing { until } => Some(until),
            State::Silent { since, told: false } => Some(since + LATE),
            State::Silent { .. } | State::Starting | State::Serving { .. } | State::Stopping => None,
        };
        let change = self.change_is_whole().filter(|_| self.can_restart());
        own.into_iter().chain(change).min()
    }

    /// How long it is left alone after its last end.
    pub(super) fn wait(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        (FIRST_WAIT * 2u32.pow(doublings)).min(LONGEST_WAIT)
    }

    /// Whether a change waits for its burst to end.
    pub(super) fn has_change(&self) -> bool {
        self.burst.is_some()
    }

    /// Whether it runs and does not listen.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self.state, State::Silent { .. })
    }

    fn start(&mut self) -> Effect {
        self.state = State::Starting;
        Effect::Start
    }

    fn change_is_whole(&self) -> Option<Duration> {
        self.burst
            .map(|(first, last)| (last + QUIET).min(first + LONGEST_BURST))
    }

    fn can_restart(&self) -> bool {
        !matches!(self.state, State::Starting | State::Stopping)
    }

    /// Files have changed: what runs is ended, what waits is started.
    fn restart(&mut self, now: Duration) -> Option<Effect> {
        self.burst = None;
        self.failures = 0;
        match self.state {
            State::Waiting { .. } | State::Due => Some(self.start()),
            State::Serving { .. } => {
                self.state = State::Closing {
                    until: now + LAST_CALLS,
                };
                Some(Effect::Close)
            }
            State::Silent { .. } => {
                self.state = State::Stopping;
                Some(Effect::Stop)
            }
            // It is on its way already, and reads its files anew.
            State::Closing { .. } | State::Starting | State::Stopping => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn serving(now: Duration) -> Supervisor {
        let mut supervisor = Supervisor::new();
        supervisor.handle(Event::Started, now);
        supervisor.handle(Event::Listens, now);
        assert_eq!(supervisor.poll(now), None);
        assert_eq!(supervisor.next_wakeup(), None);
        supervisor
    }

    #[test]
    fn a_burst_of_changes_is_one_restart_after_it_is_quiet() {
        let mut supervisor = serving(ms(0));
        for at in [1000, 1050, 1100] {
            supervisor.handle(Event::Changed, ms(at));
            assert_eq!(supervisor.poll(ms(at)), None);
        }
        assert_eq!(supervisor.next_wakeup(), Some(ms(1250)));
        assert_eq!(supervisor.poll(ms(1250)), Some(Effect::Close));
        assert_eq!(supervisor.poll(ms(1300)), None, "what is on the wire may end");
        supervisor.handle(Event::Idle, ms(1400));
        assert_eq!(supervisor.poll(ms(1400)), Some(Effect::Stop));
        supervisor.handle(Event::Ended, ms(1500));
        assert_eq!(supervisor.poll(ms(1500)), Some(Effect::Start), "without a wait");
        assert_eq!(supervisor.poll(ms(1500)), None);
    }

    #[test]
    fn files_that_never_stop_changing_do_not_keep_it_from_restarting() {
        let mut supervisor = serving(ms(0));
        let restarted = (0..100).map(|n| ms(n * 100)).find(|now| {
            supervisor.handle(Event::Changed, *now);
            supervisor.poll(*now) == Some(Effect::Close)
        });
        assert_eq!(restarted, Some(LONGEST_BURST));
    }

    #[test]
    fn calls_that_do_not_end_are_cut_off() {
        let mut supervisor = serving(ms(0));
        supervisor.handle(Event::Changed, ms(0));
        assert_eq!(supervisor.poll(ms(150)), Some(Effect::Close));
        assert_eq!(supervisor.next_wakeup(), Some(ms(150) + LAST_CALLS));
        assert_eq!(supervisor.poll(ms(150) + LAST_CALLS), Some(Effect::Stop));
    }

    #[test]
    fn what_ends_again_and_again_is_started_with_growing_waits() {
        let mut supervisor = Supervisor::new();
        let mut now = ms(0);
        let mut waits = Vec::new();
        for n in 0..8 {
            assert_eq!(supervisor.poll(now), (n > 0).then_some(Effect::Start));
            supervisor.handle(Event::Started, now);
            supervisor.handle(Event::Ended, now);
            let next = supervisor.next_wakeup().unwrap();
            waits.push((next - now).as_millis());
            assert_eq!(supervisor.poll(next - ms(1)), None);
            now = next;
        }
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 10000, 10000]);
    }

    #[test]
    fn one_that_has_served_for_long_is_started_soon() {
        let mut supervisor = serving(ms(0));
        supervisor.failures = 6;
        supervisor.handle(Event::Ended, STABLE);
        assert_eq!(supervisor.wait(), FIRST_WAIT);
    }

    #[test]
    fn one_that_ends_while_it_serves_is_not_waited_for_long() {
        let mut supervisor = serving(ms(0));
        for expected in [250, 500, 1000, 1000, 1000] {
            supervisor.handle(Event::Ended, ms(0));
            assert_eq!(supervisor.wait(), ms(expected));
            assert_eq!(supervisor.poll(ms(expected)), Some(Effect::Start));
            supervisor.handle(Event::Started, ms(0));
            supervisor.handle(Event::Listens, ms(0));
        }
    }

    #[test]
    fn a_change_ends_the_wait() {
        let mut supervisor = serving(ms(0));
        supervisor.failures = 6;
        supervisor.handle(Event::Ended, ms(10));
        supervisor.handle(Event::Changed, ms(20));
        assert_eq!(supervisor.next_wakeup(), Some(ms(170)));
        assert_eq!(supervisor.poll(ms(170)), Some(Effect::Start));
        supervisor.handle(Event::Ended, ms(180));
        assert_eq!(supervisor.wait(), FIRST_WAIT, "the file is another one");
    }

    #[test]
    fn a_change_while_it_stops_or_starts_is_not_forgotten() {
        let mut supervisor = serving(ms(0));
        supervisor.handle(Event::Changed, ms(0));
        assert_eq!(supervisor.poll(ms(150)), Some(Effect::Close));
        supervisor.handle(Event::Idle, ms(150));
        assert_eq!(supervisor.poll(ms(150)), Some(Effect::Stop));
        supervisor.handle(Event::Ended, ms(200));
        assert_eq!(supervisor.poll(ms(200)), Some(Effect::Start));
        supervisor.handle(Event::Changed, ms(210));
        assert_eq!((supervisor.poll(ms(400)), supervisor.next_wakeup()), (None, None));
        supervisor.handle(Event::Started, ms(410));
        assert_eq!(supervisor.poll(ms(410)), Some(Effect::Stop));
    }

    #[test]
    fn one_that_does_not_listen_is_said_to_be_late_once() {
        let mut supervisor = Supervisor::new();
        supervisor.handle(Event::Started, ms(0));
        assert_eq!(supervisor.next_wakeup(), Some(LATE));
        assert_eq!(supervisor.poll(LATE), Some(Effect::SayLate));
        assert_eq!(supervisor.poll(LATE * 2), None);
        assert!(supervisor.is_silent());
        supervisor.handle(Event::Listens, LATE * 3);
        assert!(!supervisor.is_silent());
    }
}

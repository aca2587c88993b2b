//! What goes wrong, each by dice of its own: one fault less does not move the others.

use fnbridge_delivery::event::Event;

use super::function::{Health, ILL};
use super::worker::{Command, Life};
use super::{Happening, SinkHealth, World};
use crate::dice::Rng;
use crate::history::facts::Fact;

/// A wall clock is never off by more.
const MOST_OFF_MS: i64 = 48 * 3600 * 1000;

/// The dice.
pub(super) struct Strikes {
    seed: u64,
    dice: Vec<Rng>,
}

impl Strikes {
    pub(super) fn new(seed: u64) -> Strikes {
        Strikes { seed, dice: Vec::new() }
    }

    /// Whether the fault of this number strikes now.
    fn strikes(&mut self, number: usize, chance: f64) -> bool {
        while self.dice.len() <= number {
            self.dice.push(Rng::stream(self.seed, 1 + self.dice.len() as u64));
        }
        self.dice[number].chance(chance)
    }
}

impl World {
    pub(super) fn strike(&mut self) {
        let faults = self.faults.clone();
        let by_number = [
            faults.rebalance,
            faults.crash,
            faults.fence,
            faults.restart,
            faults.outage,
            faults.sink_outage,
            faults.letter_outage,
            faults.pause,
            faults.expire,
            faults.recreate,
            faults.clock,
            faults.skip,
            faults.reshare,
        ];
        for (number, chance) in by_number.into_iter().enumerate() {
            if !self.strikes.strikes(number, chance) {
                continue;
            }
            match number {
                0 if self.rng.chance(faults.eager) => self.rebalance_eagerly(),
                0 => self.rebalance(),
                1 => self.crash_one(),
                2 => self.fence_one(),
                3 => self.restart_one(),
                4 => self.sicken(),
                5 => self.sink_goes(),
                6 => self.letters_go(),
                7 => self.pause_one(),
                8 => self.expire(),
                9 => self.recreate(),
                10 => self.jump(),
                11 => self.skip_some(),
                _ => self.reshare_one(),
            }
        }
    }

    /// Whether a worker dies between two of the things that it was asked to do.
    pub(super) fn dies_between(&mut self) -> bool {
        let chance = self.faults.crash_between;
        self.strikes.strikes(13, chance)
    }

    fn sicken(&mut self) {
        self.function = *self.rng.pick(&ILL);
        self.befell.outages += 1;
        self.note(Fact::FunctionIs(self.function));
        self.later(120_000, Happening::FunctionBack);
    }

    pub(super) fn function_back(&mut self) {
        self.function = Health::Well;
        self.note(Fact::FunctionIs(Health::Well));
    }

    fn sink_goes(&mut self) {
        if self.sinks.is_empty() {
            return;
        }
        let sink = self.rng.below(self.sinks.len() as u64) as usize;
        self.sinks[sink] = *self.rng.pick(&[SinkHealth::Away, SinkHealth::Blocked]);
        self.note(Fact::SinkIs { sink, well: false });
        self.later(60_000, Happening::SinkBack { sink });
    }

    pub(super) fn sink_back(&mut self, sink: usize) {
        self.sinks[sink] = SinkHealth::Well;
        self.note(Fact::SinkIs { sink, well: true });
    }

    fn letters_go(&mut self) {
        self.letters_well = false;
        self.note(Fact::LettersAre { well: false });
        self.later(60_000, Happening::LettersBack);
    }

    pub(super) fn letters_back(&mut self) {
        self.letters_well = true;
        self.note(Fact::LettersAre { well: true });
    }

    fn pause_one(&mut self) {
        let Some(worker) = self.one_of_the_live() else { return };
        self.workers[worker].paused = true;
        self.note(Fact::Paused { worker, paused: true });
        self.give(worker, Event::SetPaused(true));
        self.later(5_000, Happening::Unpause { worker });
    }

    pub(super) fn unpause(&mut self, worker: usize) {
        if self.workers[worker].life != Life::Dead {
            self.workers[worker].paused = false;
            self.note(Fact::Paused { worker, paused: false });
            self.give(worker, Event::SetPaused(false));
        }
    }

    /// Pipelines come and go on a worker: its tasks' shares change.
    fn reshare_one(&mut self) {
        let Some(worker) = self.one_of_the_live() else { return };
        let in_flight_bytes = *self.rng.pick(&[5_000, 20_000, 200_000, usize::MAX]);
        let w = &mut self.workers[worker];
        w.share = in_flight_bytes.min(w.settings.in_flight_bytes);
        w.allowed = w.allowed.max(w.share);
        let bytes = w.share;
        self.note(Fact::Share { worker, bytes });
        self.give(worker, Event::SetShare { in_flight_bytes });
    }

    /// Retention removes records at the front of a partition.
    fn expire(&mut self) {
        let partition = self.rng.below(self.logs.len() as u64) as usize;
        let log = self.logs[partition].now_mut();
        let to = log.start + self.rng.below((log.next_offset - log.start) as u64 + 1) as i64;
        for entry in &mut log.entries {
            entry.fate.expired |= entry.record.offset < to;
        }
        log.start = to;
        let log = log.incarnation;
        self.note(Fact::Expires { partition, log, to });
    }

    /// A topic is deleted and created anew, where somebody can see it: the offset that stands committed is behind the new
    /// log's end. A worker that does not know that it was thrown out sees nothing.
    fn recreate(&mut self) {
        let partition = self.rng.below(self.logs.len() as u64) as usize;
        let zombie = self.workers.iter().any(|w| w.life == Life::Zombie);
        let few = self.logs[partition].all.len() < 20;
        if zombie || self.group.committed_at(partition) < 20 || self.is_unnoticed(partition) || !few {
            return;
        }
        self.logs[partition].recreate();
        self.befell.recreated += 1;
        self.note(Fact::Recreated { partition });
    }

    fn one_of_the_live(&mut self) -> Option<usize> {
        let live = self.live();
        (!live.is_empty()).then(|| *self.rng.pick(&live))
    }

    /// The wall clock jumps, or everything stands still for a while.
    fn jump(&mut self) {
        let (mut wall_ms, mut stands_ms) = (0, 0);
        if self.rng.chance(0.6) {
            let to = self.rng.below(2 * MOST_OFF_MS as u64 + 1) as i64 - MOST_OFF_MS;
            wall_ms = to - self.wall_ms;
            self.wall_ms = to;
        } else {
            stands_ms = self.rng.between(1, *self.rng.clone().pick(&[1_000, 60_000, 3_600_000]));
            self.now += stands_ms;
            let held = self.workers.iter_mut().flat_map(|w| w.held.values_mut());
            held.for_each(|held| held.deadline = held.deadline.map(|deadline| deadline + stands_ms));
        }
        self.note(Fact::Clock { wall_ms, stands_ms });
    }

    /// A worker drains what it holds and leaves; another comes in its place.
    fn restart_one(&mut self) {
        let live = self.live();
        if live.len() < 2 {
            return;
        }
        let worker = *self.rng.pick(&live);
        self.note(Fact::Closes { worker });
        self.command(worker, Command::Close);
    }
}

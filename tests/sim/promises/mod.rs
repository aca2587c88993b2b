//! The promises, checked over a history: nothing here looks into a task, and nothing is taken from what the world thought
//! while it ran.

mod attempts;
mod bounds;
mod drains;
mod exactly_once;
mod finished;
mod function_down;
mod identity;
mod letters;
mod loss;
mod order;
mod poison;
mod seen;
mod two_budgets;

use crate::history::{Happened, History};
use crate::world::World;
use seen::Seen;

/// A promise that did not hold.
#[derive(Clone, Debug)]
pub struct Broken {
    pub promise: String,
    pub said: String,
}

/// What a promise says of each thing that happens.
trait Promise {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Whether it holds, by what was seen before, and by what happens now.
    ///
    /// # Errors
    /// What speaks against it.
    fn see(&mut self, seen: &Seen<'_>, now: &Happened) -> Result<(), String>;

    /// Whether it holds once all is over.
    ///
    /// # Errors
    /// What speaks against it.
    fn end(&mut self, _seen: &Seen<'_>) -> Result<(), String> {
        Ok(())
    }
}

/// Checks each promise over all that happened in a world that has come to rest.
///
/// # Errors
/// The first that does not hold.
pub fn check(world: &World, history: &History) -> Result<(), Broken> {
    let mut promises: Vec<Box<dyn Promise>> = vec![
        Box::<loss::NothingIsLost>::default(),
        Box::new(order::Order::of(world)),
        Box::<poison::OnePoison>::default(),
        Box::<function_down::NotPoison>::default(),
        Box::<two_budgets::TwoBudgets>::default(),
        Box::<letters::Letters>::default(),
        Box::<attempts::Attempts>::default(),
        Box::<finished::Finished>::default(),
        Box::<drains::Drains>::default(),
        Box::<bounds::Bounds>::default(),
        Box::<identity::Identity>::default(),
        Box::<exactly_once::ExactlyOnce>::default(),
    ];
    let mut seen = Seen::of(world);
    let broken = |promise: &dyn Promise, said| Broken {
        promise: promise.name().to_owned(),
        said,
    };
    for happened in history.all().iter() {
        for promise in &mut promises {
            let held = promise.see(&seen, happened);
            held.map_err(|said| broken(&**promise, format!("at {} ms: {said}", happened.at)))?;
        }
        seen.take_in(happened);
    }
    for promise in &mut promises {
        let held = promise.end(&seen);
        held.map_err(|said| broken(&**promise, format!("in the end: {said}")))?;
    }
    Ok(())
}

/// Breaks off with what speaks against a promise.
macro_rules! holds {
    ($holds:expr, $($said:tt)+) => {
        if !$holds {
            return Err(format!($($said)+));
        }
    };
}
use holds;

//! One world from its beginning until everything has settled, and what it came to.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

use crate::history::History;
use crate::plan::Plan;
use crate::promises::{Broken, check};
use crate::world::World;

thread_local! {
    /// Where this thread panicked last.
    static PANICKED: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Has panics say nothing: they are told by the seed that they came from.
pub fn panic_quietly() {
    set_hook(Box::new(|info| {
        let at = info.location().map(ToString::to_string);
        PANICKED.with_borrow_mut(|panicked| *panicked = at.unwrap_or_default());
    }));
}

/// What became of a world in which every promise held.
pub struct Lived {
    pub steps: u64,
}

/// Lives through a world.
///
/// # Errors
/// The promise that broke first; what happened until then stands in `history`.
pub fn live(plan: Plan, history: &History) -> Result<Lived, Broken> {
    let lived = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(plan, history.clone());
        world.run();
        world.settle();
        check(&world, history).map(|()| Lived { steps: world.steps })
    }));
    lived.unwrap_or_else(|panic| Err(broken(panic)))
}

/// A promise that broke while the world went on says its name first.
fn broken(panic: Box<dyn std::any::Any + Send>) -> Broken {
    let said = panic.downcast_ref::<String>().cloned();
    let said = said.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
    let said = said.unwrap_or_default();
    let named = |(name, _): &(&str, &str)| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    match said.split_once(": ").filter(named) {
        Some((promise, said)) => Broken {
            promise: promise.to_owned(),
            said: said.to_owned(),
        },
        None => Broken {
            promise: "nothing_panics".to_owned(),
            said: format!("{said}, at {}", PANICKED.with_borrow(String::clone)),
        },
    }
}

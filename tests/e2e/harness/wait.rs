//! Waiting for a named condition, with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// Long enough for anything that works on a busy machine with two cores.
pub const PATIENCE: Duration = Duration::from_secs(60);

const BETWEEN_LOOKS: Duration = Duration::from_millis(25);

/// Looks until `look` finds something.
///
/// # Panics
/// If it has found nothing after [`PATIENCE`]; `what` names the condition.
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Looks until `look` finds something or `patience` is over.
///
/// # Panics
/// If it has found nothing by then; `what` names the condition.
pub fn within<T>(patience: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    patiently(patience, look).unwrap_or_else(|| panic!("waited {} s in vain for: {what}", patience.as_secs()))
}

/// Looks until `look` finds something or `patience` is over.
pub fn patiently<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + patience;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        thread::park_timeout(BETWEEN_LOOKS);
    }
}

/// Looks until `holds` does.
///
/// # Panics
/// If it does not after [`PATIENCE`]; `what` names the condition.
pub fn until_true(what: &str, mut holds: impl FnMut() -> bool) {
    until(what, || holds().then_some(()));
}

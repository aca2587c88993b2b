//! What happened, for whoever reads why a promise broke.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::LazyLock;

/// How many lines are kept; `FNBRIDGE_HISTORY` asks for more.
static KEPT: LazyLock<usize> = LazyLock::new(|| number("FNBRIDGE_HISTORY").map_or(60, |lines| lines as usize));

/// A number from the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The last things that happened, if anybody wants to know. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct History {
    lines: Option<Rc<RefCell<VecDeque<String>>>>,
}

impl History {
    pub fn kept() -> History {
        History {
            lines: Some(Rc::default()),
        }
    }

    pub fn say(&self, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.lines {
            let mut lines = lines.borrow_mut();
            if lines.len() == *KEPT {
                lines.pop_front();
            }
            lines.push_back(line());
        }
    }

    pub fn print(&self) {
        for line in self.lines.iter().flat_map(|lines| lines.borrow().clone()) {
            eprintln!("  {line}");
        }
    }
}

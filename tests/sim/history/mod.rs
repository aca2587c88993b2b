//! What happened in a world, in order: what the promises are checked on, and what is printed where one broke.

pub mod facts;
mod tell;

use std::cell::{Ref, RefCell};
use std::rc::Rc;

use facts::Fact;

/// Something that happened, and when.
#[derive(Debug)]
pub struct Happened {
    pub at: u64,
    pub fact: Fact,
}

/// All that happened. Clones share it, so that it outlives a world in which a promise broke.
#[derive(Clone, Debug, Default)]
pub struct History(Rc<RefCell<Vec<Happened>>>);

impl History {
    pub fn note(&self, at: u64, fact: Fact) {
        self.0.borrow_mut().push(Happened { at, fact });
    }

    pub fn all(&self) -> Ref<'_, Vec<Happened>> {
        self.0.borrow()
    }

    /// A line for each of the last things that happened.
    pub fn lines(&self, most: usize) -> Vec<String> {
        let all = self.all();
        let last = &all[all.len().saturating_sub(most)..];
        last.iter().map(ToString::to_string).collect()
    }
}

//! What a function says, and what is said of it: the newest lines, for whoever looks.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many lines are kept.
const KEPT: usize = 400;

/// One thing that was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Said {
    /// A line of its stdout.
    Out(String),
    /// A line of its stderr.
    Err(String),
    /// What happened to its process.
    Note(String),
    /// A call that it failed.
    Failed {
        /// The batch: its records' ids.
        records: String,
        /// What became of the call.
        what: String,
        /// What it wrote to stderr meanwhile.
        lines: Vec<String>,
    },
}

/// The newest lines. Copies share them.
#[derive(Clone, Debug, Default)]
pub(in crate::cli) struct Output(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Said>,
    /// How many were said before the first that is kept.
    gone: u64,
}

impl Output {
    /// Adds a line, and lets go of the oldest.
    pub(in crate::cli) fn push(&self, said: Said) {
        let mut kept = self.lock();
        if kept.lines.len() == KEPT {
            kept.lines.pop_front();
            kept.gone += 1;
        }
        kept.lines.push_back(said);
    }

    /// How much was said so far: what comes later is `since` this.
    pub(in crate::cli) fn mark(&self) -> u64 {
        let kept = self.lock();
        kept.gone + kept.lines.len() as u64
    }

    /// What was said since a mark and is kept, and how much of it is not.
    pub(in crate::cli) fn since(&self, mark: u64) -> (Vec<Said>, u64) {
        let kept = self.lock();
        let lost = kept.gone.saturating_sub(mark);
        let skip = usize::try_from(mark.saturating_sub(kept.gone)).unwrap_or(usize::MAX);
        (kept.lines.iter().skip(skip).cloned().collect(), lost)
    }

    /// What went to stderr since a mark.
    pub(in crate::cli) fn errors_since(&self, mark: u64) -> Vec<String> {
        let lines = self.since(mark).0.into_iter();
        lines
            .filter_map(|said| match said {
                Said::Err(line) => Some(line),
                Said::Out(_) | Said::Note(_) | Said::Failed { .. } => None,
            })
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_looks_late_gets_the_newest_and_learns_how_much_is_gone() {
        let output = Output::default();
        output.push(Said::Err("first".to_owned()));
        let mark = output.mark();
        for n in 0..KEPT + 7 {
            output.push(Said::Out(n.to_string()));
        }
        output.push(Said::Err("last".to_owned()));
        let (lines, lost) = output.since(mark);
        assert_eq!((lines.len(), lost), (KEPT, 8));
        assert_eq!(lines[0], Said::Out("8".to_owned()));
        assert_eq!(output.errors_since(0), ["last"]);
        assert_eq!(output.since(output.mark()), (Vec::new(), 0));
    }
}

//! What is shown of a function that was started here.

use std::time::Duration;

use super::{BAD, BOLD, DIM, Line, NAME, PLAIN, WARNING, section as titled};
use crate::cli::dev::model::{Model, Which};
use crate::cli::local::Said;

/// How long the last call that failed is shown.
const FAILURE_STAYS: Duration = Duration::from_secs(30);

/// Lines of a failure on a high screen, and of what the function wrote.
const FAILURE_SHOWN: usize = 7;
const OUTPUT_SHOWN: usize = 4;

/// The function's part of the screen: how it stands, how its last call failed, and what it wrote last.
pub(super) fn section(model: &Model, low: bool) -> Vec<Line> {
    let Which::Here(shown) = &model.setup.function else {
        return Vec::new();
    };
    let (failure, output) = if low { (2, 1) } else { (FAILURE_SHOWN, OUTPUT_SHOWN) };
    let mut lines = vec![titled("FUNCTION", shown).and(DIM, "   ").and(PLAIN, &model.function)];
    if !low {
        lines.insert(0, Line::default());
    }
    let fresh = (model.failed.as_ref()).filter(|(at, _)| *at + FAILURE_STAYS > model.elapsed);
    if let Some((_, failed)) = fresh {
        lines.extend(shortened(function_lines(failed, false), failure));
    }
    let newest = model.said.len().saturating_sub(output);
    lines.extend(
        model
            .said
            .iter()
            .skip(newest)
            .flat_map(|said| function_lines(said, false)),
    );
    lines
}

/// The first line and the last ones: they say most.
fn shortened(mut lines: Vec<Line>, most: usize) -> Vec<Line> {
    if lines.len() > most {
        lines.drain(1..=lines.len() - most);
    }
    lines
}

/// What the function said, as lines of their own. Where a call failed as the last one did, that is said in two words.
pub(crate) fn function_lines(said: &Said, as_before: bool) -> Vec<Line> {
    let bar = |line: &String| Line::of(DIM, "  | ").and(PLAIN, line);
    match said {
        Said::Out(line) => vec![bar(line)],
        Said::Err(line) => vec![Line::of(DIM, "  | ").and(WARNING, line)],
        Said::Note(note) => vec![Line::of(BOLD, "function ").and(PLAIN, note)],
        Said::Failed { records, what, lines } => {
            let head = Line::of(BAD, "failed ")
                .and(NAME, records)
                .and(PLAIN, format!(": {what}"));
            if as_before {
                return vec![head.and(DIM, ", as before")];
            }
            let mut shown = vec![head];
            shown.extend(lines.iter().map(bar));
            shown
        }
    }
}

/// That more was written than is shown.
pub(crate) fn unsaid_line(lines: u64) -> Line {
    Line::of(DIM, format!("  | … {lines} more lines"))
}

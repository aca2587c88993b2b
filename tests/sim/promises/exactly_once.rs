//! Exactly once: whoever reads only what is committed finds each result and each dead letter once, and an offset never
//! without them.

use std::collections::BTreeSet;

use fnbridge_delivery::settings::Delivery;

use super::seen::Seen;
use super::{Promise, holds};
use crate::history::Happened;
use crate::history::facts::{Fact, Place, ResultOf};

#[derive(Default)]
pub(super) struct ExactlyOnce {
    results: BTreeSet<(Place, ResultOf)>,
    letters: BTreeSet<(Place, Option<ResultOf>)>,
}

impl Promise for ExactlyOnce {
    fn name(&self) -> &'static str {
        "exactly_once"
    }

    fn see(&mut self, seen: &Seen<'_>, now: &Happened) -> Result<(), String> {
        if seen.plan.settings[0].delivery == Delivery::AtLeastOnce {
            return Ok(());
        }
        match &now.fact {
            Fact::Stored { sink, place, index } => {
                let first = self.results.insert((*place, (*sink, *index)));
                holds!(first, "sink {sink} has result {index} of {place} twice");
                let lettered = self.letters.contains(&(*place, None));
                holds!(!lettered, "sink {sink} has a result of {place}, which is a dead letter");
            }
            Fact::Lettered { place, of, .. } => {
                let first = self.letters.insert((*place, *of));
                holds!(first, "the dead letter of {place} stands twice");
            }
            Fact::Asked { worker, store, .. } => {
                return Err(format!(
                    "worker {worker} asks for store {} beside its transactions",
                    store.0
                ));
            }
            _ => {}
        }
        Ok(())
    }
}

//! Identity is stable: a key that the function was given never names other records.

use std::collections::BTreeMap;

use super::seen::Seen;
use super::{Promise, holds};
use crate::history::Happened;
use crate::history::facts::{Fact, Place};

#[derive(Default)]
pub(super) struct Identity {
    named: BTreeMap<String, Vec<Place>>,
}

impl Promise for Identity {
    fn name(&self) -> &'static str {
        "identity_is_stable"
    }

    fn see(&mut self, seen: &Seen<'_>, now: &Happened) -> Result<(), String> {
        let Fact::Called {
            assignment,
            offsets,
            key,
            ..
        } = &now.fact
        else {
            return Ok(());
        };
        let mut places = seen.places(*assignment, offsets);
        places.sort_unstable();
        let named = self.named.entry(key.clone()).or_insert_with(|| places.clone());
        let show = |places: &[Place]| places.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        holds!(
            *named == places,
            "{key} named {}, and now names {}",
            show(named),
            show(&places)
        );
        Ok(())
    }
}

//! Something that takes nothing now (a sink, the dead-letter topic, transactions): when it is asked again, and what was
//! said of it.

use crate::answer::Failure;
use crate::retry;
use crate::settings::RetrySettings;
use crate::time::{Dice, Millis, Moment};

/// Something that takes nothing now.
#[derive(Debug)]
pub(crate) struct Outage {
    until: Moment,
    tries: u32,
    said: Option<Said>,
}

/// Why, as far as it is worth a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    reason: String,
    blocked: bool,
}

impl Said {
    /// What a failure says; `blocked` where waiting alone won't help.
    pub(crate) fn of(failure: &Failure, blocked: bool) -> Said {
        let reason = failure.reason.clone();
        Said { reason, blocked }
    }
}

impl Outage {
    /// Takes in that something was not taken, and says whether that is to be told: what was told before is not told again.
    /// Only who was asked since lengthens the wait and has another reason to tell; what comes earlier was on its way when
    /// the outage began.
    pub(crate) fn go_on(
        outage: &mut Option<Outage>,
        said: Option<Said>,
        asked_wait: Option<Millis>,
        now: Moment,
        retry: &RetrySettings,
        dice: &mut dyn Dice,
    ) -> bool {
        let before = outage.take();
        let early = before.as_ref().filter(|outage| now < outage.until);
        let (until, tries) = match early {
            Some(early) => (early.until.max(now + asked_wait.unwrap_or_default()), early.tries),
            None => {
                let tries = before.as_ref().map_or(0, |outage| outage.tries) + 1;
                let wait = asked_wait.unwrap_or_else(|| retry::probe_wait(retry, tries, dice));
                (now + wait, tries)
            }
        };
        let is_early = early.is_some();
        let told = before.and_then(|outage| outage.said);
        let tell = said.is_some() && said != told && !(is_early && told.is_some());
        let said = if tell { said } else { told };
        *outage = Some(Outage { until, tries, said });
        tell
    }

    /// When it is asked again.
    pub(crate) fn until(&self) -> Moment {
        self.until
    }

    /// Somebody was told of it, and is to hear of its end.
    pub(crate) fn was_told(&self) -> bool {
        self.said.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retry::tests::SETTINGS;

    fn go_on(outage: &mut Option<Outage>, said: Option<&str>, asked_wait: Option<u64>, now: u64) -> (u64, bool) {
        let said = said.map(|reason| Said::of(&Failure::of(reason), false));
        let asked_wait = asked_wait.map(Millis);
        let tell = Outage::go_on(outage, said, asked_wait, Moment(now), &SETTINGS, &mut || 1.0);
        (outage.as_ref().expect("it stands").until().0, tell)
    }

    #[test]
    fn only_who_was_asked_since_lengthens_the_wait() {
        let mut outage = None;
        assert_eq!(go_on(&mut outage, Some("away"), None, 1000), (1200, true));
        for _ in 0..64 {
            assert_eq!(go_on(&mut outage, Some("away"), None, 1100), (1200, false));
        }
        assert_eq!(go_on(&mut outage, Some("away"), None, 1200), (1600, false));
        assert_eq!(go_on(&mut outage, Some("away"), None, 1600), (2400, false));
    }

    #[test]
    fn another_reason_is_told_once_it_is_that_of_who_was_asked_since() {
        let mut outage = None;
        assert_eq!(go_on(&mut outage, None, None, 0), (200, false));
        assert!(!outage.as_ref().is_some_and(Outage::was_told));
        assert_eq!(go_on(&mut outage, Some("away"), None, 100), (200, true));
        assert_eq!(go_on(&mut outage, Some("gone"), None, 150), (200, false));
        assert_eq!(go_on(&mut outage, Some("gone"), None, 200), (600, true));
        assert_eq!(go_on(&mut outage, None, None, 600), (1400, false));
        assert_eq!(go_on(&mut outage, Some("gone"), None, 1400), (3000, false));
        assert!(outage.is_some_and(|outage| outage.was_told()));
    }

    #[test]
    fn the_longest_wait_that_was_asked_for_holds() {
        let mut outage = None;
        assert_eq!(go_on(&mut outage, None, Some(60_000), 0).0, 60_000);
        assert_eq!(go_on(&mut outage, None, Some(10_000), 1000).0, 60_000);
        assert_eq!(go_on(&mut outage, None, None, 2000).0, 60_000);
        assert_eq!(go_on(&mut outage, None, Some(90_000), 3000).0, 93_000);
        assert_eq!(go_on(&mut outage, None, Some(10), 93_000).0, 93_010);
    }
}

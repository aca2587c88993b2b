//! What stands against an outlet: its receipts say it, or its client, each of what it knows.

use crate::delivery::record::SinkId;

/// Something that takes what a pipeline sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outlet {
    /// A sink.
    Sink(SinkId),
    /// The dead-letter topic.
    DeadLetters,
    /// The transactions that results and offsets are part of.
    Transactions,
}

/// Who says that an outlet takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Voice {
    /// The answers to what was sent.
    Receipts,
    /// Its client, which waits an outage out and has no receipts meanwhile.
    Client,
}

/// What stands against one outlet.
#[derive(Clone, Debug, Default)]
pub(super) struct Troubles {
    receipts: Option<Trouble>,
    client: Option<Trouble>,
}

/// Why an outlet takes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) reason: String,
    /// Waiting alone won't help.
    pub(super) blocked: bool,
}

impl Troubles {
    pub(super) fn set(&mut self, voice: Voice, trouble: Option<Trouble>) {
        match voice {
            Voice::Receipts => self.receipts = trouble,
            Voice::Client => self.client = trouble,
        }
    }

    /// The one to tell first: that which somebody has to do something about, or else the client's, which knows more of an
    /// outage than the receipts before it.
    pub(super) fn first(&self) -> Option<&Trouble> {
        let all = || [&self.client, &self.receipts].into_iter().flatten();
        all().find(|trouble| trouble.blocked).or_else(|| all().next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(reason: &str, blocked: bool) -> Option<Trouble> {
        let reason = reason.to_owned();
        Some(Trouble { reason, blocked })
    }

    #[test]
    fn what_one_voice_takes_back_the_other_still_says() {
        let mut troubles = Troubles::default();
        assert_eq!(troubles.first(), None);
        troubles.set(Voice::Receipts, trouble("no such topic", true));
        troubles.set(Voice::Client, trouble("no broker answers", false));
        assert_eq!(troubles.first(), trouble("no such topic", true).as_ref());
        troubles.set(Voice::Client, None);
        assert_eq!(troubles.first(), trouble("no such topic", true).as_ref());
        troubles.set(Voice::Receipts, None);
        assert_eq!(troubles.first(), None);
    }

    #[test]
    fn of_two_that_pass_by_themselves_the_clients_comes_first() {
        let mut troubles = Troubles::default();
        troubles.set(Voice::Receipts, trouble("the broker was closed", false));
        troubles.set(Voice::Client, trouble("no broker answers", false));
        assert_eq!(troubles.first(), trouble("no broker answers", false).as_ref());
    }
}

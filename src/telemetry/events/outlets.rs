//! Whether sinks take results, the dead-letter topic letters, and transactions come to something.

use tracing::{error, info, warn};

use crate::delivery::answer::Failure;
use crate::telemetry::PipelineTelemetry;
use crate::telemetry::metrics::state::lock;
use crate::telemetry::troubles::{Outlet, Trouble, Voice};

impl PipelineTelemetry {
    /// An outlet takes nothing now, or for another reason than before: it is away, or, blocked, does not let us in.
    pub fn outlet_away(&self, outlet: Outlet, voice: Voice, failure: &Failure, blocked: bool) {
        let (pipeline, status, reason) = (self.name(), failure.status, &failure.reason);
        self.stands_against(outlet, voice, Some((reason, blocked)));
        match (outlet, blocked) {
            (Outlet::Sink(sink), true) => {
                let sink = self.sink(sink);
                error!(
                    pipeline,
                    sink, status, "sink does not let us store, and is waited for: {reason}"
                );
            }
            (Outlet::Sink(sink), false) => {
                let sink = self.sink(sink);
                warn!(pipeline, sink, status, "sink is away, and waited for: {reason}");
            }
            (Outlet::DeadLetters, _) => {
                error!(
                    pipeline,
                    "dead letters can't be written, and the pipeline waits: {reason}"
                );
            }
            (Outlet::Transactions, _) => {
                warn!(
                    pipeline,
                    "transactions come to nothing, and what is finished waits: {reason}"
                );
            }
        }
    }

    /// What a voice said of an outlet is over.
    pub fn outlet_back(&self, outlet: Outlet, voice: Voice) {
        if self.stands_against(outlet, voice, None) {
            return;
        }
        let pipeline = self.name();
        match outlet {
            Outlet::Sink(sink) => info!(pipeline, sink = self.sink(sink), "sink takes results again"),
            Outlet::DeadLetters => info!(pipeline, "dead letters are written again"),
            Outlet::Transactions => info!(pipeline, "transactions are committed again"),
        }
    }

    /// Whether anything stands against the outlet now.
    fn stands_against(&self, outlet: Outlet, voice: Voice, trouble: Option<(&str, bool)>) -> bool {
        let explained = |(reason, blocked)| Trouble {
            reason: format!("{}: {reason}", self.said_of(outlet)),
            blocked,
        };
        let mut standing = lock(&self.state.standing);
        let troubles = standing.outlets.entry(outlet).or_default();
        troubles.set(voice, trouble.map(explained));
        troubles.first().is_some()
    }

    /// What its trouble comes to.
    fn said_of(&self, outlet: Outlet) -> String {
        match outlet {
            Outlet::Sink(sink) => format!("the sink {} takes nothing", self.sink(sink)),
            Outlet::DeadLetters => "dead letters can't be written".to_owned(),
            Outlet::Transactions => "transactions come to nothing".to_owned(),
        }
    }
}

//! What the group gives and takes, taken up and let go. All of it runs on the poll thread, outside of any callback.

use std::time::Instant;

use rdkafka::consumer::{Consumer, RebalanceProtocol};
use rdkafka::error::KafkaError as ClientError;
use rdkafka::topic_partition_list::Offset;

use super::{JOIN_WITHIN, LEAVE_WITHIN, Phase, Poller, list};
use crate::delivery::event::Assignment;
use crate::delivery::group::{Place, Slot, lost};
use crate::kafka::native::Membership;
use crate::kafka::source::events::{Leave, TroubleKind};
use crate::kafka::source::is_static;
use crate::kafka::source::scout::Job;

impl Poller {
    pub(super) fn assigned(&mut self, mut places: Vec<Place>) {
        self.well(&[TroubleKind::GroupDenied, TroubleKind::ClusterAway, TroubleKind::Other]);
        self.joined = true;
        self.change_mind(&mut places);
        match self.phase {
            Phase::Reading => {
                let ticket = self.desk.assign(places.clone());
                if places.is_empty() {
                    self.desk.resolved(ticket, Vec::new(), &mut self.events);
                    self.take_up(&[]);
                } else {
                    self.scout.ask(Job::Resolve(ticket, places));
                }
            }
            // The group is being left, which answers this one too.
            Phase::Closing(..) => {
                self.desk.assign(places);
            }
            Phase::Resigning(_) => self.take_up(&[]),
            Phase::Leaving(_) | Phase::Ended => self.let_all_go(),
        }
    }

    pub(super) fn revoked(&mut self, places: Vec<Place>) {
        if let Phase::Leaving(_) | Phase::Ended = self.phase {
            self.let_all_go();
        } else if let Phase::Resigning(_) = self.phase {
            self.let_go(&places);
        } else if self.client.assignment_lost() {
            self.desk.lose(&places, &mut self.events);
            self.let_go(&places);
        } else if let Some(places) = self.desk.revoke(places, &mut self.events) {
            self.let_go(&places);
        }
        self.routes.clear();
    }

    pub(super) fn lose_revoke(&mut self) {
        if let Some(places) = self.desk.lose_revoke(&mut self.events) {
            self.let_go(&places);
        }
        self.routes.clear();
    }

    /// What another commits by for partitions that are held. The library may know already that the membership is over, and
    /// waits to be told that its partitions were let go: it joins no other generation before that, so that a membership
    /// that is taken while the desk still has them is good for them, or for nothing.
    pub(super) fn vouch(&self, assignments: &[Assignment]) -> Result<Membership, String> {
        if let Some(gone) = assignments.iter().find(|a| self.desk.get(**a).is_none()) {
            return Err(format!("a partition is not held any more, by assignment {}", gone.0));
        }
        if self.client.assignment_lost() {
            return Err("the group has gone on without this member".to_owned());
        }
        // SAFETY: the client is alive.
        let membership = unsafe { Membership::of_consumer(self.client.client().native_ptr()) };
        membership.ok_or_else(|| "this member has just left its generation of the group".to_owned())
    }

    /// Begins to fetch what was assigned, from where it begins.
    pub(super) fn take_up(&mut self, begins: &[(Place, i64)]) {
        self.routes.clear();
        let taken = list(begins.iter().map(|(place, at)| (place, Offset::Offset(*at)))).and_then(|list| {
            match self.client.rebalance_protocol() {
                RebalanceProtocol::Cooperative => self.client.incremental_assign(&list),
                RebalanceProtocol::Eager | RebalanceProtocol::None => self.client.assign(&list),
            }
        });
        if let Err(error) = taken {
            self.broken(&error, "take up an assignment");
        } else if self.starved {
            self.pause_fetching();
        } else {
            // The client keeps a partition paused that was so when it last left.
            let places: Vec<Place> = begins.iter().map(|(place, _)| place.clone()).collect();
            self.fetch_of(&places, true);
        }
        self.wake_fetchers();
    }

    /// Tells the group that these are free.
    pub(super) fn let_go(&mut self, places: &[Place]) {
        let freed = match self.client.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.unassign(places).or_else(|_| {
                // Something was named that was never taken up; the group waits for an answer all the same.
                let held = self.client.assignment()?;
                let is_held = |(topic, partition): &&Place| held.find_partition(topic, *partition).is_some();
                self.unassign(&places.iter().filter(is_held).cloned().collect::<Vec<_>>())
            }),
            RebalanceProtocol::Eager | RebalanceProtocol::None => self.client.unassign(),
        };
        if let Err(error) = freed {
            self.broken(&error, "let an assignment go");
        }
        self.wake_fetchers();
    }

    fn unassign(&self, places: &[Place]) -> Result<(), ClientError> {
        let list = list(places.iter().map(|place| (place, Offset::Invalid)))?;
        self.client.incremental_unassign(&list)
    }

    /// The same while leaving, where the library takes every answer as this one.
    pub(super) fn let_all_go(&mut self) {
        let _ = self.client.unassign();
    }

    pub(super) fn found_log(&mut self, assignment: Assignment, low: i64, high: i64) {
        let Some(position) = self.desk.get(assignment).map(|s| s.position) else {
            return;
        };
        let Some((place, to)) = self
            .desk
            .out_of_range(assignment, lost(position, low, high), &mut self.events)
        else {
            return;
        };
        self.routes.clear();
        debug_assert!(
            self.desk.at(&place).is_some_and(|s| s.position == to),
            "the desk says where reading goes on"
        );
        self.restarts.push(place);
    }

    /// Reads on where an offset was not in the log. The client stops such a partition, and only starts it again when it
    /// is given anew; but not while the group waits for an answer, which this would be taken for.
    pub(super) fn restart(&mut self) {
        if self.restarts.is_empty() || self.desk.is_assigning() || self.desk.is_revoking() {
            return;
        }
        let mut places = std::mem::take(&mut self.restarts);
        places.retain(|place| self.desk.at(place).is_some_and(|slot| !slot.draining));
        let eager = !matches!(self.client.rebalance_protocol(), RebalanceProtocol::Cooperative);
        if eager && !places.is_empty() {
            places = self.desk.places();
        }
        let held: Vec<(Place, &Slot)> = places
            .iter()
            .filter_map(|p| Some((p.clone(), self.desk.at(p)?)))
            .collect();
        let begins: Vec<(Place, i64)> = held
            .iter()
            .map(|(place, slot)| (place.clone(), slot.position))
            .collect();
        let paused: Vec<Place> = held
            .into_iter()
            .filter(|(_, s)| s.paused)
            .map(|(place, _)| place)
            .collect();
        if begins.is_empty() {
            return;
        }
        if !eager {
            self.let_go(&places);
        }
        self.take_up(&begins);
        self.fetch_of(&paused, false);
    }

    pub(super) fn may_leave(&self, closing_since: Instant, now: Instant) -> bool {
        let joining = !self.subscribed.is_empty() && !self.joined && !self.troubles.any();
        !joining || now.duration_since(closing_since) >= JOIN_WITHIN
    }

    pub(super) fn leave(&mut self, leave: Leave, now: Instant) {
        let is_static = is_static(&self.settings);
        if is_static && leave == Leave::ForGood {
            self.phase = Phase::Resigning(now + LEAVE_WITHIN);
            self.client.unsubscribe();
            if self.desk.is_assigning() {
                self.take_up(&[]);
            }
            return;
        }
        // A cooperative member that holds nothing is closed without a word to the group, which would wait for it at the
        // next rebalance until its session is over; one that unsubscribes leaves.
        if !is_static && self.client.assignment().is_ok_and(|held| held.count() == 0) {
            self.client.unsubscribe();
        }
        self.close(now);
    }

    pub(super) fn close(&mut self, now: Instant) {
        self.phase = Phase::Leaving(now + LEAVE_WITHIN);
        if let Err(error) = self.client.close_queue() {
            self.client_error(&error, "leave the group");
            self.phase = Phase::Ended;
        }
        if self.desk.is_assigning() || self.desk.is_revoking() {
            self.let_all_go();
        }
    }

    /// Leaves at once, and drains nothing.
    pub(super) fn abandon(&mut self) {
        if let Phase::Reading | Phase::Closing(..) = self.phase {
            self.flush();
            let places = self.desk.places();
            self.desk.lose(&places, &mut self.events);
            self.routes.clear();
            self.leave(Leave::ToComeBack, Instant::now());
        }
    }
}

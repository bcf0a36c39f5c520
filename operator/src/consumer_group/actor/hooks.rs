//! Where scaling in is made safe, and where what pods left behind is seen to.

use super::{
    super::{
        cluster::Cluster,
        deletion_cost::{self, Change},
        identity::ObjectKey,
        tracked::Tracked,
    },
    Actor,
};
use crate::scaling::{Decision, Direction};

/// What has to be written before this decision takes replicas away: those pods are to go first that hold least. Where all
/// go, none is first.
pub(super) fn before_lowering(group: &Tracked, decision: &Decision) -> Vec<Change> {
    if decision.direction() != Some(Direction::Down) || decision.desired == 0 {
        return Vec::new();
    }
    let samples: Vec<_> = group
        .streams
        .iter()
        .filter_map(|stream| stream.known.as_ref())
        .collect();
    deletion_cost::changes(&group.assignment.pods, &samples)
}

impl<C: Cluster> Actor<C> {
    /// Called before these groups are reported: takes over what upkeep has found by now.
    pub(super) fn take_findings(&mut self, keys: &[ObjectKey]) {
        let Some(upkeep) = &self.upkeep else { return };
        for key in keys {
            if let Some(group) = self.groups.get_mut(key) {
                group.upkeep_facts = upkeep.findings(key);
            }
        }
    }

    /// Called when these groups have been sampled, decided on and reported: tells upkeep what was seen. Waits for nothing.
    pub(super) fn after_pass(&self, keys: &[ObjectKey]) {
        let Some(upkeep) = &self.upkeep else { return };
        upkeep.connected(self.connection.as_ref().map(|connection| &connection.client));
        for key in keys {
            let Some(group) = self.groups.get(key).filter(|group| group.misses() == 0) else {
                continue;
            };
            let samples: Vec<_> = group.streams.iter().map(|stream| stream.known.as_ref()).collect();
            upkeep.sampled(&group.assignment, group.is_at_rest(), &samples);
        }
    }
}

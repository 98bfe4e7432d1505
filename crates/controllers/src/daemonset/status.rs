//! The status of a DaemonSet (`updateDaemonSetStatus`).

use super::{Eligible, Round};
use crate::pods;
use crate::replicaset::nonzero;
use api::MetaExt;
use api::apps::v1::DaemonSetStatus;

impl Round<'_> {
    pub(super) fn status(&self) -> DaemonSetStatus {
        let old = self.set.status.clone().unwrap_or_default();
        let mut status = DaemonSetStatus {
            observed_generation: Some(self.set.generation()).filter(|g| *g > 0),
            collision_count: old.collision_count,
            conditions: old.conditions,
            ..DaemonSetStatus::default()
        };
        let (mut updated, mut available) = (0, 0);
        for (eligible, pods) in self.nodes.values() {
            if *eligible != Eligible::Yes {
                status.number_misscheduled += i32::from(!pods.is_empty());
                continue;
            }
            status.desired_number_scheduled += 1;
            status.current_number_scheduled += i32::from(!pods.is_empty());
            let ready = pods.iter().any(|p| pods::is_ready(p) && !p.is_deleting());
            status.number_ready += i32::from(ready);
            available += i32::from(pods.iter().any(|p| self.is_available(p)));
            updated += i32::from(pods.iter().any(|p| self.is_new(p) && !p.is_deleting()));
        }
        status.updated_number_scheduled = nonzero(updated);
        status.number_available = nonzero(available);
        status.number_unavailable = nonzero(status.desired_number_scheduled - available);
        status
    }
}

//! The status of a StatefulSet (`computeReplicaStatus`, `completeRollingUpdate`).

use super::{Round, identity, is_healthy};
use crate::pods;
use crate::replicaset::{nonzero, to_i32};
use api::MetaExt;
use api::apps::v1::StatefulSetStatus;
use api::core::v1::Pod;

impl Round<'_> {
    pub(super) fn status(&self) -> StatefulSetStatus {
        let old = self.set.status.clone().unwrap_or_default();
        let pods: Vec<&Pod> =
            self.replicas.values().copied().chain(self.condemned.iter().map(|(_, p)| *p)).collect();
        let count = |test: &dyn Fn(&Pod) -> bool| to_i32(pods.iter().filter(|p| test(p)).count());
        let of = |name: &str, p: &Pod| identity::revision(p) == Some(name) && !p.is_deleting();
        let ready = |p: &Pod| pods::phase(p) == "Running" && pods::is_ready(p);
        let available = |p: &Pod| ready(p) && pods::is_available(p, self.min_ready(), self.cx.now);
        let (current, update) = (self.current.name(), self.update.name());
        let mut status = StatefulSetStatus {
            observed_generation: Some(self.set.generation()),
            replicas: to_i32(pods.len()),
            ready_replicas: nonzero(count(&ready)),
            available_replicas: Some(count(&available)),
            current_replicas: nonzero(count(&|p| of(current, p))),
            updated_replicas: nonzero(count(&|p| of(update, p))),
            current_revision: Some(current.to_owned()),
            update_revision: Some(update.to_owned()),
            collision_count: Some(old.collision_count.unwrap_or(0)),
            conditions: old.conditions,
        };
        self.complete(&mut status);
        status
    }

    /// When all pods are of the new revision, it is the current one.
    fn complete(&self, status: &mut StatefulSetStatus) {
        let wanted = self.set.spec.replicas.unwrap_or(1);
        let strategy = self.set.spec.update_strategy.as_ref().and_then(|s| s.type_.as_deref());
        let all = [status.updated_replicas.unwrap_or(0), status.ready_replicas.unwrap_or(0), status.replicas];
        let going = self.replicas.values().any(|p| !is_healthy(p, 0, self.cx.now));
        if strategy != Some("OnDelete") && all.iter().all(|n| *n == wanted) && !going {
            status.current_replicas = status.updated_replicas;
            status.current_revision.clone_from(&status.update_revision);
        }
    }
}

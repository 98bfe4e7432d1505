//! The status of a Deployment (`sync.go`, `progress.go`).

use super::conditions::{self, AVAILABLE, PROGRESSING, REPLICA_FAILURE, TIMED_OUT};
use super::{Rollout, Set, max_unavailable};
use crate::replicaset::nonzero;
use api::MetaExt;
use api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus};
use jiff::Timestamp;
use std::time::Duration;

/// Whether all replicas are of the newest template and available, and no other is left.
pub(super) fn is_complete(d: &Deployment, s: &DeploymentStatus) -> bool {
    let wanted = d.spec.replicas.unwrap_or(1);
    [s.updated_replicas, s.replicas, s.available_replicas].iter().all(|n| n.unwrap_or(0) == wanted)
        && s.observed_generation.unwrap_or(0) >= d.generation()
}

/// Whether the new status is a step forward.
fn progresses(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let n = |v: Option<i32>| v.unwrap_or(0);
    let outdated = |s: &DeploymentStatus| n(s.replicas) - n(s.updated_replicas);
    n(new.updated_replicas) > n(old.updated_replicas)
        || outdated(new) < outdated(old)
        || n(new.ready_replicas) > n(old.ready_replicas)
        || n(new.available_replicas) > n(old.available_replicas)
}

/// When the rollout will have gone too long without a step forward.
fn deadline(d: &Deployment, progressing: &DeploymentCondition) -> Option<Timestamp> {
    let seconds = d.spec.progress_deadline_seconds.filter(|s| *s != i32::MAX)?;
    let since = progressing.last_update_time.as_ref()?.0;
    Some(since + Duration::from_secs(u64::from(seconds.unsigned_abs())))
}

impl Rollout<'_> {
    /// Counts and availability; no progress is estimated.
    pub(super) fn basic_status(&self) -> DeploymentStatus {
        let (d, now) = (&self.d, self.cx.now);
        let old = d.status.clone().unwrap_or_default();
        let sum = |f: &dyn Fn(&Set) -> i32| self.all().map(f).sum::<i32>();
        let available = sum(&Set::available);
        let mut status = DeploymentStatus {
            observed_generation: Some(d.generation()).filter(|g| *g > 0),
            replicas: nonzero(sum(&|s| s.status().replicas)),
            updated_replicas: nonzero(self.new.as_ref().map_or(0, |s| s.status().replicas)),
            ready_replicas: nonzero(sum(&|s| s.status().ready_replicas.unwrap_or(0))),
            available_replicas: nonzero(available),
            unavailable_replicas: nonzero((self.total() - available).max(0)),
            terminating_replicas: self.terminating(),
            collision_count: old.collision_count,
            conditions: old.conditions,
        };
        let enough = available >= self.wanted() - max_unavailable(d);
        let (state, reason, message) = if enough {
            ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        } else {
            ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
        };
        conditions::put(&mut status, conditions::make(AVAILABLE, state, reason, message.to_owned(), now));
        status
    }

    fn terminating(&self) -> Option<i32> {
        let mut sum = 0;
        for set in self.all() {
            let status = set.status();
            match status.terminating_replicas {
                Some(n) => sum += n,
                None if status.observed_generation.unwrap_or(0) == 0 => {}
                None => return None,
            }
        }
        Some(sum)
    }

    /// Counts, availability and how the rollout goes.
    pub(super) fn rollout_status(&self) -> DeploymentStatus {
        let mut status = self.basic_status();
        if conditions::has_deadline(&self.d) {
            self.estimate_progress(&mut status);
        } else {
            conditions::remove(&mut status, PROGRESSING);
        }
        match self.replica_failure() {
            Some(condition) => conditions::put(&mut status, condition),
            None => conditions::remove(&mut status, REPLICA_FAILURE),
        }
        status
    }

    fn estimate_progress(&self, status: &mut DeploymentStatus) {
        let (d, now) = (&self.d, self.cx.now);
        let current = conditions::get(d, PROGRESSING);
        let reason = current.and_then(|c| c.reason.as_deref()).unwrap_or_default();
        if status.replicas == status.updated_replicas && reason == "NewReplicaSetAvailable" {
            return;
        }
        let who = match &self.new {
            Some(new) => format!("ReplicaSet {:?}", new.rs.name()),
            None => format!("Deployment {:?}", d.name()),
        };
        let make =
            |state, reason, what| conditions::make(PROGRESSING, state, reason, format!("{who} {what}"), now);
        if is_complete(d, status) {
            let what = "has successfully progressed.";
            conditions::put(status, make("True", "NewReplicaSetAvailable", what));
        } else if progresses(&d.status.clone().unwrap_or_default(), status) {
            let mut condition = make("True", "ReplicaSetUpdated", "is progressing.");
            if let Some(current) = current.filter(|c| c.status.as_deref() == Some("True")) {
                condition.last_transition_time.clone_from(&current.last_transition_time);
            }
            // Unlike others this one is renewed though its reason stays: the deadline counts from here.
            conditions::remove(status, PROGRESSING);
            conditions::put(status, condition);
        } else if self.has_timed_out(status) {
            conditions::put(status, make("False", TIMED_OUT, "has timed out progressing."));
        }
    }

    fn has_timed_out(&self, status: &DeploymentStatus) -> bool {
        let Some(condition) = conditions::find(status, PROGRESSING) else { return false };
        match condition.reason.as_deref() {
            Some("NewReplicaSetAvailable") => false,
            Some(TIMED_OUT) => true,
            _ => deadline(&self.d, condition).is_some_and(|at| at < self.cx.now),
        }
    }

    /// A set that can't create its pods, as a condition of the Deployment: the new one's before others'.
    fn replica_failure(&self) -> Option<DeploymentCondition> {
        let sets = self.new.iter().chain(&self.old);
        let mut failures = sets.filter_map(|s| {
            let status = s.rs.status.as_ref()?;
            status.conditions.iter().flatten().find(|c| c.type_.as_deref() == Some(REPLICA_FAILURE))
        });
        let c = failures.next()?;
        Some(DeploymentCondition {
            type_: c.type_.clone(),
            status: c.status.clone(),
            reason: c.reason.clone(),
            message: c.message.clone(),
            last_transition_time: c.last_transition_time.clone(),
            last_update_time: c.last_transition_time.clone(),
        })
    }

    /// When to look whether the deadline has passed.
    pub(super) fn progress_check(&self, status: &DeploymentStatus) -> Option<Duration> {
        let condition = conditions::find(status, PROGRESSING)?;
        let settled = matches!(condition.reason.as_deref(), Some(TIMED_OUT | "NewReplicaSetAvailable"));
        if settled || is_complete(&self.d, status) {
            return None;
        }
        let left = Duration::try_from(deadline(&self.d, condition)?.duration_since(self.cx.now));
        Some(left.unwrap_or(Duration::ZERO) + Duration::from_secs(1))
    }
}

//! The conditions of a Deployment (`pkg/controller/deployment/util`).

use super::Rollout;
use api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus};
use jiff::Timestamp;

/// The condition that tells whether a rollout goes on.
pub(super) const PROGRESSING: &str = "Progressing";
/// The condition that tells whether enough replicas are available.
pub(super) const AVAILABLE: &str = "Available";
/// The condition that tells that pods can't be created or deleted.
pub(super) const REPLICA_FAILURE: &str = "ReplicaFailure";
/// The reason of [`PROGRESSING`] when the deadline has passed.
pub(super) const TIMED_OUT: &str = "ProgressDeadlineExceeded";

/// Whether a rollout has a deadline.
pub(super) fn has_deadline(d: &Deployment) -> bool {
    d.spec.progress_deadline_seconds.is_some_and(|s| s != i32::MAX)
}

/// One of the conditions of `d`.
pub(super) fn get<'a>(d: &'a Deployment, kind: &str) -> Option<&'a DeploymentCondition> {
    find(d.status.as_ref()?, kind)
}

/// One of the conditions of a status.
pub(super) fn find<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|c| c.type_.as_deref() == Some(kind))
}

/// A condition as of now.
pub(super) fn make(
    kind: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: Some(kind.to_owned()),
        status: Some(status.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(api::time(now)),
        last_transition_time: Some(api::time(now)),
    }
}

/// Sets a condition of `d`.
pub(super) fn set(
    d: &mut Deployment,
    kind: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    put(d.status.get_or_insert_default(), make(kind, status, reason, message, now));
}

/// Sets a condition; one with the same status and reason stays as it is.
pub(super) fn put(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    let kind = condition.type_.clone().unwrap_or_default();
    if let Some(old) = find(status, &kind)
        && old.status == condition.status
    {
        if old.reason == condition.reason {
            return;
        }
        condition.last_transition_time.clone_from(&old.last_transition_time);
    }
    remove(status, &kind);
    status.conditions.get_or_insert_default().push(condition);
}

/// Removes a condition.
pub(super) fn remove(status: &mut DeploymentStatus, kind: &str) {
    if let Some(all) = &mut status.conditions {
        all.retain(|c| c.type_.as_deref() != Some(kind));
        if all.is_empty() {
            status.conditions = None;
        }
    }
}

impl Rollout<'_> {
    /// Notes that the Deployment was paused or resumed, so that the deadline doesn't run meanwhile.
    pub(super) fn note_pause(&mut self) {
        if !has_deadline(&self.d) {
            return;
        }
        let reason = get(&self.d, PROGRESSING).and_then(|c| c.reason.clone()).unwrap_or_default();
        let (paused, noted) = (self.d.spec.paused == Some(true), reason == "DeploymentPaused");
        let (reason, message) = match (paused, noted) {
            _ if reason == TIMED_OUT => return,
            (true, false) => ("DeploymentPaused", "Deployment is paused"),
            (false, true) => ("DeploymentResumed", "Deployment is resumed"),
            _ => return,
        };
        set(&mut self.d, PROGRESSING, "Unknown", reason, message.to_owned(), self.cx.now);
    }
}

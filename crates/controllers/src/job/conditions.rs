//! The conditions of a Job (`ensureJobConditionStatus`).

use api::batch::v1::{JobCondition, JobStatus};
use jiff::Timestamp;

/// It will have failed when its pods are gone.
pub(super) const FAILURE_TARGET: &str = "FailureTarget";
/// It will be complete when its pods are gone.
pub(super) const SUCCESS_CRITERIA: &str = "SuccessCriteriaMet";
/// It rests.
pub(super) const SUSPENDED: &str = "Suspended";

/// One of the conditions.
pub(super) fn find<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|c| c.type_ == kind)
}

/// Whether a condition holds.
pub(super) fn is_true(status: &JobStatus, kind: &str) -> bool {
    find(status, kind).is_some_and(|c| c.status == "True")
}

/// Sets a condition; tells whether that changed anything.
pub(super) fn put(
    status: &mut JobStatus,
    (kind, state): (&str, &str),
    reason: &str,
    message: &str,
    now: Timestamp,
) -> bool {
    let old = find(status, kind);
    let same = |c: &JobCondition| {
        c.status == state && c.reason.as_deref() == Some(reason) && c.message.as_deref() == Some(message)
    };
    if old.is_some_and(same) {
        return false;
    }
    let condition = JobCondition {
        type_: kind.to_owned(),
        status: state.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(api::time(now)),
        last_transition_time: Some(api::time(now)),
    };
    let all = status.conditions.get_or_insert_default();
    match all.iter_mut().find(|c| c.type_ == kind) {
        Some(old) => *old = condition,
        None => all.push(condition),
    }
    true
}

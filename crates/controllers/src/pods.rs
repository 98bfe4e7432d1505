//! What controllers ask about pods, and how they make them from templates
//! (`pkg/api/v1/pod/util.go`, `pkg/controller/controller_utils.go`).

use api::core::v1::{Pod, PodCondition, PodTemplateSpec};
use api::{Kind, MetaExt, ObjectMeta};
use jiff::Timestamp;
use std::time::Duration;

/// `status.phase`, or empty.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// The node that the pod is bound to, or empty.
pub(crate) fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).unwrap_or_default()
}

/// Whether all its containers have ended for good.
pub(crate) fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether it counts as one that runs or will run.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && !pod.is_deleting()
}

/// One of its conditions.
pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|c| c.type_ == kind)
}

/// Whether it is ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|c| c.status == "True")
}

/// Since when it has been ready, in seconds since the epoch; 0 where unknown.
pub(crate) fn ready_since(pod: &Pod) -> i64 {
    let ready = condition(pod, "Ready").filter(|c| c.status == "True");
    ready.and_then(|c| c.last_transition_time.as_ref()).map_or(0, |t| t.0.as_second())
}

/// When a ready pod will have been ready for `min_ready` seconds; none if it is not ready.
pub(crate) fn available_at(pod: &Pod, min_ready: i32) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|c| c.status == "True")?;
    if min_ready <= 0 {
        return Some(Timestamp::MIN);
    }
    let since = ready.last_transition_time.as_ref()?.0;
    Some(since + Duration::from_secs(u64::from(min_ready.unsigned_abs())))
}

/// Whether it has been ready for `min_ready` seconds.
pub(crate) fn is_available(pod: &Pod, min_ready: i32, now: Timestamp) -> bool {
    available_at(pod, min_ready).is_some_and(|at| at <= now)
}

/// How long until the next of `pods` becomes available by the mere passing of time.
pub(crate) fn next_available<'a>(
    pods: impl IntoIterator<Item = &'a Pod>,
    min_ready: i32,
    now: Timestamp,
) -> Option<Duration> {
    let waits = pods.into_iter().filter_map(|pod| available_at(pod, min_ready)).filter(|at| *at > now);
    waits.min().and_then(|at| Duration::try_from(at.duration_since(now)).ok())
}

/// The highest restart count of its containers.
pub(crate) fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten());
    statuses.map(|c| c.restart_count).max().unwrap_or(0)
}

/// A pod of `owner` from its template, its name left to the server (`GetPodFromTemplate`).
pub(crate) fn from_template<K: Kind>(owner: &K, template: &PodTemplateSpec) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", owner.name())),
            namespace: owner.meta().namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![api::kinds::controller_ref(owner)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

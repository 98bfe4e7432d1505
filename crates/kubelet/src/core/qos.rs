//! Quality-of-service class (`pkg/apis/core/v1/helper/qos`), and what follows from it: the cgroup parent and the
//! OOM score.

use super::{podspec, resources};
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};

/// OOM score adjustment of containers in Guaranteed pods (`pkg/kubelet/qos/policy.go`).
const GUARANTEED_OOM_SCORE: i64 = -997;
/// OOM score adjustment of containers in BestEffort pods.
const BEST_EFFORT_OOM_SCORE: i64 = 1000;
/// Pods from this priority on are critical to the node (`scheduling.SystemCriticalPriority`).
pub const SYSTEM_CRITICAL_PRIORITY: i32 = 2_000_000_000;
/// The priority of `system-node-critical`.
const NODE_CRITICAL_CLASS: &str = "system-node-critical";

fn amount(list: Option<&resources::List>, resource: &str) -> i64 {
    resources::milli(list, resource)
}

/// Per container: does it ask for anything, and does it ask for exactly its limits of CPU and memory?
fn asks(r: Option<&ResourceRequirements>) -> (bool, bool) {
    let limits = r.and_then(|r| r.limits.as_ref());
    let requests = r.and_then(|r| r.requests.as_ref());
    let mut any = false;
    let mut exact = true;
    for resource in ["cpu", "memory"] {
        let limit = amount(limits, resource);
        let request = match amount(requests, resource) {
            0 => limit,
            n => n,
        };
        any |= request > 0 || limit > 0;
        exact &= limit > 0 && request == limit;
    }
    (any, exact)
}

/// `Guaranteed`, `Burstable` or `BestEffort`. A class that the API already shows stays.
pub fn class(pod: &Pod) -> &'static str {
    match podspec::status(pod).qos_class.as_deref() {
        Some("Guaranteed") => return "Guaranteed",
        Some("Burstable") => return "Burstable",
        Some("BestEffort") => return "BestEffort",
        _ => {}
    }
    let spec = podspec::spec(pod);
    let level = asks(spec.resources.as_ref());
    let list = if level.0 {
        vec![level]
    } else {
        let all = podspec::containers(pod).iter().chain(podspec::init_containers(pod));
        all.map(|c| asks(c.resources.as_ref())).collect()
    };
    match (list.iter().any(|a| a.0), list.iter().all(|a| a.1)) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Where the pod's cgroup stands below the root: `/kubepods/burstable/pod<uid>` (cgroupfs naming).
pub fn cgroup_parent(pod: &Pod) -> String {
    let uid = podspec::uid(pod);
    match class(pod) {
        "Guaranteed" => format!("/kubepods/pod{uid}"),
        "Burstable" => format!("/kubepods/burstable/pod{uid}"),
        _ => format!("/kubepods/besteffort/pod{uid}"),
    }
}

/// Whether the node depends on the pod.
pub fn is_node_critical(pod: &Pod) -> bool {
    podspec::spec(pod).priority_class_name.as_deref() == Some(NODE_CRITICAL_CLASS)
}

/// `oom_score_adj` of a container on a node with `capacity` bytes of memory.
pub fn oom_score(pod: &Pod, container: &Container, capacity: i64) -> i64 {
    if is_node_critical(pod) {
        return GUARANTEED_OOM_SCORE;
    }
    match class(pod) {
        "Guaranteed" => return GUARANTEED_OOM_SCORE,
        "BestEffort" => return BEST_EFFORT_OOM_SCORE,
        _ => {}
    }
    let request =
        |c: &Container| resources::value(c.resources.as_ref().and_then(|r| r.requests.as_ref()), "memory");
    let score = |bytes: i64| {
        let share = i128::from(bytes) * 1000 / i128::from(capacity.max(1));
        1000 - i64::try_from(share).unwrap_or(1000)
    };
    let share = share_of_rest(pod, request);
    let mut adj = score(request(container) + share);
    if podspec::is_sidecar(container) {
        let least = podspec::containers(pod).iter().map(request).min().unwrap_or(0);
        adj = adj.min(score(least + share));
    }
    match adj {
        a if a < 1000 + GUARANTEED_OOM_SCORE => 1000 + GUARANTEED_OOM_SCORE,
        BEST_EFFORT_OOM_SCORE => BEST_EFFORT_OOM_SCORE - 1,
        a => a,
    }
}

/// What the pod as a whole asks for beyond its containers, divided among them (KEP-2837).
fn share_of_rest(pod: &Pod, request: impl Fn(&Container) -> i64) -> i64 {
    let level = podspec::spec(pod).resources.as_ref().and_then(|r| r.requests.as_ref());
    let whole = resources::value(level, "memory");
    let sidecars = podspec::init_containers(pod).iter().filter(|c| podspec::is_sidecar(c));
    let (count, sum) = podspec::containers(pod)
        .iter()
        .chain(sidecars)
        .fold((0, 0_i64), |(n, sum), c| (n + 1, sum.saturating_add(request(c))));
    if count == 0 { 0 } else { (whole - sum).max(0) / count }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn what_a_pod_asks_for_as_a_whole_counts_for_its_containers() {
        let score = |level: Value| {
            let of = |name: &str, n: &str| json!({"name": name, "resources": {"requests": {"memory": n}}});
            let spec = json!({"resources": level, "containers": [of("a", "100"), of("b", "200")]});
            let pod: Pod = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
            podspec::containers(&pod).iter().map(|c| oom_score(&pod, c, 1000)).collect::<Vec<_>>()
        };
        assert_eq!(score(Value::Null), [900, 800]);
        assert_eq!(score(json!({"requests": {"memory": "500"}})), [800, 700]);
    }
}

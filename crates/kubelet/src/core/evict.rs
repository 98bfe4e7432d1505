//! Which pod must go when the node runs short of memory, and which volume outgrew its limit
//! (`pkg/kubelet/eviction`).

use super::{conditions, podspec, qos, resources};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use meta::quantity::{Format, Quantity};
use std::sync::Arc;

/// The reason of evictions.
pub const REASON: &str = "Evicted";

/// What a pod uses of the node's memory, container by container, in bytes.
pub struct Usage {
    /// The pod.
    pub pod: Arc<Pod>,
    /// Working set by container.
    pub containers: Vec<(String, i64)>,
}

impl Usage {
    fn total(&self) -> i64 {
        self.containers.iter().map(|c| c.1).sum()
    }

    fn request(&self) -> i64 {
        resources::pod_requests(&self.pod).get("memory").map_or(0, Quantity::value)
    }

    /// Sorts first: beyond its request, of low priority, far beyond its request.
    fn rank(&self) -> (bool, i32, i64) {
        let over = self.total() - self.request();
        (over <= 0, podspec::spec(&self.pod).priority.unwrap_or(0), -over)
    }
}

fn is_protected(pod: &Pod) -> bool {
    qos::is_node_critical(pod) || podspec::spec(pod).priority.unwrap_or(0) >= qos::SYSTEM_CRITICAL_PRIORITY
}

/// The pod that goes first; none if all must stay.
pub fn victim(all: &[Usage]) -> Option<&Usage> {
    all.iter().filter(|u| !is_protected(&u.pod)).min_by_key(|u| u.rank())
}

fn bytes(n: i64) -> String {
    Quantity::from_int(n, Format::BinarySi).to_string()
}

/// Why a pod goes: the message in its status.
pub fn memory_message(u: &Usage, threshold: i64, available: i64) -> String {
    let mut out = format!(
        "The node was low on resource: memory. Threshold quantity: {}, available: {}Ki. ",
        bytes(threshold),
        available / 1024
    );
    for (name, used) in &u.containers {
        let spec = podspec::find_container(&u.pod, name).and_then(|(c, _)| c.resources);
        let request = resources::value(spec.as_ref().and_then(|r| r.requests.as_ref()), "memory");
        if *used > request {
            let (used, request) = (format!("{}Ki", used / 1024), bytes(request));
            out += &format!(
                "Container {name} was using {used}, request is {request}, has larger consumption of memory. "
            );
        }
    }
    out
}

/// The volumes of a pod on disk that have a limit: their names and limits in bytes and as written.
pub fn limited_volumes(pod: &Pod) -> Vec<(String, i64, String)> {
    let one = |v: &k8s_openapi::api::core::v1::Volume| {
        let e = v.empty_dir.as_ref().filter(|e| e.medium.as_deref().unwrap_or_default().is_empty())?;
        let limit = e.size_limit.as_ref()?;
        let n = resources::parse(limit)?.value();
        (n > 0).then(|| (v.name.clone(), n, limit.0.clone()))
    };
    podspec::spec(pod).volumes.iter().flatten().filter_map(one).collect()
}

/// Why a pod goes whose volume outgrew its limit.
pub fn volume_message(name: &str, limit: &str) -> String {
    format!("Usage of EmptyDir volume {name:?} exceeds the limit {limit:?}. ")
}

/// Notes in a status that the node ends the pod (KEP-3329).
pub fn mark(status: &mut PodStatus, message: &str, now: Timestamp) {
    let list = status.conditions.get_or_insert_default();
    list.retain(|c| c.type_ != "DisruptionTarget");
    list.push(PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some("TerminationByKubelet".to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(Time(conditions::whole_second(now))),
        ..PodCondition::default()
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn usage(name: &str, priority: i32, request: &str, used: i64) -> Usage {
        let c = json!({"name": "c", "resources": {"requests": {"memory": request}}});
        let pod = json!({"metadata": {"name": name}, "spec": {"priority": priority, "containers": [c]}});
        Usage {
            pod: Arc::new(serde_json::from_value(pod).unwrap()),
            containers: vec![("c".into(), used << 20)],
        }
    }

    #[test]
    fn who_uses_more_than_asked_for_goes_first_and_critical_pods_stay() {
        let all = [
            usage("modest", 0, "100Mi", 50),
            usage("greedy", 0, "10Mi", 60),
            usage("greedier", 0, "10Mi", 90),
            usage("important", 10, "0", 500),
            usage("critical", 2_000_000_000, "0", 900),
        ];
        let v = victim(&all).unwrap();
        assert_eq!(podspec::name(&v.pod), "greedier");
        assert_eq!(
            memory_message(v, 100 << 20, 51 << 20),
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 52224Ki. Container c was \
             using 92160Ki, request is 10Mi, has larger consumption of memory. "
        );
    }
}

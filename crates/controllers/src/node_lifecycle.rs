//! Notices that a node has fallen silent, and taints nodes as their conditions say
//! (`pkg/controller/nodelifecycle`).

use crate::pods;
use api::coordination::v1::Lease;
use api::core::v1::{Node, NodeCondition, Pod, PodCondition, Taint};
use api::{MetaExt, names};
use client::{Key, Resource, View};
use jiff::Timestamp;
use reconcile::{Controller, Cx, EventNote, Plan, Watch, Write};
use serde_json::json;
use std::time::Duration;

/// How long a node may be silent (`node-monitor-grace-period`).
const GRACE: Duration = Duration::from_secs(50);
/// How long a node that never spoke may be silent (`node-startup-grace-period`).
const STARTUP_GRACE: Duration = Duration::from_secs(60);
/// The conditions that a node's agent keeps.
const AGENT_CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
/// The taint of each condition in each state.
const TAINTS: [(&str, &str, &str); 6] = [
    ("Ready", "False", names::TAINT_NOT_READY),
    ("Ready", "Unknown", names::TAINT_UNREACHABLE),
    ("MemoryPressure", "True", names::TAINT_MEMORY_PRESSURE),
    ("DiskPressure", "True", names::TAINT_DISK_PRESSURE),
    ("NetworkUnavailable", "True", names::TAINT_NETWORK_UNAVAILABLE),
    ("PIDPressure", "True", names::TAINT_PID_PRESSURE),
];

/// The controller. Silence counts from its start at the earliest: while the server was down, no node could
/// speak.
pub(crate) struct NodeLifecycle {
    pub(crate) started: Timestamp,
}

impl Controller for NodeLifecycle {
    fn name(&self) -> &'static str {
        "node-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        let of_lease = Watch::each::<Lease>(|_, lease, keys| {
            if lease.namespace() == names::NAMESPACE_KUBE_NODE_LEASE {
                keys.push(Key::new("", lease.name()));
            }
        });
        vec![Watch::own::<Node>(), of_lease, Watch::only::<Pod>()]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        match cx.view.at::<Node>(cx.key) {
            Some(node) => self.look(cx, node),
            None => Plan::done(),
        }
    }
}

impl NodeLifecycle {
    fn look(&self, cx: &Cx<'_>, node: &Node) -> Plan {
        let mut plan = Plan::default();
        let spoke = condition(node, "Ready").is_some();
        let grace = if spoke { GRACE } else { STARTUP_GRACE };
        let silent_at = self.last_heard(cx.view, node) + grace;
        let mut wanted = node.clone();
        if silent_at > cx.now {
            let left = Duration::try_from(silent_at.duration_since(cx.now)).unwrap_or(grace);
            plan.requeue(left + Duration::from_secs(1));
        } else if cx.view.heard::<Lease>().is_some_and(|at| at < silent_at) {
            // It may be us who hear nothing: make sure before the node is given up.
            return Plan::after_refresh(Resource::of::<Lease>());
        } else if mark_unknown(&mut wanted, cx.now) {
            let was_ready = condition(node, "Ready").is_some_and(|c| c.status == "True");
            if was_ready {
                let message = format!("Node {} status is now: NodeNotReady", node.name());
                plan.events.push(EventNote::normal(node, "NodeNotReady", message));
            }
            plan.writes.push(Write::update_status(&wanted));
            // The taints follow when the conditions are written.
            return plan;
        }
        plan.writes.extend(taint(node, cx.now));
        // A node that speaks keeps its pods' conditions itself.
        if condition(node, "Ready").is_some_and(|c| c.status == "Unknown") {
            plan.writes
                .extend(cx.view.on_node::<Pod>(node.name()).filter_map(|pod| mark_not_ready(pod, cx.now)));
        }
        plan
    }

    /// When the node last gave a sign of life.
    fn last_heard(&self, view: View<'_>, node: &Node) -> Timestamp {
        let lease = view.get::<Lease>(names::NAMESPACE_KUBE_NODE_LEASE, node.name());
        let renewed = lease.and_then(|l| l.spec.as_ref()?.renew_time.as_ref()).map(|t| t.0);
        let beat = condition(node, "Ready").and_then(|c| c.last_heartbeat_time.as_ref()).map(|t| t.0);
        let created = node.metadata.creation_timestamp.as_ref().map(|t| t.0);
        [renewed, beat, created].into_iter().flatten().fold(self.started, Timestamp::max)
    }
}

fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.iter().flatten().find(|c| c.type_ == kind)
}

/// Nobody knows how the node is; tells whether that is news.
fn mark_unknown(node: &mut Node, now: Timestamp) -> bool {
    let created = node.metadata.creation_timestamp.clone();
    let all = node.status.get_or_insert_default().conditions.get_or_insert_default();
    let mut news = false;
    for kind in AGENT_CONDITIONS {
        match all.iter_mut().find(|c| c.type_ == kind) {
            None => {
                all.push(NodeCondition {
                    type_: kind.to_owned(),
                    status: "Unknown".to_owned(),
                    reason: Some("NodeStatusNeverUpdated".to_owned()),
                    message: Some("Kubelet never posted node status.".to_owned()),
                    last_heartbeat_time: created.clone(),
                    last_transition_time: Some(api::time(now)),
                });
                news = true;
            }
            Some(c) if c.status != "Unknown" => {
                c.status = "Unknown".to_owned();
                c.reason = Some("NodeStatusUnknown".to_owned());
                c.message = Some("Kubelet stopped posting node status.".to_owned());
                c.last_transition_time = Some(api::time(now));
                news = true;
            }
            Some(_) => {}
        }
    }
    news
}

/// The taints that the node's conditions call for, if it hasn't them.
fn taint(node: &Node, now: Timestamp) -> Option<Write> {
    let spec = node.spec.clone().unwrap_or_default();
    let current = spec.taints.unwrap_or_default();
    let mut wanted: Vec<(&str, &str)> = Vec::new();
    for (kind, state, key) in TAINTS {
        if condition(node, kind).is_some_and(|c| c.status == state) {
            wanted.push((key, "NoSchedule"));
            if kind == "Ready" {
                wanted.push((key, "NoExecute"));
            }
        }
    }
    if spec.unschedulable == Some(true) {
        wanted.push((names::TAINT_UNSCHEDULABLE, "NoSchedule"));
    }
    // A node that hasn't said yet how it is keeps the taint with which it registered.
    let silent = condition(node, "Ready").is_none();
    let is_ours = |t: &Taint| match (t.key.as_str(), t.effect.as_str()) {
        (names::TAINT_NOT_READY, _) if silent => false,
        (names::TAINT_UNSCHEDULABLE, effect) => effect == "NoSchedule",
        (names::TAINT_NOT_READY | names::TAINT_UNREACHABLE, "NoSchedule" | "NoExecute") => true,
        (key, effect) => effect == "NoSchedule" && TAINTS.iter().any(|(_, _, k)| *k == key),
    };
    let has = |t: &Taint| wanted.iter().any(|(key, effect)| *key == t.key && *effect == t.effect);
    let mut taints: Vec<Taint> = current.iter().filter(|t| !is_ours(t) || has(t)).cloned().collect();
    for (key, effect) in wanted {
        if !taints.iter().any(|t| t.key == key && t.effect == effect) {
            let time_added = Some(api::time(now));
            taints.push(Taint { key: key.into(), effect: effect.into(), time_added, value: None });
        }
    }
    if taints == current {
        return None;
    }
    let taints = if taints.is_empty() { serde_json::Value::Null } else { json!(taints) };
    let version = &node.metadata.resource_version;
    Some(Write::merge(node, &json!({"metadata": {"resourceVersion": version}, "spec": {"taints": taints}})))
}

/// A pod on a node that nobody hears of is not ready either.
fn mark_not_ready(pod: &Pod, now: Timestamp) -> Option<Write> {
    if !pods::is_ready(pod) {
        return None;
    }
    let old = pods::condition(pod, "Ready")?;
    let condition = PodCondition {
        status: "False".to_owned(),
        last_transition_time: Some(api::time(now)),
        ..old.clone()
    };
    let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
    Some(Write::strategic(pod, "status", &patch).ok(EventNote::warning(
        pod,
        "NodeNotReady",
        "Node is not ready",
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use expect_test::{Expect, expect};
    use serde_json::Value;

    fn node(conditions: Value, taints: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Node",
            "metadata": {"name": "n1", "creationTimestamp": "2025-12-01T00:00:00Z"},
            "spec": {"taints": taints}, "status": {"conditions": conditions}})
    }

    fn ready(status: &str) -> Value {
        json!([{"type": "Ready", "status": status, "lastHeartbeatTime": "2025-12-31T23:50:00Z"},
            {"type": "MemoryPressure", "status": "False"}])
    }

    fn lease(renewed: &str) -> Value {
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "n1", "namespace": "kube-node-lease"}, "spec": {"renewTime": renewed}})
    }

    fn check(objects: impl IntoIterator<Item = Value>, expect: Expect) {
        let controller = NodeLifecycle { started: Timestamp::UNIX_EPOCH };
        expect.assert_eq(&Scene::new(objects).show(&controller, "n1"));
    }

    #[test]
    fn a_silent_node_is_unknown_and_then_tainted() {
        check(
            [node(ready("True"), json!([])), lease("2025-12-31T23:59:40.000000Z")],
            expect![[r#"
            again in 31 s
        "#]],
        );
        check(
            [node(ready("True"), json!([])), lease("2025-12-31T23:59:00.000000Z")],
            expect![[r#"
            update/status nodes n1 {"conditions":[{"lastHeartbeatTime":"2025-12-31T23:50:00Z","lastTransitionTime":"2026-01-01T00:00:00Z","message":"Kubelet stopped posting node status.","reason":"NodeStatusUnknown","status":"Unknown","type":"Ready"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"Kubelet stopped posting node status.","reason":"NodeStatusUnknown","status":"Unknown","type":"MemoryPressure"},{"lastHeartbeatTime":"2025-12-01T00:00:00Z","lastTransitionTime":"2026-01-01T00:00:00Z","message":"Kubelet never posted node status.","reason":"NodeStatusNeverUpdated","status":"Unknown","type":"DiskPressure"},{"lastHeartbeatTime":"2025-12-01T00:00:00Z","lastTransitionTime":"2026-01-01T00:00:00Z","message":"Kubelet never posted node status.","reason":"NodeStatusNeverUpdated","status":"Unknown","type":"PIDPressure"}]}
            event Normal NodeNotReady Node/n1 Node n1 status is now: NodeNotReady
        "#]],
        );
        let unknown: Value =
            AGENT_CONDITIONS.iter().map(|k| json!({"type": k, "status": "Unknown"})).collect();
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"nodeName": "n1", "containers": []},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let own = json!([{"key": "mine", "effect": "NoSchedule"}]);
        check(
            [node(unknown, own), lease("2025-12-31T23:59:00.000000Z"), pod],
            expect![[r#"
            patch nodes n1 {"metadata":{"resourceVersion":"1"},"spec":{"taints":[{"effect":"NoSchedule","key":"mine"},{"effect":"NoSchedule","key":"node.kubernetes.io/unreachable","timeAdded":"2026-01-01T00:00:00Z"},{"effect":"NoExecute","key":"node.kubernetes.io/unreachable","timeAdded":"2026-01-01T00:00:00Z"}]}}
            patch/status pods x/p {"metadata":{"uid":"p-uid"},"status":{"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","status":"False","type":"Ready"}]}}
              ok: Warning NodeNotReady Pod/p Node is not ready
        "#]],
        );
    }

    #[test]
    fn a_node_that_is_back_loses_its_taints() {
        let taints = json!([{"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"},
            {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]);
        check(
            [node(ready("True"), taints), lease("2025-12-31T23:59:59.000000Z")],
            expect![[r#"
            patch nodes n1 {"metadata":{"resourceVersion":"1"},"spec":{"taints":null}}
            again in 50 s
        "#]],
        );
    }
}

//! Removes pods that nobody else will: on nodes that are gone, never bound, or too many that have ended
//! (`pkg/controller/podgc`).

use crate::pods;
use api::MetaExt;
use api::core::v1::{Node, Pod, PodCondition};
use client::{DeleteOptions, Key, Resource, View};
use jiff::Timestamp;
use reconcile::{Controller, Cx, Plan, Watch, Write};
use serde_json::json;
use std::time::Duration;

/// Ended pods that are kept (`terminated-pod-gc-threshold`).
const MAX_TERMINATED: usize = 12_500;
/// How long a node must be missing (`quarantineTime`).
const QUARANTINE: Duration = Duration::from_secs(40);
/// How often ended pods are counted.
const SWEEP: Duration = Duration::from_secs(20);
/// The key of the count.
const COUNT: &str = "";

/// The controller.
pub(crate) struct PodGc;

impl Controller for PodGc {
    fn name(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::each::<Pod>(key_of_pod), Watch::each::<Node>(keys_of_node)]
    }

    fn initial_keys(&self) -> Vec<Key> {
        vec![Key::new("", COUNT)]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        if cx.key.name.is_empty() {
            return sweep(cx.view);
        }
        let Some(pod) = cx.view.at::<Pod>(cx.key) else { return Plan::done() };
        let node = pods::node(pod);
        if node.is_empty() {
            return if pod.is_deleting() { remove(pod, cx.now) } else { Plan::done() };
        }
        match cx.view.get::<Node>("", node) {
            Some(node) if pod.is_deleting() && is_out_of_service(node) => remove(pod, cx.now),
            Some(_) => Plan::done(),
            None => orphan(cx, pod),
        }
    }
}

fn key_of_pod(view: View<'_>, pod: &Pod, keys: &mut Vec<Key>) {
    let node = pods::node(pod);
    let lost = if node.is_empty() { pod.is_deleting() } else { view.get::<Node>("", node).is_none() };
    if lost || pod.is_deleting() {
        keys.push(Key::of(pod));
    }
}

fn keys_of_node(view: View<'_>, node: &Node, keys: &mut Vec<Key>) {
    if view.get::<Node>("", node.name()).is_none_or(is_out_of_service) {
        keys.extend(view.on_node::<Pod>(node.name()).map(|pod| Key::of(pod)));
    }
}

fn is_out_of_service(node: &Node) -> bool {
    let taints = node.spec.iter().flat_map(|s| s.taints.iter().flatten());
    let mut keys = taints.map(|t| t.key.as_str());
    let conditions = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True");
    !ready && keys.any(|k| k == api::names::TAINT_OUT_OF_SERVICE)
}

/// The quarantine needs no memory: the deletion is asked for with what the second look finds.
fn orphan(cx: &Cx<'_>, pod: &Pod) -> Plan {
    let noted =
        pods::condition(pod, "DisruptionTarget").filter(|c| c.reason.as_deref() == Some("DeletionByPodGC"));
    let since = noted.and_then(|c| c.last_transition_time.as_ref()).map(|t| t.0);
    match since {
        None => {
            let patch = patch(pod, Some("PodGC: node no longer exists"), None, cx.now);
            let mut plan = Plan::one(Write::strategic(pod, "status", &patch));
            plan.requeue(QUARANTINE);
            plan
        }
        Some(at) if at + QUARANTINE > cx.now => {
            let left = Duration::try_from((at + QUARANTINE).duration_since(cx.now));
            Plan::later(left.unwrap_or(QUARANTINE))
        }
        // A node that the pod has been bound to must be in the cache by now.
        Some(at) if cx.view.heard::<Node>().is_some_and(|heard| heard < at) => {
            Plan::after_refresh(Resource::of::<Node>())
        }
        Some(_) => remove(pod, cx.now),
    }
}

/// Marks the pod failed, unless it has ended, and deletes it at once.
fn remove(pod: &Pod, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    if !pods::is_terminal(pod) {
        plan.writes.push(Write::strategic(pod, "status", &patch(pod, None, Some("Failed"), now)));
    }
    let options = DeleteOptions { grace: Some(0), ..DeleteOptions::of_uid(pod.uid()) };
    plan.writes.push(Write::delete_with(pod, options));
    plan
}

fn patch(pod: &Pod, message: Option<&str>, phase: Option<&str>, now: Timestamp) -> serde_json::Value {
    let mut status = serde_json::Map::new();
    if let Some(message) = message {
        let condition = PodCondition {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
            reason: Some("DeletionByPodGC".to_owned()),
            message: Some(message.to_owned()),
            last_transition_time: Some(api::time(now)),
            ..PodCondition::default()
        };
        status.insert("conditions".to_owned(), json!([condition]));
    }
    if let Some(phase) = phase {
        status.insert("phase".to_owned(), phase.into());
    }
    json!({"metadata": {"uid": pod.uid()}, "status": status})
}

/// Deletes the oldest of too many ended pods, evicted ones first.
fn sweep(view: View<'_>) -> Plan {
    let mut ended: Vec<&Pod> =
        view.all::<Pod>().filter(|p| pods::is_terminal(p) && !p.is_deleting()).collect();
    let surplus = ended.len().saturating_sub(MAX_TERMINATED);
    let evicted = |p: &Pod| p.status.as_ref().and_then(|s| s.reason.as_deref()) == Some("Evicted");
    if surplus > 0 {
        ended.sort_by_key(|p| (!evicted(p), p.created(), p.name().to_owned()));
    }
    let writes = ended
        .iter()
        .take(surplus)
        .map(|p| Write::delete_with(*p, DeleteOptions { grace: Some(0), ..DeleteOptions::of_uid(p.uid()) }));
    Plan { writes: writes.collect(), requeue_after: Some(SWEEP), ..Plan::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use serde_json::Value;

    fn pod(node: &str, extra: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "deletionTimestamp": extra["deletionTimestamp"]},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running", "conditions": extra["conditions"]}})
    }

    fn show(pod: Value) -> String {
        Scene::new([pod]).show(&PodGc, "x/p")
    }

    #[test]
    fn pods_of_lost_nodes_go_after_a_quarantine() {
        let noted = show(pod("gone", Value::Null));
        assert!(noted.starts_with("patch/status pods x/p"), "{noted}");
        assert!(noted.ends_with("again in 40 s\n"), "{noted}");
        let since = |at: &str| {
            json!({"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
                "lastTransitionTime": at}]})
        };
        assert_eq!(show(pod("gone", since("2025-12-31T23:59:50Z"))), "again in 30 s\n");
        let removed = show(pod("gone", since("2025-12-31T23:59:00Z")));
        assert!(removed.ends_with("delete pods x/p\n"), "{removed}");
    }

    #[test]
    fn a_pod_that_was_never_bound_has_nobody_to_end_it() {
        assert_eq!(show(pod("", Value::Null)), "");
        let going = show(pod("", json!({"deletionTimestamp": "2026-01-01T00:00:00Z"})));
        assert!(going.ends_with("delete pods x/p\n"), "{going}");
    }
}

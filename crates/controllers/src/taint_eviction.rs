//! Deletes pods from nodes whose `NoExecute` taints they don't tolerate, or no longer
//! (`pkg/controller/tainteviction`).

use crate::placement::tolerates;
use crate::pods;
use api::MetaExt;
use api::core::v1::{Node, Pod, PodCondition, Taint, Toleration};
use client::{DeleteOptions, Key, View};
use jiff::Timestamp;
use reconcile::{Controller, Cx, EventNote, Plan, Watch, Write};
use serde_json::json;
use std::time::Duration;

/// The controller.
pub(crate) struct TaintEviction;

impl Controller for TaintEviction {
    fn name(&self) -> &'static str {
        "taint-eviction-controller"
    }

    fn account(&self) -> &'static str {
        "node-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::each::<Pod>(key_of_pod), Watch::each::<Node>(keys_of_node)]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let Some(pod) = cx.view.at::<Pod>(cx.key).filter(|p| pods::is_active(p)) else { return Plan::done() };
        let Some(node) = cx.view.get::<Node>("", pods::node(pod)) else { return Plan::done() };
        let taints = executing(node);
        if taints.is_empty() {
            return Plan::done();
        }
        match eviction_time(pod, &taints) {
            Some(at) if at <= cx.now => evict(pod, cx.now),
            Some(at) => {
                let left = Duration::try_from(at.duration_since(cx.now)).unwrap_or(Duration::ZERO);
                Plan::later(left)
            }
            None => Plan::done(),
        }
    }
}

fn key_of_pod(view: View<'_>, pod: &Pod, keys: &mut Vec<Key>) {
    let node = view.get::<Node>("", pods::node(pod));
    if node.is_some_and(|n| !executing(n).is_empty()) {
        keys.push(Key::of(pod));
    }
}

fn keys_of_node(view: View<'_>, node: &Node, keys: &mut Vec<Key>) {
    if !executing(node).is_empty() {
        keys.extend(view.on_node::<Pod>(node.name()).map(|pod| Key::of(pod)));
    }
}

fn executing(node: &Node) -> Vec<&Taint> {
    let taints = node.spec.iter().flat_map(|s| s.taints.iter().flatten());
    taints.filter(|t| t.effect == "NoExecute").collect()
}

/// When the pod has to go; none if it may stay.
fn eviction_time(pod: &Pod, taints: &[&Taint]) -> Option<Timestamp> {
    let tolerations: Vec<&Toleration> =
        pod.spec.iter().flat_map(|s| s.tolerations.iter().flatten()).collect();
    let mut earliest = None;
    for taint in taints {
        let since = taint.time_added.as_ref().map_or(Timestamp::UNIX_EPOCH, |t| t.0);
        let mut tolerating = tolerations.iter().filter(|t| tolerates(t, taint)).peekable();
        let at = match tolerating.peek() {
            None => Timestamp::UNIX_EPOCH,
            Some(_) => {
                let Some(seconds) = tolerating.filter_map(|t| t.toleration_seconds).min() else { continue };
                since + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
            }
        };
        earliest = Some(earliest.map_or(at, |e: Timestamp| e.min(at)));
    }
    earliest
}

fn evict(pod: &Pod, now: Timestamp) -> Plan {
    let message = format!("Marking for deletion Pod {}/{}", pod.namespace(), pod.name());
    let condition = PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some("DeletionByTaintManager".to_owned()),
        message: Some("Taint manager: deleting due to NoExecute taint".to_owned()),
        last_transition_time: Some(api::time(now)),
        ..PodCondition::default()
    };
    let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
    Plan {
        events: vec![EventNote::normal(pod, "TaintManagerEviction", message)],
        writes: vec![
            Write::strategic(pod, "status", &patch),
            Write::delete_with(pod, DeleteOptions::of_uid(pod.uid())),
        ],
        ..Plan::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use serde_json::Value;

    fn check(tolerations: Value) -> String {
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "spec": {"taints": [
            {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute", "timeAdded": "2025-12-31T23:58:00Z"}]}});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"nodeName": "n1", "containers": [], "tolerations": tolerations}});
        Scene::new([node, pod]).show(&TaintEviction, "x/p")
    }

    #[test]
    fn a_pod_goes_when_its_patience_ends() {
        let for_seconds = |s: i64| {
            json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": s}])
        };
        assert_eq!(check(for_seconds(300)), "again in 180 s\n");
        assert_eq!(check(json!([{"operator": "Exists"}])), "");
        let evicted = check(for_seconds(60));
        assert!(evicted.contains("delete pods x/p\n"), "{evicted}");
        assert!(
            evicted.contains("event Normal TaintManagerEviction Pod/p Marking for deletion Pod x/p"),
            "{evicted}"
        );
        assert_eq!(check(json!([])), evicted);
    }
}

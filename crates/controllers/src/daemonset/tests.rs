use super::DaemonSets;
use crate::scene::Scene;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

fn set(image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "agent"}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}},
            "template": template(image)}})
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "agent"}}, "spec": {"nodeSelector": {"disk": "ssd"},
        "containers": [{"name": "c", "image": image}]}})
}

fn revision(hash: &str, number: i64, image: &str) -> Value {
    let mut template = template(image);
    template["$patch"] = "replace".into();
    json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": number,
        "metadata": {"name": format!("agent-{hash}"), "ownerReferences": owner(),
            "labels": {"app": "agent", "controller-revision-hash": hash}},
        "data": {"spec": {"template": template}}})
}

fn owner() -> Value {
    json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "agent-uid", "controller": true}])
}

fn node(name: &str, disk: &str, taints: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"disk": disk}},
        "spec": {"taints": taints}})
}

fn pod(name: &str, node: &str, hash: &str, ready: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "ownerReferences": owner(),
            "labels": {"app": "agent", "controller-revision-hash": hash}},
        "spec": {"nodeName": node, "containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}})
}

fn check(objects: impl IntoIterator<Item = Value>, expect: Expect) {
    expect.assert_eq(&Scene::new(objects).show(&DaemonSets, "x/agent"));
}

#[test]
fn every_eligible_node_has_one() {
    let taint = json!([{"key": "mine", "effect": "NoSchedule"}]);
    let nodes =
        || [node("a", "ssd", json!([])), node("b", "hdd", json!([])), node("c", "ssd", taint.clone())];
    check(
        [set("1")].into_iter().chain(nodes()).chain([revision("h1", 1, "1")]),
        expect![[r#"
        update/status daemonsets.apps x/agent {"currentNumberScheduled":0,"desiredNumberScheduled":1,"numberMisscheduled":0,"numberReady":0,"numberUnavailable":1,"observedGeneration":1}
        create pods x/ {"metadata":{"generateName":"agent-","labels":{"app":"agent","controller-revision-hash":"h1"},"ownerReferences":["DaemonSet/agent"]},"spec":{"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":{"nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"In","values":["a"]}]}]}}},"containers":[{"image":"1","name":"c"}],"nodeSelector":{"disk":"ssd"},"tolerations":[{"effect":"NoExecute","key":"node.kubernetes.io/not-ready","operator":"Exists"},{"effect":"NoExecute","key":"node.kubernetes.io/unreachable","operator":"Exists"},{"effect":"NoSchedule","key":"node.kubernetes.io/disk-pressure","operator":"Exists"},{"effect":"NoSchedule","key":"node.kubernetes.io/memory-pressure","operator":"Exists"},{"effect":"NoSchedule","key":"node.kubernetes.io/pid-pressure","operator":"Exists"},{"effect":"NoSchedule","key":"node.kubernetes.io/unschedulable","operator":"Exists"}]}}
          ok: Normal SuccessfulCreate DaemonSet/agent Created pod: {}
          or: Warning FailedCreate DaemonSet/agent Error creating: {}
    "#]],
    );
    let pods = [pod("p", "b", "h1", "True"), pod("q", "c", "h1", "True"), pod("r", "a", "h1", "True")];
    check(
        [set("1")].into_iter().chain(nodes()).chain([revision("h1", 1, "1")]).chain(pods),
        expect![[r#"
        update/status daemonsets.apps x/agent {"currentNumberScheduled":1,"desiredNumberScheduled":1,"numberAvailable":1,"numberMisscheduled":2,"numberReady":1,"observedGeneration":1,"updatedNumberScheduled":1}
        delete pods x/p
          ok: Normal SuccessfulDelete DaemonSet/agent Deleted pod: {}
          or: Warning FailedDelete DaemonSet/agent Error deleting: {}
    "#]],
    );
}

#[test]
fn an_update_goes_node_by_node() {
    let nodes = || ["a", "b", "c"].map(|n| node(n, "ssd", json!([])));
    let base = || [set("2"), revision("h1", 1, "1"), revision("h2", 2, "2")].into_iter().chain(nodes());
    let old = |n: &str, ready: &str| pod(&format!("old-{n}"), n, "h1", ready);
    check(
        base().chain([old("a", "True"), old("b", "True"), old("c", "True")]),
        expect![[r#"
        update/status daemonsets.apps x/agent {"currentNumberScheduled":3,"desiredNumberScheduled":3,"numberAvailable":3,"numberMisscheduled":0,"numberReady":3,"observedGeneration":1}
        delete pods x/old-a
          ok: Normal SuccessfulDelete DaemonSet/agent Deleted pod: {}
          or: Warning FailedDelete DaemonSet/agent Error deleting: {}
    "#]],
    );
    check(
        base().chain([pod("new-a", "a", "h2", "False"), old("b", "True"), old("c", "False")]),
        expect![[r#"
            update/status daemonsets.apps x/agent {"currentNumberScheduled":3,"desiredNumberScheduled":3,"numberAvailable":1,"numberMisscheduled":0,"numberReady":1,"numberUnavailable":2,"observedGeneration":1,"updatedNumberScheduled":1}
            delete pods x/old-c
              ok: Normal SuccessfulDelete DaemonSet/agent Deleted pod: {}
              or: Warning FailedDelete DaemonSet/agent Error deleting: {}
        "#]],
    );
}

#[test]
fn a_pod_that_fails_at_once_is_not_made_again_at_once() {
    let mut failed = pod("p", "a", "h1", "False");
    failed["status"]["phase"] = "Failed".into();
    let mut scene = Scene::new([set("1"), node("a", "ssd", json!([])), revision("h1", 1, "1"), failed]);
    let mut seen = Vec::new();
    for _ in 0..4 {
        let plan = scene.plan(&DaemonSets, "x/agent");
        let deletes = plan.writes.iter().any(|w| w.to_string() == "delete pods x/p");
        assert_eq!(deletes, plan.events.iter().any(|e| e.reason == "FailedDaemonPod"));
        seen.push((deletes, plan.requeue_after.map(|d| d.as_secs())));
        scene.memory = plan.memory.unwrap_or(scene.memory);
        scene.now += plan.requeue_after.unwrap_or_default();
    }
    assert_eq!(seen, [(true, None), (false, Some(1)), (true, None), (false, Some(2))]);
}

#[test]
fn nodes_that_shall_have_no_pod_hold_no_update_up() {
    let nodes =
        [node("a", "ssd", json!([])), node("b", "ssd", json!([{"key": "mine", "effect": "NoSchedule"}]))];
    let all = [set("2"), revision("h1", 1, "1"), revision("h2", 2, "2"), pod("old-a", "a", "h1", "True")];
    let shown = Scene::new(all.into_iter().chain(nodes)).show(&DaemonSets, "x/agent");
    assert!(shown.contains("delete pods x/old-a"), "{shown}");
}

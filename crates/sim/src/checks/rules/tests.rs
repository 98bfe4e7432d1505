//! Each rule is shown a history that breaks it: a rule that can't fail says nothing.

use super::super::model::Model;
use super::RULES;
use expect_test::{Expect, expect};
use serde_json::{Value, json};
use std::time::Duration;

/// Takes in the revisions and tells what the rules say.
fn told(history: &[(&str, Value)]) -> Vec<(&'static str, String)> {
    let mut model = Model::default();
    let mut told = Vec::new();
    for (resource, object) in history {
        let gone = object["gone"] == true;
        let seen = model.take(Duration::from_secs(1), resource, object, gone);
        let wrong = RULES.iter().filter_map(|(name, rule)| Some((*name, rule(&model, &seen)?)));
        told.extend(wrong);
    }
    told
}

fn pod(uid: &str, owner: &str) -> Value {
    json!({"metadata": {"uid": uid, "name": uid, "namespace": "x",
        "ownerReferences": [{"uid": owner, "controller": true}]}, "spec": {}, "status": {"phase": "Pending"}})
}

fn with(mut object: Value, path: &str, value: Value) -> Value {
    let (parent, last) = path.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[last] = value;
    object
}

fn set(uid: &str, replicas: u32) -> Value {
    json!({"metadata": {"uid": uid}, "spec": {"replicas": replicas}})
}

fn job(uid: &str, status: Value) -> Value {
    json!({"metadata": {"uid": uid, "name": uid, "ownerReferences": [{"uid": "cron", "controller": true}]},
        "spec": {"parallelism": 9}, "status": status})
}

fn claim(uid: &str, volume: &str) -> Value {
    json!({"metadata": {"uid": uid, "name": uid, "namespace": "x"}, "spec": {"volumeName": volume}})
}

/// A history for each rule that breaks it, and no other.
fn broken() -> impl Iterator<Item = (Vec<(&'static str, Value)>, Expect)> {
    broken_first().into_iter().chain(broken_later())
}

/// Those about how many.
fn broken_first() -> Vec<(Vec<(&'static str, Value)>, Expect)> {
    let on = |uid: &str, node: &str| with(pod(uid, ""), "/spec/nodeName", node.into());
    let asks = |uid: &str| {
        let requests = json!([{"resources": {"requests": {"cpu": "600m"}}}]);
        with(on(uid, "n"), "/spec/containers", requests)
    };
    let index = |uid: &str| {
        with(
            pod(uid, "job"),
            "/metadata/annotations",
            json!({"batch.kubernetes.io/job-completion-index": "1"}),
        )
    };
    let child = json!({"metadata": {"uid": "rs", "ownerReferences": [{"uid": "d", "controller": true}]},
        "spec": {"replicas": 9}});
    let node = json!({"metadata": {"uid": "n", "name": "n"}, "status": {"allocatable": {"cpu": "1"}}});
    let forbids = json!({"metadata": {"uid": "cron"}, "spec": {"concurrencyPolicy": "Forbid"}});
    let done = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    vec![
        (
            vec![("replicasets", set("rs", 1)), ("pods", pod("a", "rs")), ("pods", pod("b", "rs"))],
            expect!["2 pods of rs, which wants 1"],
        ),
        (
            vec![("deployments", set("d", 0)), ("replicasets", child), ("pods", pod("a", "rs"))],
            expect!["1 pods of the deployment d, which allows 0"],
        ),
        (
            vec![("nodes", node), ("pods", asks("a")), ("pods", asks("b"))],
            expect!["1200m of processor on n, which has 1000m"],
        ),
        (
            vec![("daemonsets", set("ds", 0)), ("pods", pod("a", "ds")), ("pods", pod("b", "ds"))],
            expect!["2 pods of the daemon set ds for "],
        ),
        (vec![("pods", index("a")), ("pods", index("b"))], expect!["2 pods of the job job for the index 1"]),
        (
            vec![("jobs", job("j", done)), ("pods", pod("a", "j"))],
            expect!["the pod a was made for the job j, which is done"],
        ),
        (vec![("jobs", job("j", json!({"succeeded": 1})))], expect!["the job j counts 1 successes of 0"]),
        (
            vec![("cronjobs", forbids), ("jobs", job("a", json!({}))), ("jobs", job("b", json!({})))],
            expect!["2 jobs at once of the cron job cron, which forbids it"],
        ),
    ]
}

/// Those about what lasts: quotas, claims, ends and places.
fn broken_later() -> Vec<(Vec<(&'static str, Value)>, Expect)> {
    let on = |uid: &str, node: &str| with(pod(uid, ""), "/spec/nodeName", node.into());
    let uses = with(on("p", "n"), "/spec/volumes", json!([{"persistentVolumeClaim": {"claimName": "c"}}]));
    let ended = |phase: &str| with(pod("p", ""), "/status/phase", phase.into());
    let quota = json!({"metadata": {"uid": "q", "namespace": "x"}, "status": {"hard": {"pods": "1"}}});
    let volume = json!({"metadata": {"uid": "v", "name": "v", "annotations": {"ironclad.local/node": "m"}}});
    vec![
        (
            vec![("resourcequotas", quota), ("pods", pod("a", "")), ("pods", pod("b", ""))],
            expect!["2 pods in x, whose quota is 1"],
        ),
        (
            vec![
                ("persistentvolumeclaims", claim("c", "")),
                ("pods", uses.clone()),
                ("persistentvolumeclaims", with(claim("c", ""), "/gone", true.into())),
            ],
            expect!["the claim c is gone, and the pod p uses it"],
        ),
        (
            vec![("persistentvolumeclaims", claim("a", "v")), ("persistentvolumeclaims", claim("b", "v"))],
            expect!["the volume v is both x/b's and x/a's"],
        ),
        (
            vec![("pods", ended("Failed")), ("pods", ended("Running"))],
            expect!["the pod p was Failed and is Running"],
        ),
        (vec![("pods", on("p", "n")), ("pods", on("p", "m"))], expect!["the pod p was on n and is on m"]),
        (
            vec![("persistentvolumes", volume), ("persistentvolumeclaims", claim("c", "v")), ("pods", uses)],
            expect!["the pod p is on n, and its volume v on m"],
        ),
    ]
}

#[test]
fn every_rule_can_fail() {
    let mut names = Vec::new();
    for (history, expected) in broken() {
        let told = told(&history);
        assert_eq!(told.len(), 1, "{told:?}");
        names.push(told[0].0);
        expected.assert_eq(&told[0].1);
    }
    let all: Vec<&str> = RULES.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, all);
}

#[test]
fn what_is_in_order_is_not_told() {
    for (mut history, _) in broken() {
        history.pop();
        assert_eq!(told(&history), [], "{history:?}");
    }
}

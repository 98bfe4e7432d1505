//! Each check is shown something that is wrong: a check that can't fail says nothing.

use super::*;
use expect_test::{Expect, expect};
use serde_json::json;

fn meta(name: &str) -> Value {
    json!({"metadata": {"name": name, "uid": name, "labels": {"app": "web"}}, "status": {}})
}

fn with(mut object: Value, more: Value) -> Value {
    for (key, value) in more.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    object
}

fn owned_by(uid: &str) -> Value {
    json!({"name": "o", "uid": "o", "ownerReferences": [{"uid": uid, "controller": true}]})
}

/// What is wrong, for each check.
fn broken() -> impl Iterator<Item = (Vec<(&'static str, Value)>, Expect)> {
    broken_workloads().into_iter().chain(broken_things())
}

/// What is wrong with what runs.
fn broken_workloads() -> Vec<(Vec<(&'static str, Value)>, Expect)> {
    let ready =
        json!({"phase": "Running", "podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]});
    let job = |status: Value| {
        with(
            meta("j"),
            json!({"status": status, "spec": {"completions": 1,
            "template": {"spec": {"containers": [{"image": "exit-0"}]}}}}),
        )
    };
    let complete = json!({"conditions": [{"type": "Complete", "status": "True"}], "succeeded": 1});
    let mut kept = with(job(complete), json!({"metadata": owned_by("cron")}));
    kept["metadata"]["labels"] = json!({});
    vec![
        (
            vec![(
                "replicasets",
                with(
                    meta("r"),
                    json!({"spec": {"replicas": 1}, "status": {"replicas": 1, "readyReplicas": 1}}),
                ),
            )],
            expect![[r#"replicasets r: availableReplicas is 0, not 1; {"readyReplicas":1,"replicas":1}"#]],
        ),
        (vec![("jobs", job(json!({"active": 1})))], expect![[r#"j with exit-0 is {"active":1}"#]]),
        (
            vec![("cronjobs", meta("cron")), ("jobs", kept)],
            expect!["cron keeps 1 jobs that are Complete, not 0"],
        ),
        (
            vec![(
                "pods",
                with(meta("p"), json!({"metadata": {"name": "p"}, "status": {"phase": "Pending"}})),
            )],
            expect![[r#"p is {"phase":"Pending"} {"name":"p"}"#]],
        ),
        (
            vec![("pods", with(meta("p"), json!({"status": ready})))],
            expect![[r#"endpoints are {}, ready pods {"10.0.0.1"}"#]],
        ),
    ]
}

/// What is wrong with everything else.
fn broken_things() -> Vec<(Vec<(&'static str, Value)>, Expect)> {
    let uses = json!({"volumes": [{"persistentVolumeClaim": {"claimName": "c"}}]});
    let budget =
        json!({"spec": {"selector": {"matchLabels": {"app": "web"}}}, "status": {"currentHealthy": 1}});
    vec![
        (
            vec![
                ("persistentvolumeclaims", with(meta("c"), json!({"metadata": {"name": "c"}}))),
                ("pods", json!({"metadata": {"name": "p"}, "spec": uses, "status": {"phase": "Running"}})),
            ],
            expect![[r#"c is {} {"name":"c"}"#]],
        ),
        (
            vec![(
                "persistentvolumes",
                with(
                    meta("v"),
                    json!({"spec": {"persistentVolumeReclaimPolicy": "Delete", "claimRef": {"uid": "c"}}}),
                ),
            )],
            expect!["v is {}"],
        ),
        (
            vec![("configmaps", json!({"metadata": {"name": "m", "namespace": "gone"}}))],
            expect!["configmaps m is in no namespace"],
        ),
        (
            vec![("configmaps", json!({"metadata": owned_by("gone")}))],
            expect!["configmaps o has outlived its owners"],
        ),
        (
            vec![("resourcequotas", with(meta("q"), json!({"status": {"used": {"pods": "1"}}})))],
            expect!["q counts 1 pods of 0"],
        ),
        (
            vec![("poddisruptionbudgets", with(meta("b"), budget))],
            expect![[r#"b of 0 healthy pods says {"currentHealthy":1}"#]],
        ),
        (
            vec![(
                "nodes",
                with(
                    meta("n"),
                    json!({"spec": {"taints": [{"key": "k"}]}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}),
                ),
            )],
            expect![[r#"n is {"taints":[{"key":"k"}]} {"conditions":[{"status":"True","type":"Ready"}]}"#]],
        ),
    ]
}

#[test]
fn every_check_can_fail() {
    let mut names = Vec::new();
    for (all, expected) in broken() {
        let mut objects = Objects::default();
        all.into_iter().for_each(|(resource, object)| objects.put(resource, object));
        let told: Vec<_> = CHECKS
            .iter()
            .map(|(name, check)| (*name, check(&objects)))
            .filter(|(_, t)| !t.is_empty())
            .collect();
        assert_eq!(told.len(), 1, "{told:?}");
        names.push(told[0].0);
        expected.assert_eq(&told[0].1.join("\n"));
    }
    assert_eq!(names, CHECKS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    assert_eq!(unsettled(&Objects::default()), [""; 0]);
}

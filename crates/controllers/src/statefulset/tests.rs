use super::StatefulSets;
use crate::scene::Scene;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

fn set(replicas: i32, image: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "generation": 1},
        "spec": {"replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "template": template(image),
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]}})
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

fn revision(name: &str, number: i64, image: &str) -> Value {
    let mut template = template(image);
    template["$patch"] = "replace".into();
    json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": number,
        "metadata": {"name": name, "labels": {"app": "db"}, "ownerReferences": owner()},
        "data": {"spec": {"template": template}}})
}

fn owner() -> Value {
    json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "db-uid", "controller": true}])
}

fn pod(ordinal: i32, revision: &str, ready: &str) -> Value {
    let name = format!("db-{ordinal}");
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "ownerReferences": owner(), "labels": {"app": "db",
            "controller-revision-hash": revision, "statefulset.kubernetes.io/pod-name": name,
            "apps.kubernetes.io/pod-index": ordinal.to_string()}},
        "spec": {"containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}})
}

fn check(objects: impl IntoIterator<Item = Value>, expect: Expect) {
    expect.assert_eq(&Scene::new(objects).show(&StatefulSets, "x/db"));
}

#[test]
fn pods_come_one_after_the_other() {
    check(
        [set(3, "a")],
        expect![[r#"
        create controllerrevisions.apps x/db-ddbd84cf6 {"data":{"spec":{"template":{"$patch":"replace","metadata":{"labels":{"app":"db"}},"spec":{"containers":[{"image":"a","name":"c"}]}}}},"metadata":{"labels":{"app":"db","controller.kubernetes.io/hash":"ddbd84cf6"},"ownerReferences":["StatefulSet/db"]},"revision":1}
    "#]],
    );
    check(
        [set(3, "a"), revision("db-a", 1, "a")],
        expect![[r#"
            update/status statefulsets.apps x/db {"availableReplicas":0,"collisionCount":0,"currentRevision":"db-a","observedGeneration":1,"replicas":0,"updateRevision":"db-a"}
            create persistentvolumeclaims x/data-db-0 {"metadata":{"labels":{"app":"db"}},"spec":{"accessModes":["ReadWriteOnce"]}}
              ok: Normal SuccessfulCreate StatefulSet/db Create Claim data-db-0 Pod db-0 in StatefulSet db success
              or: Warning FailedCreate StatefulSet/db Create Claim data-db-0 Pod db-0 in StatefulSet db failed error: {}
            create pods x/db-0 {"metadata":{"generateName":"db-","labels":{"app":"db","apps.kubernetes.io/pod-index":"0","controller-revision-hash":"db-a","statefulset.kubernetes.io/pod-name":"db-0"},"ownerReferences":["StatefulSet/db"]},"spec":{"containers":[{"image":"a","name":"c"}],"hostname":"db-0","subdomain":"db","volumes":[{"name":"data","persistentVolumeClaim":{"claimName":"data-db-0"}}]}}
              ok: Normal SuccessfulCreate StatefulSet/db Create Pod db-0 in StatefulSet db successful
              or: Warning FailedCreate StatefulSet/db Create Pod db-0 in StatefulSet db failed error: {}
        "#]],
    );
    check(
        [set(3, "a"), revision("db-a", 1, "a"), pod(0, "db-a", "False")],
        expect![[r#"
        update/status statefulsets.apps x/db {"availableReplicas":0,"collisionCount":0,"currentReplicas":1,"currentRevision":"db-a","observedGeneration":1,"replicas":1,"updateRevision":"db-a","updatedReplicas":1}
    "#]],
    );
    check(
        [
            set(1, "a"),
            revision("db-a", 1, "a"),
            pod(0, "db-a", "True"),
            pod(1, "db-a", "True"),
            pod(2, "db-a", "True"),
        ],
        expect![[r#"
            update/status statefulsets.apps x/db {"availableReplicas":3,"collisionCount":0,"currentReplicas":3,"currentRevision":"db-a","observedGeneration":1,"readyReplicas":3,"replicas":3,"updateRevision":"db-a","updatedReplicas":3}
            delete pods x/db-2
              ok: Normal SuccessfulDelete StatefulSet/db Delete Pod db-2 in StatefulSet db successful
              or: Warning FailedDelete StatefulSet/db Delete Pod db-2 in StatefulSet db failed error: {}
        "#]],
    );
}

#[test]
fn updates_go_from_the_highest_ordinal_down_to_the_partition() {
    let revisions = || [revision("db-a", 1, "a"), revision("db-b", 2, "b")];
    let with = |mut set: Value, pods: Vec<Value>| {
        set["status"] = json!({"replicas": 2, "currentRevision": "db-a", "updateRevision": "db-b"});
        [set].into_iter().chain(revisions()).chain(pods)
    };
    check(
        with(set(2, "b"), vec![pod(0, "db-a", "True"), pod(1, "db-a", "True")]),
        expect![[r#"
            update/status statefulsets.apps x/db {"availableReplicas":2,"collisionCount":0,"currentReplicas":2,"currentRevision":"db-a","observedGeneration":1,"readyReplicas":2,"replicas":2,"updateRevision":"db-b"}
            delete pods x/db-1
              ok: Normal SuccessfulDelete StatefulSet/db Delete Pod db-1 in StatefulSet db successful
              or: Warning FailedDelete StatefulSet/db Delete Pod db-1 in StatefulSet db failed error: {}
        "#]],
    );
    check(
        with(set(2, "b"), vec![pod(0, "db-a", "True"), pod(1, "db-b", "False")]),
        expect![[r#"
        update/status statefulsets.apps x/db {"availableReplicas":1,"collisionCount":0,"currentReplicas":1,"currentRevision":"db-a","observedGeneration":1,"readyReplicas":1,"replicas":2,"updateRevision":"db-b","updatedReplicas":1}
    "#]],
    );
    check(
        with(set(2, "b"), vec![pod(0, "db-b", "True"), pod(1, "db-b", "True")]),
        expect![[r#"
        update/status statefulsets.apps x/db {"availableReplicas":2,"collisionCount":0,"currentReplicas":2,"currentRevision":"db-b","observedGeneration":1,"readyReplicas":2,"replicas":2,"updateRevision":"db-b","updatedReplicas":2}
    "#]],
    );
    let mut partitioned = set(2, "b");
    partitioned["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 1.into();
    check(
        with(partitioned, vec![pod(1, "db-b", "True")]),
        expect![[r#"
            update/status statefulsets.apps x/db {"availableReplicas":1,"collisionCount":0,"currentRevision":"db-a","observedGeneration":1,"readyReplicas":1,"replicas":1,"updateRevision":"db-b","updatedReplicas":1}
            create persistentvolumeclaims x/data-db-0 {"metadata":{"labels":{"app":"db"}},"spec":{"accessModes":["ReadWriteOnce"]}}
              ok: Normal SuccessfulCreate StatefulSet/db Create Claim data-db-0 Pod db-0 in StatefulSet db success
              or: Warning FailedCreate StatefulSet/db Create Claim data-db-0 Pod db-0 in StatefulSet db failed error: {}
            create pods x/db-0 {"metadata":{"generateName":"db-","labels":{"app":"db","apps.kubernetes.io/pod-index":"0","controller-revision-hash":"db-a","statefulset.kubernetes.io/pod-name":"db-0"},"ownerReferences":["StatefulSet/db"]},"spec":{"containers":[{"image":"a","name":"c"}],"hostname":"db-0","subdomain":"db","volumes":[{"name":"data","persistentVolumeClaim":{"claimName":"data-db-0"}}]}}
              ok: Normal SuccessfulCreate StatefulSet/db Create Pod db-0 in StatefulSet db successful
              or: Warning FailedCreate StatefulSet/db Create Pod db-0 in StatefulSet db failed error: {}
        "#]],
    );
}

#[test]
fn parallel_pods_come_at_once() {
    let mut parallel = set(3, "a");
    parallel["spec"]["podManagementPolicy"] = "Parallel".into();
    parallel["spec"]["volumeClaimTemplates"] = json!([]);
    let text = Scene::new([parallel, revision("db-a", 1, "a")]).show(&StatefulSets, "x/db");
    assert_eq!(text.matches("create pods x/db-").count(), 3, "{text}");
}

#[test]
fn a_pod_that_never_became_ready_is_replaced_by_the_next_revision() {
    let mut parallel = set(2, "b");
    parallel["spec"]["podManagementPolicy"] = "Parallel".into();
    parallel["status"] = json!({"replicas": 2, "currentRevision": "db-a", "updateRevision": "db-b"});
    let revisions = [revision("db-a", 1, "a"), revision("db-b", 2, "b")];
    let pods = [pod(0, "db-a", "False"), pod(1, "db-a", "False")];
    let deleted = |set: &Value| {
        let all = [set.clone()].into_iter().chain(revisions.clone()).chain(pods.clone());
        let text = Scene::new(all).show(&StatefulSets, "x/db");
        text.lines().filter(|l| l.starts_with("delete pods")).collect::<Vec<_>>().join(",")
    };
    assert_eq!(deleted(&parallel), "delete pods x/db-1");
    // Who says how many may be unavailable means it.
    parallel["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = 1.into();
    assert_eq!(deleted(&parallel), "");
    parallel["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = 4.into();
    assert_eq!(deleted(&parallel), "delete pods x/db-1,delete pods x/db-0");
}

#[test]
fn a_claim_of_another_controller_is_left_to_it() {
    let claim = |owner: Value| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data-db-0",
            "labels": {"app": "db"}, "ownerReferences": [owner]}, "spec": {}})
    };
    let shown = |policy: Value, owner: Value| {
        let mut set = set(0, "a");
        set["spec"]["persistentVolumeClaimRetentionPolicy"] = policy;
        Scene::new([set, revision("db-a", 1, "a"), pod(0, "db-a", "True"), claim(owner)])
            .show(&StatefulSets, "x/db")
    };
    let deletes = || json!({"whenScaled": "Delete", "whenDeleted": "Retain"});
    let other = json!({"apiVersion": "v1", "kind": "Pod", "name": "o", "uid": "o-uid", "controller": true});
    let told = shown(deletes(), other);
    assert!(!told.contains("persistentvolumeclaims") && told.contains("delete pods x/db-0"), "{told}");
    let namesake = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "old"});
    assert!(!shown(deletes(), namesake).contains("persistentvolumeclaims"));
    let both = json!({"whenScaled": "Delete", "whenDeleted": "Delete"});
    let ours = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "db-uid", "controller": true});
    let told = shown(both, ours);
    assert!(told.contains(r#""ownerReferences":["Pod/db-0"]"#), "{told}");
}

use super::Deployments;
use crate::replicaset::ReplicaSets;
use crate::scene::Scene;
use expect_test::{Expect, expect};
use serde_json::{Value, json};

fn deployment(replicas: i32, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "generation": 1},
        "spec": {
            "replicas": replicas, "progressDeadlineSeconds": 600, "revisionHistoryLimit": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": template(image),
        },
    })
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

/// A set of the Deployment for `image`, with `replicas` asked for and `ready` available.
fn set(name: &str, image: &str, revision: i32, desired: i32, replicas: i32, ready: i32) -> Value {
    let mut template = template(image);
    template["metadata"]["labels"]["pod-template-hash"] = name.into();
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {
            "name": format!("web-{name}"), "labels": {"app": "web", "pod-template-hash": name}, "generation": 1,
            "creationTimestamp": format!("2025-01-01T00:00:0{revision}Z"),
            "annotations": {
                "deployment.kubernetes.io/revision": revision.to_string(),
                "deployment.kubernetes.io/desired-replicas": desired.to_string(),
                "deployment.kubernetes.io/max-replicas": (desired + (desired + 3) / 4).to_string(),
            },
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web",
                "uid": "web-uid", "controller": true}],
        },
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web", "pod-template-hash": name}},
            "template": template},
        "status": {"replicas": replicas, "readyReplicas": ready, "availableReplicas": ready,
            "terminatingReplicas": 0, "observedGeneration": 1},
    })
}

fn check(objects: impl IntoIterator<Item = Value>, expect: Expect) {
    expect.assert_eq(&Scene::new(objects).show(&Deployments, "x/web"));
}

#[test]
fn a_new_deployment_gets_a_replica_set() {
    check(
        [deployment(3, "a")],
        expect![[r#"
            create replicasets.apps x/web-78dbf6cfb9 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"3","deployment.kubernetes.io/max-replicas":"4","deployment.kubernetes.io/revision":"1"},"labels":{"app":"web","pod-template-hash":"78dbf6cfb9"},"ownerReferences":["Deployment/web"]},"spec":{"replicas":3,"selector":{"matchLabels":{"app":"web","pod-template-hash":"78dbf6cfb9"}},"template":{"metadata":{"labels":{"app":"web","pod-template-hash":"78dbf6cfb9"}},"spec":{"containers":[{"image":"a","name":"c"}]}}}}
              ok: Normal ScalingReplicaSet Deployment/web Scaled up replica set web-78dbf6cfb9 from 0 to 3
              or: Warning ReplicaSetCreateError Deployment/web Failed to create new replica set "web-78dbf6cfb9": {}
            update/status deployments.apps x/web {"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"Created new replica set \"web-78dbf6cfb9\"","reason":"NewReplicaSetCreated","status":"True","type":"Progressing"},{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"Deployment does not have minimum availability.","reason":"MinimumReplicasUnavailable","status":"False","type":"Available"}],"observedGeneration":1,"terminatingReplicas":0,"unavailableReplicas":3}
            again in 601 s
        "#]],
    );
}

#[test]
fn a_new_template_is_rolled_out_step_by_step() {
    // Up by the surge first.
    check(
        [deployment(4, "b"), set("a", "a", 1, 4, 4, 4)],
        expect![[r#"
            create replicasets.apps x/web-7c4dd8bc76 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5","deployment.kubernetes.io/revision":"2"},"labels":{"app":"web","pod-template-hash":"7c4dd8bc76"},"ownerReferences":["Deployment/web"]},"spec":{"replicas":1,"selector":{"matchLabels":{"app":"web","pod-template-hash":"7c4dd8bc76"}},"template":{"metadata":{"labels":{"app":"web","pod-template-hash":"7c4dd8bc76"}},"spec":{"containers":[{"image":"b","name":"c"}]}}}}
              ok: Normal ScalingReplicaSet Deployment/web Scaled up replica set web-7c4dd8bc76 from 0 to 1
              or: Warning ReplicaSetCreateError Deployment/web Failed to create new replica set "web-7c4dd8bc76": {}
            update/status deployments.apps x/web {"availableReplicas":4,"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"Deployment has minimum availability.","reason":"MinimumReplicasAvailable","status":"True","type":"Available"},{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"ReplicaSet \"web-7c4dd8bc76\" is progressing.","reason":"ReplicaSetUpdated","status":"True","type":"Progressing"}],"observedGeneration":1,"readyReplicas":4,"replicas":4,"terminatingReplicas":0,"unavailableReplicas":1}
            again in 601 s
        "#]],
    );
    // Then down by as many as may be missing.
    check(
        [deployment(4, "b"), set("a", "a", 1, 4, 4, 4), set("b", "b", 2, 4, 1, 0)],
        expect![[r#"
            update replicasets.apps x/web-a {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5","deployment.kubernetes.io/revision":"1"},"creationTimestamp":"2025-01-01T00:00:01Z","generation":1,"labels":{"app":"web","pod-template-hash":"a"},"ownerReferences":["Deployment/web"]},"spec":{"replicas":3,"selector":{"matchLabels":{"app":"web","pod-template-hash":"a"}},"template":{"metadata":{"labels":{"app":"web","pod-template-hash":"a"}},"spec":{"containers":[{"image":"a","name":"c"}]}}}}
              ok: Normal ScalingReplicaSet Deployment/web Scaled down replica set web-a from 4 to 3
            update/status deployments.apps x/web {"availableReplicas":4,"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"Deployment has minimum availability.","reason":"MinimumReplicasAvailable","status":"True","type":"Available"},{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"ReplicaSet \"web-b\" is progressing.","reason":"ReplicaSetUpdated","status":"True","type":"Progressing"}],"observedGeneration":1,"readyReplicas":4,"replicas":5,"terminatingReplicas":0,"updatedReplicas":1}
            again in 601 s
        "#]],
    );
    // What isn't available anyway goes first.
    check(
        [deployment(4, "b"), set("a", "a", 1, 4, 3, 1), set("b", "b", 2, 4, 2, 2)],
        expect![[r#"
            update replicasets.apps x/web-a {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"4","deployment.kubernetes.io/max-replicas":"5","deployment.kubernetes.io/revision":"1"},"creationTimestamp":"2025-01-01T00:00:01Z","generation":1,"labels":{"app":"web","pod-template-hash":"a"},"ownerReferences":["Deployment/web"]},"spec":{"replicas":1,"selector":{"matchLabels":{"app":"web","pod-template-hash":"a"}},"template":{"metadata":{"labels":{"app":"web","pod-template-hash":"a"}},"spec":{"containers":[{"image":"a","name":"c"}]}}}}
              ok: Normal ScalingReplicaSet Deployment/web Scaled down replica set web-a from 3 to 1
            update/status deployments.apps x/web {"availableReplicas":3,"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"Deployment has minimum availability.","reason":"MinimumReplicasAvailable","status":"True","type":"Available"},{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"ReplicaSet \"web-b\" is progressing.","reason":"ReplicaSetUpdated","status":"True","type":"Progressing"}],"observedGeneration":1,"readyReplicas":3,"replicas":5,"terminatingReplicas":0,"updatedReplicas":2}
            again in 601 s
        "#]],
    );
    // Done.
    check(
        [deployment(4, "b"), set("z", "z", 1, 4, 0, 0), set("a", "a", 2, 4, 0, 0), set("b", "b", 3, 4, 4, 4)],
        expect![[r#"
            update/status deployments.apps x/web {"availableReplicas":4,"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"Deployment has minimum availability.","reason":"MinimumReplicasAvailable","status":"True","type":"Available"},{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"ReplicaSet \"web-b\" has successfully progressed.","reason":"NewReplicaSetAvailable","status":"True","type":"Progressing"}],"observedGeneration":1,"readyReplicas":4,"replicas":4,"terminatingReplicas":0,"updatedReplicas":4}
        "#]],
    );
}

#[test]
fn a_deployment_scaled_amid_a_rollout_grows_in_proportion() {
    check(
        [deployment(8, "b"), set("a", "a", 1, 4, 3, 3), set("b", "b", 2, 4, 2, 1)],
        expect![[r#"
            update replicasets.apps x/web-a {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"8","deployment.kubernetes.io/max-replicas":"10","deployment.kubernetes.io/revision":"1"},"creationTimestamp":"2025-01-01T00:00:01Z","generation":1,"labels":{"app":"web","pod-template-hash":"a"},"ownerReferences":["Deployment/web"]},"spec":{"replicas":6,"selector":{"matchLabels":{"app":"web","pod-template-hash":"a"}},"template":{"metadata":{"labels":{"app":"web","pod-template-hash":"a"}},"spec":{"containers":[{"image":"a","name":"c"}]}}}}
              ok: Normal ScalingReplicaSet Deployment/web Scaled up replica set web-a from 3 to 6
            update replicasets.apps x/web-b {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"8","deployment.kubernetes.io/max-replicas":"10","deployment.kubernetes.io/revision":"2"},"creationTimestamp":"2025-01-01T00:00:02Z","generation":1,"labels":{"app":"web","pod-template-hash":"b"},"ownerReferences":["Deployment/web"]},"spec":{"replicas":4,"selector":{"matchLabels":{"app":"web","pod-template-hash":"b"}},"template":{"metadata":{"labels":{"app":"web","pod-template-hash":"b"}},"spec":{"containers":[{"image":"b","name":"c"}]}}}}
              ok: Normal ScalingReplicaSet Deployment/web Scaled up replica set web-b from 2 to 4
            update/status deployments.apps x/web {"availableReplicas":4,"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"Found new replica set \"web-b\"","reason":"FoundNewReplicaSet","status":"True","type":"Progressing"},{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"Deployment does not have minimum availability.","reason":"MinimumReplicasUnavailable","status":"False","type":"Available"}],"observedGeneration":1,"readyReplicas":4,"replicas":5,"terminatingReplicas":0,"unavailableReplicas":6,"updatedReplicas":2}
            again in 601 s
        "#]],
    );
}

#[test]
fn recreate_waits_for_old_pods() {
    let mut d = deployment(2, "b");
    d["spec"]["strategy"] = json!({"type": "Recreate"});
    check(
        [d.clone(), set("a", "a", 1, 2, 2, 2)],
        expect![[r#"
        update replicasets.apps x/web-a {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"2","deployment.kubernetes.io/max-replicas":"2","deployment.kubernetes.io/revision":"1"},"creationTimestamp":"2025-01-01T00:00:01Z","generation":1,"labels":{"app":"web","pod-template-hash":"a"},"ownerReferences":["Deployment/web"]},"spec":{"replicas":0,"selector":{"matchLabels":{"app":"web","pod-template-hash":"a"}},"template":{"metadata":{"labels":{"app":"web","pod-template-hash":"a"}},"spec":{"containers":[{"image":"a","name":"c"}]}}}}
          ok: Normal ScalingReplicaSet Deployment/web Scaled down replica set web-a from 2 to 0
        update/status deployments.apps x/web {"availableReplicas":2,"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"Deployment has minimum availability.","reason":"MinimumReplicasAvailable","status":"True","type":"Available"},{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"Deployment \"web\" is progressing.","reason":"ReplicaSetUpdated","status":"True","type":"Progressing"}],"observedGeneration":1,"readyReplicas":2,"replicas":2,"terminatingReplicas":0}
        again in 601 s
    "#]],
    );
    check(
        [d.clone(), set("a", "a", 1, 2, 0, 0), pod("p", "web-a", "Running")],
        expect![[r#"
        update/status deployments.apps x/web {"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"Deployment does not have minimum availability.","reason":"MinimumReplicasUnavailable","status":"False","type":"Available"}],"observedGeneration":1,"terminatingReplicas":0}
    "#]],
    );
    check(
        [d, set("a", "a", 1, 2, 0, 0), pod("p", "web-a", "Succeeded")],
        expect![[r#"
            create replicasets.apps x/web-7c4dd8bc76 {"metadata":{"annotations":{"deployment.kubernetes.io/desired-replicas":"2","deployment.kubernetes.io/max-replicas":"2","deployment.kubernetes.io/revision":"2"},"labels":{"app":"web","pod-template-hash":"7c4dd8bc76"},"ownerReferences":["Deployment/web"]},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"web","pod-template-hash":"7c4dd8bc76"}},"template":{"metadata":{"labels":{"app":"web","pod-template-hash":"7c4dd8bc76"}},"spec":{"containers":[{"image":"b","name":"c"}]}}}}
              ok: Normal ScalingReplicaSet Deployment/web Scaled up replica set web-7c4dd8bc76 from 0 to 2
              or: Warning ReplicaSetCreateError Deployment/web Failed to create new replica set "web-7c4dd8bc76": {}
            update/status deployments.apps x/web {"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"Created new replica set \"web-7c4dd8bc76\"","reason":"NewReplicaSetCreated","status":"True","type":"Progressing"},{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"Deployment does not have minimum availability.","reason":"MinimumReplicasUnavailable","status":"False","type":"Available"}],"observedGeneration":1,"terminatingReplicas":0,"unavailableReplicas":2}
            again in 601 s
        "#]],
    );
}

fn pod(name: &str, owner: &str, phase: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web", "pod-template-hash": "a"}, "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": format!("{owner}-uid"),
             "controller": true}]},
        "spec": {"containers": []}, "status": {"phase": phase}})
}

#[test]
fn a_paused_deployment_says_so_and_an_unpaused_one_too() {
    let mut d = deployment(2, "b");
    d["spec"]["paused"] = true.into();
    check(
        [d, set("a", "a", 1, 2, 2, 2)],
        expect![[r#"
        update/status deployments.apps x/web {"availableReplicas":2,"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"Deployment is paused","reason":"DeploymentPaused","status":"Unknown","type":"Progressing"},{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"Deployment has minimum availability.","reason":"MinimumReplicasAvailable","status":"True","type":"Available"}],"observedGeneration":1,"readyReplicas":2,"replicas":2,"terminatingReplicas":0}
        again in 601 s
    "#]],
    );
}

#[test]
fn a_rollout_that_stands_still_times_out() {
    let mut d = deployment(1, "b");
    d["status"] = json!({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "unavailableReplicas": 1,
        "terminatingReplicas": 0,
        "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetCreated",
            "lastUpdateTime": "2025-12-31T23:45:00Z", "lastTransitionTime": "2025-12-31T23:45:00Z"}]});
    check(
        [d, set("b", "b", 1, 1, 1, 0)],
        expect![[r#"
            update/status deployments.apps x/web {"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"Deployment does not have minimum availability.","reason":"MinimumReplicasUnavailable","status":"False","type":"Available"},{"lastTransitionTime":"2026-01-01T00:00:00Z","lastUpdateTime":"2026-01-01T00:00:00Z","message":"ReplicaSet \"web-b\" has timed out progressing.","reason":"ProgressDeadlineExceeded","status":"False","type":"Progressing"}],"observedGeneration":1,"replicas":1,"terminatingReplicas":0,"unavailableReplicas":1,"updatedReplicas":1}
        "#]],
    );
}

#[test]
fn a_replica_set_creates_deletes_adopts_and_lets_go() {
    let mut rs = set("a", "a", 1, 2, 2, 0);
    rs["metadata"]["ownerReferences"] = json!([]);
    let show = |objects: Vec<Value>, expect: Expect| {
        expect.assert_eq(&Scene::new(objects).show(&ReplicaSets, "x/web-a"));
    };
    show(
        vec![rs.clone(), pod("p1", "web-a", "Running")],
        expect![[r#"
        update/status replicasets.apps x/web-a {"fullyLabeledReplicas":1,"observedGeneration":1,"replicas":1,"terminatingReplicas":0}
        create pods x/ {"metadata":{"generateName":"web-a-","labels":{"app":"web","pod-template-hash":"a"},"ownerReferences":["ReplicaSet/web-a"]},"spec":{"containers":[{"image":"a","name":"c"}]}}
          ok: Normal SuccessfulCreate ReplicaSet/web-a Created pod: {}
          or: Warning FailedCreate ReplicaSet/web-a Error creating: {}
    "#]],
    );
    let mut orphan = pod("orphan", "", "Running");
    orphan["metadata"]["ownerReferences"] = json!([]);
    let mut stranger = pod("stranger", "web-a", "Running");
    stranger["metadata"]["labels"] = json!({"app": "other"});
    show(
        vec![rs.clone(), pod("p1", "web-a", "Running"), orphan, stranger],
        expect![[r#"
        patch pods x/stranger {"metadata":{"ownerReferences":[{"$patch":"delete","uid":"web-a-uid"}],"uid":"stranger-uid"}}
        patch pods x/orphan {"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","blockOwnerDeletion":true,"controller":true,"kind":"ReplicaSet","name":"web-a","uid":"web-a-uid"}],"uid":"orphan-uid"}}
        update/status replicasets.apps x/web-a {"fullyLabeledReplicas":2,"observedGeneration":1,"replicas":2,"terminatingReplicas":0}
    "#]],
    );
    let pods = ["Running", "Pending", "Failed", "Running"];
    let pods = pods.iter().enumerate().map(|(i, phase)| pod(&format!("p{i}"), "web-a", phase));
    show(
        [rs].into_iter().chain(pods).collect(),
        expect![[r#"
        update/status replicasets.apps x/web-a {"fullyLabeledReplicas":3,"observedGeneration":1,"replicas":3,"terminatingReplicas":0}
        delete pods x/p1
          ok: Normal SuccessfulDelete ReplicaSet/web-a Deleted pod: {}
          or: Warning FailedDelete ReplicaSet/web-a Error deleting: {}
    "#]],
    );
}

use super::{World, create, delete, pod, request, update};
use crate::{Operation, Request};
use expect_test::expect;
use meta::UserInfo;
use serde_json::{Value, json};
use std::sync::Arc;

fn world() -> World {
    let mut w = World::new();
    w.put("/namespaces", json!({"metadata": {"name": "kube-node-lease"}}));
    w.put("/nodes", json!({"metadata": {"name": "n1", "uid": "node-1"}}));
    let bound = |name: &str, node: &str| {
        json!({"metadata": {"name": name, "namespace": "dev", "uid": name}, "spec": {"nodeName": node,
            "volumes": [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"audience": "vault"}},
                {"serviceAccountToken": {"path": "token"}}]}}]}})
    };
    w.put("/pods", bound("mine", "n1"));
    w.put("/pods", bound("theirs", "n2"));
    w
}

fn as_node(mut r: Request) -> Request {
    r.user = Arc::new(UserInfo::new("system:node:n1", &["system:nodes", "system:authenticated"]));
    r
}

fn say(r: Request) -> String {
    world().say(as_node(r))
}

fn mirror(change: impl Fn(&mut Value)) -> Value {
    let mut v = pod(json!({"nodeName": "n1", "containers": [{"name": "c"}]}));
    v["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    v["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "node-1", "controller": true}]);
    change(&mut v);
    v
}

#[test]
fn only_mirror_pods_of_its_own() {
    let lines = [
        say(create("/pods", mirror(|_| {}))),
        say(create("/pods", pod(json!({"nodeName": "n1"})))),
        say(create("/pods", mirror(|v| v["spec"]["nodeName"] = "n2".into()))),
        say(create("/pods", mirror(|v| v["metadata"]["ownerReferences"] = json!([])))),
        say(create("/pods", mirror(|v| v["metadata"]["ownerReferences"][0]["uid"] = "x".into()))),
        say(create(
            "/pods",
            mirror(|v| v["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] = true.into()),
        )),
        say(create(
            "/pods",
            mirror(|v| v["spec"]["volumes"] = json!([{"name": "v", "configMap": {"name": "x"}}])),
        )),
        say(delete("/pods", json!({"metadata": {"name": "mine", "namespace": "dev"}}))),
        say(delete("/pods", json!({"metadata": {"name": "theirs", "namespace": "dev"}}))),
        say(delete("/pods", json!({"metadata": {"name": "none", "namespace": "dev"}}))),
        say(update("/pods", mirror(|_| {}), mirror(|_| {}))),
        say(create("/pods/exec", json!({"metadata": {"name": "mine"}}))),
        say(create("/pods/eviction", json!({"metadata": {"name": "theirs"}}))),
        say(create("/pods/eviction", json!({"metadata": {"name": "mine"}}))),
    ];
    expect![[r#"
        ok
        403 pods "p" is forbidden: pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods
        403 pods "p" is forbidden: node "n1" can only create pods with spec.nodeName set to itself
        403 pods "p" is forbidden: node "n1" can only create pods with an owner reference set to itself
        403 pods "p" is forbidden: node n1 UID mismatch: expected x got node-1
        403 pods "p" is forbidden: node "n1" must not set blockOwnerDeletion on an owner reference
        403 pods "p" is forbidden: node "n1" can not create pods that reference configmaps (via configmap volumes)
        ok
        403 pods "theirs" is forbidden: node "n1" can only delete pods with spec.nodeName set to itself
        404 pods "none" not found
        403 pods "p" is forbidden: unexpected operation "UPDATE", node "n1" can only create and delete mirror pods
        403 pods "mine" is forbidden: unexpected pod subresource "exec", only 'status' and 'eviction' are allowed
        403 pods "theirs" is forbidden: node n1 can only evict pods with spec.nodeName set to itself
        ok"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn status_of_its_own_pods() {
    let pod = |node: &str, labels: Value, claims: Value| json!({"metadata": {"name": "p", "labels": labels}, "spec": {"nodeName": node}, "status": {"resourceClaimStatuses": claims}});
    let lines = [
        say(update("/pods/status", pod("n1", json!({}), json!([])), pod("n1", json!({}), Value::Null))),
        say(update("/pods/status", pod("n2", json!({}), json!([])), pod("n2", json!({}), json!([])))),
        say(update("/pods/status", pod("n1", json!({"a": "b"}), json!([])), pod("n1", json!({}), json!([])))),
        say(update(
            "/pods/status",
            pod("n1", json!({}), json!([{"name": "x"}])),
            pod("n1", json!({}), json!([])),
        )),
    ];
    expect![[r#"
        ok
        403 pods "p" is forbidden: node "n1" can only update pod status for pods with spec.nodeName set to itself
        403 pods "p" is forbidden: node "n1" cannot update labels through pod status
        403 pods "p" is forbidden: node "n1" cannot update resource claim statues"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn its_own_node_without_steering() {
    let node = |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}, "spec": {}});
    let tainted = |taints: Value| json!({"metadata": {"name": "n1"}, "spec": {"taints": taints}});
    let mut adopted = node("n1", json!({}));
    adopted["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "y"}]);
    let lines = [
        say(create(
            "/nodes",
            node("n1", json!({"kubernetes.io/hostname": "n1", "node.kubernetes.io/x": "y", "team": "a"})),
        )),
        say(create(
            "/nodes",
            node("n1", json!({"node-restriction.kubernetes.io/x": "y", "foo.k8s.io/a": "b"})),
        )),
        say(create("/nodes", node("n2", json!({})))),
        say(update("/nodes", node("n1", json!({"team": "b"})), node("n1", json!({"team": "a"})))),
        say(update(
            "/nodes",
            node("n1", json!({})),
            node("n1", json!({"node-restriction.kubernetes.io/x": "y"})),
        )),
        say(update("/nodes", tainted(json!([])), tainted(json!([{"key": "k", "effect": "NoSchedule"}])))),
        say(update("/nodes/status", adopted, node("n1", json!({})))),
        say(delete("/nodes", node("n2", json!({})))),
    ];
    expect![[r#"
        ok
        403 nodes "n1" is forbidden: node "n1" is not allowed to set the following labels: foo.k8s.io/a, node-restriction.kubernetes.io/x
        403 nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2"
        ok
        403 nodes "n1" is forbidden: is not allowed to modify labels: node-restriction.kubernetes.io/x
        403 nodes "n1" is forbidden: node "n1" is not allowed to modify taints
        403 nodes "n1" is forbidden: node "n1" is not allowed to modify ownerReferences
        403 nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2""#]].assert_eq(&lines.join("\n"));
}

#[test]
fn leases_claims_slices() {
    let lease = |name: &str, ns: &str| {
        let mut r = create("coordination.k8s.io/leases", json!({"metadata": {"name": name}}));
        r.namespace = ns.into();
        r
    };
    let claim = |size: &str, phase: &str| json!({"metadata": {"name": "c", "resourceVersion": size}, "status": {"capacity": {"storage": size}, "phase": phase}});
    let slice = |node: &str| json!({"metadata": {"name": "s"}, "spec": {"nodeName": node}});
    let lines = [
        say(lease("n1", "kube-node-lease")),
        say(lease("n2", "kube-node-lease")),
        say(lease("n1", "dev")),
        say(update("/persistentvolumeclaims/status", claim("2Gi", "Bound"), claim("1Gi", "Bound"))),
        say(update("/persistentvolumeclaims/status", claim("2Gi", "Lost"), claim("1Gi", "Bound"))),
        say(update("/persistentvolumeclaims", claim("2Gi", "Bound"), claim("1Gi", "Bound"))),
        say(create("resource.k8s.io/resourceslices", slice("n1"))),
        say(create("resource.k8s.io/resourceslices", slice("n2"))),
        say(delete("resource.k8s.io/resourceslices", slice("n2"))),
    ];
    expect![[r#"
        ok
        403 leases.coordination.k8s.io "n2" is forbidden: can only access node lease with the same name as the requesting node
        403 leases.coordination.k8s.io "n1" is forbidden: can only access leases in the "kube-node-lease" system namespace
        ok
        403 persistentvolumeclaims "c" is forbidden: node "n1" is not allowed to update fields other than status.quantity and status.conditions
        403 persistentvolumeclaims "c" is forbidden: may only update PVC status
        ok
        403 resourceslices.resource.k8s.io "s" is forbidden: can only create ResourceSlice with the same NodeName as the requesting node
        403 resourceslices.resource.k8s.io "s" is forbidden: can only delete ResourceSlice with the same NodeName as the requesting node"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn tokens_of_its_own_pods() {
    let token = |pod: Value, audiences: Value| {
        let mut r = request(
            Operation::Create,
            "/serviceaccounts/token",
            Some(json!({"metadata": {"name": "web"},
            "spec": {"boundObjectRef": pod, "audiences": audiences}})),
            None,
        );
        r.name = "web".into();
        r
    };
    let bound = |name: &str, uid: &str| json!({"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid});
    let lines = [
        say(token(bound("mine", "mine"), json!([]))),
        say(token(bound("mine", "mine"), json!(["vault"]))),
        say(token(bound("mine", "mine"), json!(["other"]))),
        say(token(bound("mine", "mine"), json!(["a", "b"]))),
        say(token(bound("mine", ""), json!([]))),
        say(token(bound("mine", "x"), json!([]))),
        say(token(bound("theirs", "theirs"), json!([]))),
        say(token(Value::Null, json!([]))),
    ];
    expect![[r#"
        ok
        ok
        403 serviceaccounts "web" is forbidden: audience "other" not found in pod spec volume, system:node:n1 is not authorized to request tokens for this audience
        403 serviceaccounts "web" is forbidden: node may only request 0 or 1 audiences
        403 serviceaccounts "web" is forbidden: node requested token with a pod binding without a uid
        403 serviceaccounts "web" is forbidden: the UID in the bound object reference (x) does not match the UID in record. The object might have been deleted and then recreated
        403 serviceaccounts "web" is forbidden: node requested token bound to a pod scheduled on a different node
        403 serviceaccounts "web" is forbidden: node requested token not bound to a pod"#]].assert_eq(&lines.join("\n"));
}

#[test]
fn agents_must_say_which_node_they_are() {
    let mut r = create("/configmaps", json!({"metadata": {"name": "m"}}));
    r.user = Arc::new(UserInfo::new("system:node:", &["system:nodes"]));
    expect![[r#"403 configmaps "m" is forbidden: could not determine node from user "system:node:""#]]
        .assert_eq(&world().say(r));
}

use crate::{Attributes, Authorizer, UserInfo};
use expect_test::{Expect, expect};
use meta::Object;
use serde_json::{Value, json};
use std::sync::Arc;

fn object(v: Value) -> Object {
    Object::from_value(v).unwrap()
}

fn pod(name: &str, node: &str) -> Object {
    object(json!({"metadata": {"name": name, "namespace": "ns", "uid": name}, "spec": {
        "nodeName": node, "serviceAccountName": "sa", "imagePullSecrets": [{"name": "pull"}],
        "containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "env"}}],
            "env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}}]}],
        "volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "e", "ephemeral": {"volumeClaimTemplate": {}}},
            {"name": "p", "projected": {"sources": [{"configMap": {"name": "kube-root-ca.crt"}}, {"secret": {"name": "proj"}}]}}]}}))
}

fn cluster() -> Authorizer {
    let a = Authorizer::new();
    a.put("", "pods", &pod("web", "n1"));
    let mut mirror = pod("mirror", "n2");
    mirror.metadata.annotations.insert("kubernetes.io/config.mirror".into(), "x".into());
    a.put("", "pods", &mirror);
    a.put("", "persistentvolumes", &object(json!({"metadata": {"name": "pv"}, "spec": {
        "claimRef": {"namespace": "ns", "name": "data"}, "csi": {"nodeStageSecretRef": {"name": "stage", "namespace": "csi"}}}})));
    a
}

fn ask(a: &Authorizer, node: &str, verb: &str, resource: &str, ns: &str, name: &str, fields: &str) -> String {
    let user = Arc::new(UserInfo::new(&format!("system:node:{node}"), &["system:nodes"]));
    let (group, resource) = resource.rsplit_once(':').unwrap_or(("", resource));
    let mut attributes = Attributes::resource(&user, verb, group, resource).namespace(ns).name(name);
    attributes.field_selector = fields.to_owned();
    let decision = a.authorize(&attributes);
    if decision.is_allowed() { "yes".to_owned() } else { format!("no: {}", decision.reason()) }
}

fn table(a: &Authorizer, rows: &[(&str, &str, &str, &str, &str, &str)], expected: Expect) {
    let lines: Vec<String> = rows
        .iter()
        .map(|(node, verb, resource, ns, name, fields)| {
            let line = ask(a, node, verb, resource, ns, name, fields);
            format!("{node} {verb} {resource} {ns}/{name} {fields}-> {line}\n")
        })
        .collect();
    expected.assert_eq(&lines.concat());
}

#[test]
fn reads_only_what_its_pods_refer_to() {
    table(
        &cluster(),
        &[
            ("n1", "get", "secrets", "ns", "key", ""),
            ("n1", "get", "secrets", "ns", "pull", ""),
            ("n1", "get", "secrets", "ns", "proj", ""),
            ("n1", "get", "secrets", "csi", "stage", ""),
            ("n1", "watch", "configmaps", "ns", "env", ""),
            ("n1", "get", "configmaps", "ns", "kube-root-ca.crt", ""),
            ("n1", "get", "persistentvolumeclaims", "ns", "data", ""),
            ("n1", "get", "persistentvolumeclaims", "ns", "web-e", ""),
            ("n1", "get", "persistentvolumes", "", "pv", ""),
            ("n1", "create", "serviceaccounts/token", "ns", "sa", ""),
            ("n1", "get", "secrets", "ns", "other", ""),
            ("n1", "get", "secrets", "other", "key", ""),
            ("n1", "list", "secrets", "ns", "", ""),
            ("n1", "update", "secrets", "ns", "key", ""),
            ("n2", "get", "secrets", "ns", "key", ""),
            ("n2", "get", "secrets", "csi", "stage", ""),
            ("n2", "create", "serviceaccounts/token", "ns", "sa", ""),
        ],
        expect![[r#"
            n1 get secrets ns/key -> yes
            n1 get secrets ns/pull -> yes
            n1 get secrets ns/proj -> yes
            n1 get secrets csi/stage -> yes
            n1 watch configmaps ns/env -> yes
            n1 get configmaps ns/kube-root-ca.crt -> yes
            n1 get persistentvolumeclaims ns/data -> yes
            n1 get persistentvolumeclaims ns/web-e -> yes
            n1 get persistentvolumes /pv -> yes
            n1 create serviceaccounts/token ns/sa -> yes
            n1 get secrets ns/other -> no: no relationship found between node 'n1' and this object
            n1 get secrets other/key -> no: no relationship found between node 'n1' and this object
            n1 list secrets ns/ -> no: No Object name found
            n1 update secrets ns/key -> no: can only read resources of this type
            n2 get secrets ns/key -> no: no relationship found between node 'n2' and this object
            n2 get secrets csi/stage -> no: no relationship found between node 'n2' and this object
            n2 create serviceaccounts/token ns/sa -> no: no relationship found between node 'n2' and this object
        "#]],
    );
}

#[test]
fn pods_nodes_leases() {
    table(
        &cluster(),
        &[
            ("n1", "list", "pods", "", "", "spec.nodeName=n1"),
            ("n1", "watch", "pods", "", "", "status.phase!=Failed,spec.nodeName==n1"),
            ("n1", "watch", "pods", "", "", "spec.nodeName!=n1"),
            ("n1", "list", "pods", "", "", "spec.nodeName=n2"),
            ("n1", "get", "pods", "ns", "web", ""),
            ("n1", "get", "pods", "ns", "mirror", ""),
            ("n2", "get", "pods", "ns", "mirror", ""),
            ("n1", "patch", "pods/status", "ns", "web", ""),
            ("n1", "create", "pods/exec", "ns", "web", ""),
            ("n1", "get", "nodes", "", "n1", ""),
            ("n1", "get", "nodes", "", "n2", ""),
            ("n1", "list", "nodes", "", "", ""),
            ("n1", "list", "nodes", "", "n1", ""),
            ("n1", "delete", "nodes", "", "n1", ""),
            ("n1", "update", "coordination.k8s.io:leases", "kube-node-lease", "n1", ""),
            ("n1", "update", "coordination.k8s.io:leases", "kube-node-lease", "n2", ""),
            ("n1", "get", "coordination.k8s.io:leases", "default", "n1", ""),
            ("n1", "list", "services", "", "", ""),
            ("n1", "create", "events", "ns", "", ""),
            ("n1", "delete", "services", "ns", "x", ""),
            ("", "list", "services", "", "", ""),
        ],
        expect![[r#"
            n1 list pods / spec.nodeName=n1-> yes
            n1 watch pods / status.phase!=Failed,spec.nodeName==n1-> yes
            n1 watch pods / spec.nodeName!=n1-> no: can only list/watch pods with spec.nodeName field selector
            n1 list pods / spec.nodeName=n2-> no: can only list/watch pods with spec.nodeName field selector
            n1 get pods ns/web -> yes
            n1 get pods ns/mirror -> no: no relationship found between node 'n1' and this object
            n2 get pods ns/mirror -> yes
            n1 patch pods/status ns/web -> yes
            n1 create pods/exec ns/web -> no: 
            n1 get nodes /n1 -> yes
            n1 get nodes /n2 -> no: node 'n1' cannot read 'n2', only its own Node object
            n1 list nodes / -> no: node 'n1' cannot read all nodes, only its own Node object
            n1 list nodes /n1 -> yes
            n1 delete nodes /n1 -> no: 
            n1 update coordination.k8s.io:leases kube-node-lease/n1 -> yes
            n1 update coordination.k8s.io:leases kube-node-lease/n2 -> no: can only access node lease with the same name as the requesting node
            n1 get coordination.k8s.io:leases default/n1 -> no: can only access leases in the "kube-node-lease" system namespace
            n1 list services / -> yes
            n1 create events ns/ -> yes
            n1 delete services ns/x -> no: 
             list services / -> no: unknown node for user "system:node:"
        "#]],
    );
}

#[test]
fn forgets_deleted_pods() {
    let a = cluster();
    a.put("", "pods", &pod("web2", "n1"));
    a.delete("", "pods", "ns", "web");
    assert_eq!(ask(&a, "n1", "get", "secrets", "ns", "key", ""), "yes");
    a.delete("", "pods", "ns", "web2");
    assert!(ask(&a, "n1", "get", "secrets", "ns", "key", "").starts_with("no"));
    assert!(ask(&a, "n1", "get", "persistentvolumes", "", "pv", "").starts_with("no"));
}

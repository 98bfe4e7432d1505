//! What became CVEs elsewhere, tried here.

use super::World;
use serde_json::json;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn define(w: &World, plural: &str, kind: &str, scope: &str) {
    let crd = json!({"metadata": {"name": format!("{plural}.example.com")}, "spec": {"group": "example.com", "scope": scope,
        "names": {"plural": plural, "kind": kind}, "versions": [{"name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    w.ok(&format!("POST {CRDS}\n\n{crd}"));
}

fn names(w: &World, path: &str) -> Vec<String> {
    let v = w.ok(&format!("GET {path}"));
    let items = v["items"].as_array().cloned().unwrap_or_default();
    items.iter().map(|i| i["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
}

/// CVE-2022-3162: a list shows what is in its place, not what is in a place whose name begins alike.
#[test]
fn no_list_leaks_by_the_beginning_of_a_name() {
    let w = World::new();
    for namespace in ["a", "a2"] {
        w.ok(&format!("POST /api/v1/namespaces\n\n{{\"metadata\":{{\"name\":\"{namespace}\"}}}}"));
        let path = format!("/api/v1/namespaces/{namespace}/configmaps");
        w.ok(&format!("POST {path}\n\n{{\"metadata\":{{\"name\":\"in-{namespace}\"}}}}"));
    }
    assert_eq!(names(&w, "/api/v1/namespaces/a/configmaps"), ["in-a"]);
    define(&w, "cars", "Car", "Namespaced");
    define(&w, "carsx", "Carx", "Namespaced");
    for plural in ["cars", "carsx"] {
        let path = format!("/apis/example.com/v1/namespaces/a/{plural}");
        w.ok(&format!("POST {path}\n\n{{\"metadata\":{{\"name\":\"one-of-{plural}\"}}}}"));
    }
    assert_eq!(names(&w, "/apis/example.com/v1/cars"), ["one-of-cars"]);
    for token in ["../carsx/", "/../carsx", "..", "a/../../carsx/a"] {
        use base64::Engine as _;
        let text = json!({"v": "meta.k8s.io/v1", "rv": 1, "start": token}).to_string();
        let token = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(text);
        let (code, body, _) =
            w.ask(&format!("GET /apis/example.com/v1/namespaces/a/cars?limit=5&continue={token}"));
        assert!(code == 400 || code == 410, "{code} {body}");
        assert!(!body.contains("one-of-carsx"), "{body}");
    }
}

/// CVE-2019-11247: what is of the cluster isn't reached by the path of a namespace, nor the other way round.
#[test]
fn scopes_are_kept_apart() {
    let w = World::new();
    define(&w, "planets", "Planet", "Cluster");
    define(&w, "moons", "Moon", "Namespaced");
    w.ok("POST /apis/example.com/v1/planets\n\n{\"metadata\":{\"name\":\"a\"}}");
    w.ok("POST /apis/example.com/v1/namespaces/default/moons\n\n{\"metadata\":{\"name\":\"a\"}}");
    for line in [
        "GET /apis/example.com/v1/namespaces/default/planets/a",
        "GET /apis/example.com/v1/namespaces/default/planets",
        "DELETE /apis/example.com/v1/namespaces/default/planets/a",
        "POST /apis/example.com/v1/namespaces/default/planets\n\n{\"metadata\":{\"name\":\"b\"}}",
        "GET /apis/example.com/v1/moons/a",
        "GET /api/v1/namespaces/default%2Fconfigmaps%2Fa",
        "GET /api/v1/namespaces/default/../../v1/nodes",
        "GET /api/v1/namespaces/%2e%2e/nodes",
    ] {
        let (code, body, _) = w.ask(line);
        assert!((400..500).contains(&code), "{line}: {code} {body}");
    }
    assert_eq!(names(&w, "/apis/example.com/v1/planets"), ["a"]);
}

/// CVE-2019-1002100: a patch has a bounded number of operations, and copies a bounded number of bytes.
#[test]
fn patches_are_bounded() {
    let w = World::new();
    let cm = "/api/v1/namespaces/default/configmaps";
    let data = "x".repeat(100_000);
    w.ok(&format!("POST {cm}\n\n{{\"metadata\":{{\"name\":\"a\"}},\"data\":{{\"k\":\"{data}\"}}}}"));
    let patch = |ops: Vec<serde_json::Value>| {
        let body = serde_json::Value::from(ops);
        w.ask(&format!("PATCH {cm}/a\nContent-Type: application/json-patch+json\n\n{body}"))
    };
    let (code, body, _) = patch(vec![json!({"op": "test", "path": "/kind", "value": "ConfigMap"}); 10_001]);
    assert_eq!(code, 413, "{body:.300}");
    let copies = (0..40).map(|i| json!({"op": "copy", "from": "/data/k", "path": format!("/data/k{i}")}));
    let (code, body, _) = patch(copies.collect());
    assert_eq!(code, 422, "{body:.300}");
}

/// CVE-2023-2727, CVE-2024-3177: what is added to a pod afterwards passes the same policies.
#[test]
fn ephemeral_containers_pass_the_policies_too() {
    let w = World::with(admission::default_chain());
    let labels =
        json!({"metadata": {"name": "safe", "labels": {"pod-security.kubernetes.io/enforce": "baseline"}}});
    w.ok(&format!("POST /api/v1/namespaces\n\n{labels}"));
    w.ok("POST /api/v1/namespaces/safe/serviceaccounts\n\n{\"metadata\":{\"name\":\"default\"}}");
    let pods = "/api/v1/namespaces/safe/pods";
    w.ok(&format!(
        "POST {pods}\n\n{}",
        json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    ));
    let debug = json!({"spec": {"ephemeralContainers": [
        {"name": "d", "image": "i", "securityContext": {"privileged": true}}]}});
    let media = "Content-Type: application/strategic-merge-patch+json";
    let (code, body, _) = w.ask(&format!("PATCH {pods}/a/ephemeralcontainers\n{media}\n\n{debug}"));
    assert_eq!(code, 403, "{body}");
    assert!(body.contains("violates PodSecurity"), "{body}");
}

/// CVE-2020-8554 and CVE-2021-25735 in the small: a write sees the true object, and what is refused changes nothing.
#[test]
fn a_status_carries_nothing_but_status() {
    let w = World::new();
    w.ok("POST /api/v1/nodes\n\n{\"metadata\":{\"name\":\"n\"},\"spec\":{\"unschedulable\":true}}");
    let body = json!({"metadata": {"name": "n", "uid": ""}, "spec": {"unschedulable": false, "taints": []},
        "status": {"phase": "Running"}});
    w.ok(&format!("PUT /api/v1/nodes/n/status\n\n{body}"));
    let v = w.ok("GET /api/v1/nodes/n");
    assert_eq!(
        (&v["spec"]["unschedulable"], &v["status"]["phase"]),
        (&true.into(), &"Running".into()),
        "{v}"
    );
}

//! Create, get, list, update, delete; who may; what is discovered.

use super::World;
use expect_test::expect;

const CM: &str = "/api/v1/namespaces/default/configmaps";

fn create(w: &World, name: &str, rest: &str) {
    w.ok(&format!("POST {CM}\n\n{{\"metadata\":{{\"name\":\"{name}\"{rest}}}}}"));
}

#[test]
fn a_config_map_lives_and_dies() {
    let w = World::new();
    w.check(
        &format!("POST {CM}\n\n{{\"metadata\":{{\"name\":\"a\",\"labels\":{{\"x\":\"y\"}}}},\"data\":{{\"k\":\"v\"}}}}"),
        expect![[]],
    );
    w.fails(&format!("POST {CM}\n\n{{\"metadata\":{{\"name\":\"a\"}}}}"), expect![[]]);
    w.check(&format!("GET {CM}/a"), expect![[]]);
    w.check(
        &format!("PUT {CM}/a\n\n{{\"metadata\":{{\"name\":\"a\"}},\"data\":{{\"k\":\"w\"}}}}"),
        expect![[]],
    );
    w.fails(
        &format!("PUT {CM}/a\n\n{{\"metadata\":{{\"name\":\"a\",\"resourceVersion\":\"1\"}},\"data\":{{}}}}"),
        expect![[]],
    );
    w.fails(&format!("PUT {CM}/a\n\n{{\"metadata\":{{\"name\":\"b\"}}}}"), expect![[]]);
    w.check(&format!("DELETE {CM}/a"), expect![[]]);
    w.fails(&format!("GET {CM}/a"), expect![[]]);
    w.fails(&format!("DELETE {CM}/a"), expect![[]]);
}

#[test]
fn names_are_generated_and_namespaces_must_fit() {
    let w = World::new();
    let v = w.ok(&format!("POST {CM}\n\n{{\"metadata\":{{\"generateName\":\"web-\"}}}}"));
    let name = v["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
    w.fails(&format!("POST {CM}\n\n{{\"metadata\":{{}}}}"), expect![[]]);
    w.fails(&format!("POST {CM}\n\n{{\"metadata\":{{\"name\":\"A_b\"}}}}"), expect![[]]);
    w.fails(&format!("POST {CM}\n\n{{\"metadata\":{{\"name\":\"a\",\"namespace\":\"other\"}}}}"), expect![[]]);
    w.fails(&format!("POST {CM}\n\n{{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}}"), expect![[]]);
    w.fails(&format!("POST {CM}\n\n{{\"apiVersion\":\"v2\"}}"), expect![[]]);
    w.fails(&format!("POST {CM}\n\n[1]"), expect![[]]);
    w.fails(&format!("POST {CM}\n\n{{"), expect![[]]);
    w.fails(&format!("POST {CM}\nContent-Type: text/html\n\n{{}}"), expect![[]]);
    w.fails("GET /api/v1/namespaces/default/nodes", expect![[]]);
    w.fails("POST /api/v1/configmaps\n\n{}", expect![[]]);
    w.fails("GET /apis/nope/v1/things", expect![[]]);
    w.fails("GET /api/v1/namespaces/default/configmaps/a/status", expect![[]]);
}

#[test]
fn unknown_fields_are_warned_of_or_refused() {
    let w = World::new();
    let body = r#"{"metadata":{"name":"a","foo":1},"data":{"k":"v"},"bar":{},"data":{"l":"m"}}"#;
    w.fails(&format!("POST {CM}?fieldValidation=Strict\n\n{body}"), expect![[]]);
    w.check(&format!("POST {CM}?dryRun=All\n\n{body}"), expect![[]]);
    w.check(&format!("POST {CM}?dryRun=All&fieldValidation=Ignore\n\n{body}"), expect![[]]);
    w.fails(&format!("POST {CM}\n\n{{\"metadata\":{{\"name\":\"a\"}},\"data\":{{\"k\":1}}}}"), expect![[]]);
    w.fails(&format!("POST {CM}?dryRun=Some\n\n{body}"), expect![[]]);
}

#[test]
fn lists_are_paged_and_selected() {
    let w = World::new();
    for name in ["a", "b", "c"] {
        create(&w, name, &format!(",\"labels\":{{\"n\":\"{name}\"}}"));
    }
    let names = |v: &serde_json::Value| -> String {
        v["items"].as_array().unwrap().iter().map(|i| i["metadata"]["name"].as_str().unwrap().to_owned() + " ").collect()
    };
    let first = w.ok(&format!("GET {CM}?limit=2"));
    assert_eq!((names(&first).as_str(), &first["metadata"]["remainingItemCount"]), ("a b ", &1.into()));
    let token = first["metadata"]["continue"].as_str().unwrap();
    create(&w, "d", "");
    let second = w.ok(&format!("GET {CM}?limit=2&continue={token}"));
    assert_eq!(names(&second), "c ", "a page is of the first page's revision");
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    assert_eq!(names(&w.ok(&format!("GET {CM}?labelSelector=n+in+(a,c)"))), "a c ");
    assert_eq!(names(&w.ok(&format!("GET {CM}?fieldSelector=metadata.name%3Db"))), "b ");
    assert_eq!(names(&w.ok("GET /api/v1/configmaps?labelSelector=n")), "a b c ");
    w.fails(&format!("GET {CM}?fieldSelector=spec.x%3Db"), expect![[]]);
    w.fails(&format!("GET {CM}?labelSelector=a%3D%3D%3Db"), expect![[]]);
    w.fails(&format!("GET {CM}?resourceVersion=100000&resourceVersionMatch=NotOlderThan"), expect![[]]);
    w.server.store.compact(w.server.store.revision());
    w.check(&format!("GET {CM}?limit=2&continue={token}"), expect![[]]);
    w.fails(&format!("GET {CM}?resourceVersion=1&resourceVersionMatch=Exact"), expect![[]]);
}

#[test]
fn shapes() {
    let w = World::new();
    create(&w, "a", "");
    let table = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    w.check(&format!("GET {CM}\n{table}"), expect![[]]);
    w.check(&format!("GET {CM}/a?includeObject=None\n{table}"), expect![[]]);
    let partial = "Accept: application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    w.check(&format!("GET {CM}\n{partial}"), expect![[]]);
    w.check(&format!("GET {CM}/a\nAccept: application/yaml"), expect![[]]);
    w.fails(&format!("GET {CM}/a\nAccept: application/vnd.kubernetes.protobuf"), expect![[]]);
    let (_, text, _) = w.ask(&format!("GET {CM}?pretty=true"));
    assert!(text.starts_with("{\n  \"kind\": \"ConfigMapList\""), "{text}");
}

#[test]
fn deletions_wait_for_finalizers_and_heed_preconditions() {
    let w = World::new();
    create(&w, "a", ",\"finalizers\":[\"x/y\"]");
    w.fails(&format!("DELETE {CM}/a\n\n{{\"preconditions\":{{\"uid\":\"no\"}}}}"), expect![[]]);
    w.check(&format!("DELETE {CM}/a"), expect![[]]);
    w.check(
        &format!("PATCH {CM}/a\nContent-Type: application/merge-patch+json\n\n{{\"metadata\":{{\"finalizers\":null}}}}"),
        expect![[]],
    );
    w.fails(&format!("GET {CM}/a"), expect![[]]);
    create(&w, "b", "");
    let v = w.ok(&format!("DELETE {CM}/b?propagationPolicy=Foreground"));
    assert_eq!(v["metadata"]["finalizers"], serde_json::json!(["foregroundDeletion"]));
    create(&w, "c", "");
    create(&w, "d", "");
    let v = w.ok(&format!("DELETE {CM}?fieldSelector=metadata.name%21%3Db"));
    assert_eq!(v["kind"], "ConfigMapList");
    let left = w.ok(&format!("GET {CM}"));
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
}

#[test]
fn nobody_gets_past_authorization() {
    let w = World::new();
    w.fails(&format!("jane@GET {CM}"), expect![[]]);
    w.fails(&format!("anonymous@GET {CM}/a"), expect![[]]);
    w.fails("jane@GET /metrics", expect![[]]);
    w.check("anonymous@GET /readyz", expect![[]]);
    w.fails(&format!("GET {CM}\nAuthorization: Bearer nonsense\nImpersonate-User: jane"), expect![[]]);
    w.ok("POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings\n\n{\"metadata\":{\"name\":\"b\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"view\"},\"subjects\":[{\"kind\":\"User\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"jane\"}]}");
    w.ok(&format!("jane@GET {CM}"));
    w.fails(&format!("jane@POST {CM}\n\n{{}}"), expect![[]]);
    w.check("jane@POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews\n\n{\"spec\":{\"resourceAttributes\":{\"verb\":\"list\",\"resource\":\"pods\",\"namespace\":\"default\"}}}", expect![[]]);
    w.check("jane@POST /apis/authentication.k8s.io/v1/selfsubjectreviews\n\n{}", expect![[]]);
}

#[test]
fn every_cluster_has_these() {
    let w = World::new();
    let v = w.ok("GET /api/v1/namespaces");
    let names: Vec<_> = v["items"].as_array().unwrap().iter().map(|i| i["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["default", "kube-node-lease", "kube-public", "kube-system"]);
    w.check("GET /api/v1/namespaces/default/services/kubernetes", expect![[]]);
    w.check("GET /version", expect![[]]);
    let v = w.ok("GET /apis\nAccept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    assert_eq!(v["kind"], "APIGroupDiscoveryList");
    assert!(v["items"].as_array().unwrap().len() > 15);
    let v = w.ok("GET /apis/apps/v1");
    assert_eq!(v["groupVersion"], "apps/v1");
    w.check("GET /readyz?verbose", expect![[]]);
}

//! Status, scale, binding, eviction, tokens, services' addresses.

use super::World;
use expect_test::expect;

const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(w: &World, name: &str) {
    w.ok(&format!("POST {PODS}\n\n{{\"metadata\":{{\"name\":\"{name}\",\"labels\":{{\"app\":\"web\"}}}},\"spec\":{{\"containers\":[{{\"name\":\"c\",\"image\":\"x\"}}]}}}}"));
}

#[test]
fn a_pod_is_bound_runs_and_is_deleted_with_grace() {
    let w = World::new();
    pod(&w, "a");
    let bind = r#"{"metadata":{"name":"a"},"target":{"kind":"Node","name":"n1"}}"#;
    w.ok(&format!("PATCH {PODS}/a/status\nContent-Type: application/merge-patch+json\n\n{{\"status\":{{\"nominatedNodeName\":\"n2\"}}}}"));
    w.check(
        &format!("POST {PODS}/a/binding\n\n{bind}"),
        expect![[r#"
        201
        {"apiVersion":"v1","code":201,"kind":"Status","metadata":{},"status":"Success"}"#]],
    );
    w.fails(&format!("POST {PODS}/a/binding\n\n{bind}"), expect![[r#"409 Conflict: Operation cannot be fulfilled on pods/binding "a": pod a is already assigned to node "n1""#]]);
    let v = w.ok(&format!("PATCH {PODS}/a/status\nContent-Type: application/merge-patch+json\n\n{{\"status\":{{\"phase\":\"Running\"}},\"spec\":{{\"nodeName\":\"n2\"}}}}"));
    assert_eq!((&v["status"]["phase"], &v["spec"]["nodeName"]), (&"Running".into(), &"n1".into()));
    assert_eq!(v["status"]["nominatedNodeName"], serde_json::Value::Null);
    assert_eq!(v["status"]["conditions"][0]["type"], "PodScheduled");
    assert_eq!(v["status"]["conditions"][0]["observedGeneration"], serde_json::Value::Null);
    let v = w.ok(&format!("GET {PODS}?fieldSelector=spec.nodeName%3Dn1,status.phase%3DRunning"));
    assert_eq!(v["items"].as_array().unwrap().len(), 1);
    let v = w.ok(&format!("DELETE {PODS}/a"));
    assert_eq!(v["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(v["metadata"]["deletionTimestamp"], "2025-06-15T15:07:10Z");
    let v = w.ok(&format!("DELETE {PODS}/a?gracePeriodSeconds=0"));
    assert_eq!(v["kind"], "Pod");
    w.fails(&format!("GET {PODS}/a"), expect![[r#"404 NotFound: pods "a" not found"#]]);
    pod(&w, "b");
    w.ok(&format!("DELETE {PODS}/b"));
    w.fails(&format!("GET {PODS}/b"), expect![[r#"404 NotFound: pods "b" not found"#]]);
}

#[test]
fn evictions_heed_budgets() {
    let w = World::new();
    pod(&w, "a");
    w.ok(&format!(
        "POST {PODS}/a/binding\n\n{{\"metadata\":{{\"name\":\"a\"}},\"target\":{{\"name\":\"n1\"}}}}"
    ));
    w.ok(&format!("PATCH {PODS}/a/status\nContent-Type: application/merge-patch+json\n\n{{\"status\":{{\"phase\":\"Running\",\"conditions\":[{{\"type\":\"Ready\",\"status\":\"True\"}}]}}}}"));
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    w.ok(&format!("POST {budgets}\n\n{{\"metadata\":{{\"name\":\"b\"}},\"spec\":{{\"minAvailable\":1,\"selector\":{{\"matchLabels\":{{\"app\":\"web\"}}}}}}}}"));
    let evict = format!(
        "POST {PODS}/a/eviction\n\n{{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{{\"name\":\"a\"}}}}"
    );
    w.check(&evict, expect![[r#"
        429
        {"apiVersion":"v1","code":429,"details":{"causes":[{"message":"The disruption budget b is still being processed by the server.","reason":"DisruptionBudget"}],"retryAfterSeconds":10},"kind":"Status","message":"Cannot evict pod as it would violate the pod's disruption budget.","metadata":{},"reason":"TooManyRequests","status":"Failure"}"#]]);
    w.ok(&format!("PATCH {budgets}/b/status\nContent-Type: application/merge-patch+json\n\n{{\"status\":{{\"observedGeneration\":1,\"disruptionsAllowed\":0,\"currentHealthy\":1,\"desiredHealthy\":1,\"expectedPods\":1}}}}"));
    w.check(&evict, expect![[r#"
        429
        {"apiVersion":"v1","code":429,"details":{"causes":[{"message":"The disruption budget b needs 1 healthy pods and has 1 currently","reason":"DisruptionBudget"}]},"kind":"Status","message":"Cannot evict pod as it would violate the pod's disruption budget.","metadata":{},"reason":"TooManyRequests","status":"Failure"}"#]]);
    w.ok(&format!("PATCH {budgets}/b/status\nContent-Type: application/merge-patch+json\n\n{{\"status\":{{\"disruptionsAllowed\":1}}}}"));
    w.check(
        &evict,
        expect![[r#"
        201
        {"apiVersion":"v1","code":201,"kind":"Status","metadata":{},"status":"Success"}"#]],
    );
    let v = w.ok(&format!("GET {budgets}/b"));
    assert_eq!(v["status"]["disruptionsAllowed"], 0);
    let gone = w.ok(&format!("GET {PODS}/a"));
    let told =
        gone["status"]["conditions"].as_array().unwrap().iter().find(|c| c["type"] == "DisruptionTarget");
    assert_eq!(told.unwrap()["reason"], "EvictionByEvictionAPI");
    assert!(gone["metadata"]["deletionTimestamp"].is_string());
}

#[test]
fn scale_is_a_view() {
    let w = World::new();
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    w.ok(&format!("POST {deployments}\n\n{{\"metadata\":{{\"name\":\"web\"}},\"spec\":{{\"selector\":{{\"matchLabels\":{{\"app\":\"web\"}}}},\"template\":{{\"metadata\":{{\"labels\":{{\"app\":\"web\"}}}},\"spec\":{{\"containers\":[{{\"name\":\"c\",\"image\":\"x\"}}]}}}}}}}}"));
    w.check(&format!("GET {deployments}/web/scale"), expect![[r#"
        200
        {"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","name":"web","namespace":"default","resourceVersion":"+1","uid":"UID"},"spec":{"replicas":1},"status":{"replicas":0,"selector":"app=web"}}"#]]);
    w.check(&format!("PATCH {deployments}/web/scale\nContent-Type: application/merge-patch+json\n\n{{\"spec\":{{\"replicas\":5}}}}"), expect![[r#"
        200
        {"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","name":"web","namespace":"default","resourceVersion":"+2","uid":"UID"},"spec":{"replicas":5},"status":{"replicas":0,"selector":"app=web"}}"#]]);
    w.fails(&format!("PUT {deployments}/web/scale\n\n{{\"metadata\":{{\"name\":\"web\",\"namespace\":\"default\"}},\"spec\":{{\"replicas\":-1}}}}"), expect![[r#"422 Invalid: Scale.autoscaling "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"#]]);
    assert_eq!(w.ok(&format!("GET {deployments}/web"))["spec"]["replicas"], 5);
}

#[test]
fn services_get_addresses_and_ports() {
    let w = World::new();
    let services = "/api/v1/namespaces/default/services";
    let make = |name: &str, spec: &str| {
        format!(
            "POST {services}\n\n{{\"metadata\":{{\"name\":\"{name}\"}},\"spec\":{{\"ports\":[{{\"port\":80{}}}]}}}}",
            spec
        )
    };
    let v = w.ok(&make("a", ""));
    assert!(v["spec"]["clusterIP"].as_str().unwrap().starts_with("10.96.0."), "{v}");
    let fixed = |name: &str, ip: &str| {
        format!(
            "POST {services}\n\n{{\"metadata\":{{\"name\":\"{name}\"}},\"spec\":{{\"clusterIP\":\"{ip}\",\"ports\":[{{\"port\":80}}]}}}}"
        )
    };
    w.fails(&fixed("b", "10.96.0.1"), expect![[r#"422 Invalid: Service "b" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.1"]: failed to allocate IP 10.96.0.1: provided IP is already allocated"#]]);
    w.fails(&fixed("b", "10.1.0.1"), expect![[r#"422 Invalid: Service "b" is invalid: spec.clusterIPs: Invalid value: ["10.1.0.1"]: failed to allocate IP 10.1.0.1: the provided IP (10.1.0.1) is not in the valid range. The range of valid IPs is 10.96.0.0/24"#]]);
    w.ok(&fixed("b", "10.96.0.7"));
    w.ok(&format!("DELETE {services}/b"));
    w.ok(&fixed("c", "10.96.0.7"));
    let node_port = |name: &str, port: &str| {
        format!(
            "POST {services}\n\n{{\"metadata\":{{\"name\":\"{name}\"}},\"spec\":{{\"type\":\"NodePort\",\"ports\":[{{\"port\":80,\"nodePort\":{port}}}]}}}}"
        )
    };
    w.ok(&node_port("d", "30080"));
    w.fails(&node_port("e", "30080"), expect![[r#"422 Invalid: Service "e" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"#]]);
    w.fails(&node_port("e", "80"), expect![[r#"422 Invalid: Service "e" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports is 30000-32767"#]]);
    let v = w.ok(&format!("POST {services}?dryRun=All\n\n{{\"metadata\":{{\"name\":\"f\"}},\"spec\":{{\"type\":\"NodePort\",\"ports\":[{{\"port\":80}}]}}}}"));
    assert!(v["spec"]["ports"][0]["nodePort"].as_u64().unwrap() >= 30000);
}

#[test]
fn tokens_are_made_and_taken() {
    let w = World::new();
    w.ok("POST /api/v1/namespaces/default/serviceaccounts\n\n{\"metadata\":{\"name\":\"bot\"}}");
    let v = w.ok("POST /api/v1/namespaces/default/serviceaccounts/bot/token\n\n{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":\"TokenRequest\",\"spec\":{}}");
    let token = v["status"]["token"].as_str().unwrap();
    let v = w.ok(&format!("anonymous@POST /apis/authentication.k8s.io/v1/selfsubjectreviews\nAuthorization: Bearer {token}\n\n{{}}"));
    assert_eq!(v["status"]["userInfo"]["username"], "system:serviceaccount:default:bot");
    w.fails("anonymous@GET /api\nAuthorization: Bearer nonsense", expect!["401 Unauthorized: Unauthorized"]);
}

#[test]
fn namespaces_end_when_their_finalizers_are_gone() {
    let w = World::new();
    w.ok("POST /api/v1/namespaces\n\n{\"metadata\":{\"name\":\"x\"}}");
    w.check("DELETE /api/v1/namespaces/x", expect![[r#"
        200
        {"apiVersion":"v1","kind":"Namespace","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","deletionTimestamp":"2025-06-15T15:06:40Z","labels":{"kubernetes.io/metadata.name":"x"},"name":"x","resourceVersion":"+2","uid":"UID"},"spec":{"finalizers":["kubernetes"]},"status":{"phase":"Terminating"}}"#]]);
    w.check("PUT /api/v1/namespaces/x/finalize\n\n{\"metadata\":{\"name\":\"x\"},\"spec\":{\"finalizers\":[]}}", expect![[r#"
        200
        {"apiVersion":"v1","kind":"Namespace","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","deletionTimestamp":"2025-06-15T15:06:40Z","labels":{"kubernetes.io/metadata.name":"x"},"name":"x","resourceVersion":"+3","uid":"UID"},"spec":{},"status":{"phase":"Terminating"}}"#]]);
    w.fails("GET /api/v1/namespaces/x", expect![[r#"404 NotFound: namespaces "x" not found"#]]);
}

#[test]
fn a_token_secret_is_filled_in_and_its_token_ends_with_it() {
    use base64::Engine as _;
    let w = World::new();
    let core = "/api/v1/namespaces/default";
    w.ok(&format!("POST {core}/serviceaccounts\n\n{{\"metadata\":{{\"name\":\"robot\"}}}}"));
    let secret = w.ok(&format!(
        "POST {core}/secrets\n\n{{\"metadata\":{{\"name\":\"t\",\"annotations\":{{\"kubernetes.io/service-account.name\":\
         \"robot\"}}}},\"type\":\"kubernetes.io/service-account-token\"}}"
    ));
    assert_eq!(secret["metadata"]["ownerReferences"][0]["name"], "robot");
    assert_eq!(secret["data"]["namespace"], "ZGVmYXVsdA==");
    let token = secret["data"]["token"].as_str().unwrap();
    let token = base64::engine::general_purpose::STANDARD.decode(token).unwrap();
    let review = format!(
        "POST /apis/authentication.k8s.io/v1/tokenreviews\n\n{{\"spec\":{{\"token\":\"{}\"}}}}",
        String::from_utf8(token).unwrap()
    );
    let status = w.ok(&review)["status"].clone();
    assert_eq!(status["user"]["username"], "system:serviceaccount:default:robot", "{status}");
    // Written once more it keeps its token.
    let again = w.ok(&format!(
        "PATCH {core}/secrets/t\nContent-Type: application/merge-patch+json\n\n{{\"metadata\":{{\"labels\":{{\"a\":\"b\"}}}}}}"
    ));
    assert_eq!(again["data"], secret["data"]);
    w.ok(&format!("DELETE {core}/secrets/t"));
    assert_eq!(w.ok(&review)["status"]["authenticated"], serde_json::Value::Null);
}

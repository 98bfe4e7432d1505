//! Random requests from a seed: whatever comes, the server says 2xx to 4xx, keeps its word about what it stores, and
//! doesn't grow without bound. `IRONCLAD_FUZZ_REQUESTS=100000 cargo test -p apiserver random_requests` does more of them,
//! `IRONCLAD_FUZZ_SEED` others.

use super::World;
use bytes::Bytes;
use serde_json::{Value, json};
use stdx::Rng;

/// Requests of one ordinary run.
const REQUESTS: u64 = 4_000;
/// Requests between two looks at everything that is stored.
const BETWEEN_LOOKS: u64 = 1_000;
/// What the process may have grown by in the end, in KiB: far more than what is stored, far less than a leak of bodies.
const GROWTH_KIB: u64 = 600 * 1024;

const PATHS: &[&str] = &[
    "/api/v1/namespaces/default/pods",
    "/api/v1/namespaces/default/pods/a",
    "/api/v1/namespaces/default/pods/a/status",
    "/api/v1/namespaces/default/pods/a/resize",
    "/api/v1/namespaces/default/pods/a/ephemeralcontainers",
    "/api/v1/namespaces/default/pods/a/binding",
    "/api/v1/namespaces/default/pods/a/eviction",
    "/api/v1/namespaces/default/pods/a/log",
    "/api/v1/namespaces/default/configmaps",
    "/api/v1/namespaces/default/configmaps/a",
    "/api/v1/namespaces/default/secrets/a",
    "/api/v1/namespaces/default/services",
    "/api/v1/namespaces/default/services/a",
    "/api/v1/namespaces/default/services/a/status",
    "/api/v1/namespaces/default/serviceaccounts/default/token",
    "/api/v1/namespaces/default/nodes/a",
    "/api/v1/namespaces/default/namespaces/default",
    "/api/v1/namespaces",
    "/api/v1/namespaces/default",
    "/api/v1/namespaces/default/finalize",
    "/api/v1/namespaces/default/status",
    "/api/v1/nodes",
    "/api/v1/nodes/a",
    "/api/v1/pods",
    "/api/v1/watch/pods",
    "/api/v1/watch/namespaces/default/configmaps/a",
    "/api/v1/componentstatuses",
    "/apis/apps/v1/namespaces/default/deployments",
    "/apis/apps/v1/namespaces/default/deployments/a",
    "/apis/apps/v1/namespaces/default/deployments/a/scale",
    "/apis/apps/v1/namespaces/default/deployments/a/status",
    "/apis/batch/v1/namespaces/default/jobs/a",
    "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers/a",
    "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
    "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
    "/apis/events.k8s.io/v1/namespaces/default/events",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles/a",
    "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/cars.example.com",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/cars.example.com/status",
    "/apis/example.com/v1/namespaces/default/cars",
    "/apis/example.com/v1/namespaces/default/cars/a",
    "/apis/example.com/v1/namespaces/default/cars/a/scale",
    "/apis/example.com/v1/namespaces/default/cars/a/status",
    "/apis/authorization.k8s.io/v1/subjectaccessreviews",
    "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
    "/apis/authentication.k8s.io/v1/tokenreviews",
    "/apis/authentication.k8s.io/v1/selfsubjectreviews",
    "/apis/certificates.k8s.io/v1/certificatesigningrequests/a/approval",
    "/apis/policy/v1/namespaces/default/poddisruptionbudgets/a",
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
    "/apis/coordination.k8s.io/v1/namespaces/default/leases/a",
    "/apis/nope/v1/things",
    "/api",
    "/apis",
    "/apis/apps",
    "/apis/apps/v1",
    "/openapi/v3/apis/apps/v1",
    "/openapi/v3",
    "/openapi/v2",
    "/version",
    "/metrics",
    "/readyz",
    "/livez/ping",
    "/logs",
    "/",
];
const METHODS: &[&str] = &[
    "GET", "GET", "GET", "POST", "POST", "POST", "PUT", "PUT", "PATCH", "PATCH", "PATCH", "PATCH", "DELETE",
    "HEAD", "OPTIONS", "CONNECT", "BREW",
];
const STEPS: &[&str] = &[
    "..",
    "%2e%2e",
    "",
    "%2f",
    "%00",
    "%ff",
    "a%2fb",
    ".",
    "namespaces",
    "pods",
    "%zz",
    "status",
    "scale",
    "A_B",
    "*",
    "a:b",
    "%E2%98%83",
    "watch",
    "proxy",
];
const KEYS: &[&str] = &[
    "limit",
    "continue",
    "resourceVersion",
    "resourceVersionMatch",
    "watch",
    "labelSelector",
    "fieldSelector",
    "dryRun",
    "fieldManager",
    "fieldValidation",
    "force",
    "timeoutSeconds",
    "sendInitialEvents",
    "allowWatchBookmarks",
    "gracePeriodSeconds",
    "propagationPolicy",
    "orphanDependents",
    "pretty",
    "includeObject",
    "container",
    "tailLines",
    "ignoreStoreReadErrorWithClusterBreakingPotential",
];
const VALUES: &[&str] = &[
    "",
    "0",
    "1",
    "-1",
    "9223372036854775807",
    "18446744073709551616",
    "true",
    "false",
    "abc",
    "%00",
    "%ff",
    "All",
    "Strict",
    "Exact",
    "NotOlderThan",
    "metadata.name%3Da",
    "a%20in%20(b,c),!d,e%3E5",
    "a%3D%3D%3D",
    "(((((",
    "metadata.name!%3D",
    "spec.nodeName%3D",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6OTk5OTk5OSwic3RhcnQiOiIuLi8uLi8ifQ",
    "kubectl",
    "Object",
    "Foreground",
    "Orphan",
    "None",
    "Metadata",
];
const TYPES: &[&str] = &[
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "application/apply-patch+cbor",
    "application/cbor",
    "text/html",
    "",
    ";;;=",
    "application/json; charset=utf-8",
];
const ACCEPTS: &[&str] = &[
    "application/json",
    "application/yaml",
    "*/*",
    "application/vnd.kubernetes.protobuf",
    "text/html",
    ";q=,,,",
    "application/json;as=Table;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "application/yaml;as=Table;v=v1;g=meta.k8s.io",
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    "application/json;q=nan",
];
const HEADERS: &[(&str, &str)] = &[
    ("authorization", "Bearer x.y.z"),
    ("authorization", "Basic Og=="),
    ("authorization", "Bearer"),
    ("impersonate-user", "system:serviceaccount:default:a"),
    ("impersonate-group", "g"),
    ("impersonate-extra-%zz", "x"),
    ("impersonate-uid", "u"),
    ("user-agent", ""),
    ("user-agent", "curl/8"),
    ("if-none-match", "\"x\""),
    ("upgrade", "websocket"),
    ("x-forwarded-for", "::"),
];

fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 80}],
            "env": [{"name": "A", "value": "b"}], "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
            "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
            "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}],
            "tolerations": [{"key": "a", "operator": "Exists"}]}})
}

/// Well-formed documents, of which requests are made by spoiling them.
fn documents() -> Vec<Value> {
    let meta = json!({"name": "a", "annotations": {"x": "y"}, "finalizers": ["example.com/x"]});
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    vec![
        pod("a"),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"k": "v"}, "binaryData": {"b": "YQ=="}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"k": "v"}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"type": "NodePort",
            "clusterIP": "10.96.0.77", "selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": "http", "nodePort": 30001}]}}),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "n-"}, "spec": {"finalizers": ["kubernetes"]}}),
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}, "spec": {"podCIDR": "10.0.0.0/24",
            "taints": [{"key": "k", "effect": "NoSchedule"}]}, "status": {"capacity": {"cpu": "1"}}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": 2,
            "strategy": {"rollingUpdate": {"maxSurge": "25%"}}, "selector": {"matchLabels": {"a": "b"}}, "template": template}}),
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}, "spec": {"template":
            {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}),
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"}, "spec":
            {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "a"}, "metrics": [{"type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}}),
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": 3}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "a"}, "spec": {"rules": [{"host":
            "a.b", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "a", "port": {"number": 80}}}}]}}]}}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "a"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "a"}, "subjects": [{"kind": "User", "name": "u"}]}),
        json!({"apiVersion": "example.com/v1", "kind": "Car", "metadata": {"name": "a"}, "spec": {"color": "red", "wheels": 4,
            "parts": [{"name": "a", "size": "1Gi"}], "any": {"b": [1, {"c": null}]}}}),
        json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {"user": "u",
            "resourceAttributes": {"verb": "get", "resource": "pods"}}}),
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "x.y.z"}}),
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}, "deleteOptions": {"gracePeriodSeconds": 0}}),
        json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "a"}, "target": {"kind": "Node", "name": "a"}}),
        json!({"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": "x"}, "propagationPolicy": "Foreground"}),
        json!([{"op": "add", "path": "/metadata/labels/x", "value": "y"}, {"op": "copy", "from": "/metadata", "path": "/spec/x"},
            {"op": "move", "from": "/spec", "path": "/metadata/spec"}, {"op": "test", "path": "/a/0/-1", "value": 5}]),
        json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "$patch": "delete"}, {"$patch": "replace"}],
            "$setElementOrder/containers": [{"name": "c"}], "$retainKeys": ["containers"]}}},
            "metadata": {"$deleteFromPrimitiveList/finalizers": ["example.com/x"], "labels": null}}),
        serde_json::from_str(super::custom::DEFINITION).unwrap(),
    ]
}

fn pick<'a, T: ?Sized>(rng: &mut Rng, list: &[&'a T]) -> &'a T {
    list[rng.index(list.len())]
}

fn odd_value(rng: &mut Rng) -> Value {
    match rng.below(16) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(i64::MAX),
        4 => json!(1e300),
        5 => json!(""),
        6 => json!("x".repeat(rng.index(70_000))),
        7 => json!("../../etc"),
        8 => json!("a\u{0}b\u{feff}"),
        9 => json!([]),
        10 => json!({}),
        11 => json!([[[{"a": []}]]]),
        12 => json!("1e99999999Ki"),
        13 => json!(u64::MAX),
        14 => json!({"a": "b", "$patch": "replace", "": null}),
        _ => json!("9999999999999999999999999"),
    }
}

/// Changes something somewhere.
fn spoil(rng: &mut Rng, v: &mut Value) {
    match v {
        Value::Object(map) if !map.is_empty() && rng.chance(0.85) => {
            let key = map.keys().nth(rng.index(map.len())).cloned().unwrap_or_default();
            match rng.below(10) {
                0 => drop(map.remove(&key)),
                1 => drop(map.insert(format!("{key}{}", rng.below(3)), odd_value(rng))),
                _ => spoil(rng, &mut map[&key]),
            }
        }
        Value::Array(list) if !list.is_empty() && rng.chance(0.85) => {
            let at = rng.index(list.len());
            match rng.below(6) {
                0 => list.push(list[at].clone()),
                1 => drop(list.remove(at)),
                _ => spoil(rng, &mut list[at]),
            }
        }
        v => *v = odd_value(rng),
    }
}

/// Bodies that aren't documents of the API.
fn bomb(rng: &mut Rng) -> Vec<u8> {
    let depth = 10_000;
    match rng.below(12) {
        0 => ("[".repeat(depth) + &"]".repeat(depth)).into_bytes(),
        1 => ("{\"a\":".repeat(depth) + "1" + &"}".repeat(depth)).into_bytes(),
        2 => "{\"metadata\":".repeat(depth).into_bytes(),
        3 => ("- ".repeat(depth) + "a").into_bytes(),
        4 => (0..40).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |all, i| {
            all + &format!("a{}: &a{} [{}]\n", i + 1, i + 1, vec![format!("*a{i}"); 9].join(","))
        }).into_bytes(),
        5 => vec![0xff; rng.index(3000)],
        6 => [&b"k8s\0"[..], &(0..rng.index(300)).map(|_| rng.next_u64().to_le_bytes()[0]).collect::<Vec<_>>()].concat(),
        7 => json!(vec![json!({"op": "copy", "from": "", "path": "/metadata/annotations"}); 11_000]).to_string().into_bytes(),
        8 => json!(vec![json!({"op": "copy", "from": "", "path": "/data"}); 60]).to_string().into_bytes(),
        9 => b"a: &a\n  b: *a\n<<: *a\n".to_vec(),
        10 => format!("{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"a\"}},\"data\":{{\"k\":\"{}\"}}}}", "y".repeat(2_000_000)).into_bytes(),
        _ => Vec::new(),
    }
}

fn body(rng: &mut Rng, documents: &[Value]) -> Vec<u8> {
    if rng.chance(0.08) {
        return bomb(rng);
    }
    let mut v = documents[rng.index(documents.len())].clone();
    for _ in 0..rng.below(4) {
        spoil(rng, &mut v);
    }
    let mut bytes = v.to_string().into_bytes();
    if rng.chance(0.1) && !bytes.is_empty() {
        let at = rng.index(bytes.len());
        match rng.below(3) {
            0 => bytes.truncate(at),
            1 => bytes[at] = rng.next_u64().to_le_bytes()[0],
            _ => bytes.splice(at..at, *b"\xf0\x9f\x92,\"a\":[{").for_each(drop),
        }
    }
    bytes
}

fn uri(rng: &mut Rng) -> String {
    let mut path = pick(rng, PATHS).to_owned();
    if rng.chance(0.2) {
        let mut steps: Vec<&str> = path.split('/').collect();
        for _ in 0..=rng.below(2) {
            let at = rng.index(steps.len());
            let step = pick(rng, STEPS);
            if rng.chance(0.5) { steps[at] = step } else { steps.insert(at, step) }
        }
        path = format!("/{}", steps.join("/").trim_start_matches('/'));
    }
    if rng.chance(0.01) {
        path += &"/x".repeat(300);
    }
    let query: Vec<String> =
        (0..rng.below(4)).map(|_| format!("{}={}", pick(rng, KEYS), pick(rng, VALUES))).collect();
    match rng.below(100) {
        0 => format!("{path}?labelSelector={}", "a%3Db,".repeat(5_000)),
        1 => format!("{path}?{}", "a=b&".repeat(1_000)),
        2 => format!("{path}?fieldSelector={}", "metadata.name%3Da,".repeat(3_000)),
        3 => format!("{path}?labelSelector=a+in+({})", "b,".repeat(9_000)),
        _ => format!("{path}?{}", query.join("&")),
    }
}

/// Where objects of a kind are.
const HOMES: &[(&str, &str)] = &[
    ("Pod", "/api/v1/namespaces/default/pods"),
    ("ConfigMap", "/api/v1/namespaces/default/configmaps"),
    ("Secret", "/api/v1/namespaces/default/secrets"),
    ("Service", "/api/v1/namespaces/default/services"),
    ("Namespace", "/api/v1/namespaces"),
    ("Node", "/api/v1/nodes"),
    ("Deployment", "/apis/apps/v1/namespaces/default/deployments"),
    ("Job", "/apis/batch/v1/namespaces/default/jobs"),
    ("HorizontalPodAutoscaler", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"),
    ("Ingress", "/apis/networking.k8s.io/v1/namespaces/default/ingresses"),
    ("RoleBinding", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"),
    ("Car", "/apis/example.com/v1/namespaces/default/cars"),
    ("CustomResourceDefinition", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"),
    ("SubjectAccessReview", "/apis/authorization.k8s.io/v1/subjectaccessreviews"),
    ("TokenReview", "/apis/authentication.k8s.io/v1/tokenreviews"),
];

/// A document that is spoilt a little, sent to where it belongs: what gets past the door.
fn aimed(rng: &mut Rng, documents: &[Value]) -> Option<http::Request<Bytes>> {
    let mut v = documents[rng.index(documents.len())].clone();
    let kind = v.get("kind").and_then(Value::as_str)?;
    let (_, home) = HOMES.iter().find(|(k, _)| *k == kind)?;
    let name = v["metadata"]["name"].as_str().unwrap_or("default").to_owned();
    for _ in 0..rng.below(3) {
        spoil(rng, &mut v);
    }
    let part = pick(rng, &["", "", "", "", "/status", "/scale"]);
    // The first of a name stands in the way of all others.
    if rng.chance(0.7) && v["metadata"].is_object() {
        v["metadata"]["name"] = Value::Null;
        v["metadata"]["generateName"] = "f-".into();
    }
    let whole = pick(rng, &["application/json", "application/yaml"]);
    let patch = pick(rng, &TYPES[3..7]);
    let (method, path, media) = match rng.below(6) {
        0 | 1 => ("POST", (*home).to_owned(), whole),
        2 => ("PUT", format!("{home}/{name}{part}"), whole),
        3 | 4 => ("PATCH", format!("{home}/{name}{part}?fieldManager=m"), patch),
        _ => ("PATCH", format!("{home}/{name}{part}?fieldManager=n"), "application/apply-patch+yaml"),
    };
    let request = http::Request::builder().method(method).uri(path).header("content-type", media);
    request.body(v.to_string().into()).ok()
}

fn request(rng: &mut Rng, documents: &[Value]) -> Option<http::Request<Bytes>> {
    if rng.chance(0.6) {
        return aimed(rng, documents);
    }
    let mut request = http::Request::builder().method(pick(rng, METHODS)).uri(uri(rng));
    if rng.chance(0.8) {
        request = request.header("content-type", pick(rng, TYPES));
    }
    if rng.chance(0.5) {
        request = request.header("accept", pick(rng, ACCEPTS));
    }
    if rng.chance(0.1) {
        let (name, value) = HEADERS[rng.index(HEADERS.len())];
        request = request.header(name, value);
    }
    request.body(body(rng, documents).into()).ok()
}

/// What Linux says of the process, in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// Whether a 5xx is upstream's answer too: what must be asked of somebody who isn't there, a revision to come, and a patch
/// that can't be merged.
fn is_expected(code: u16, uri: &str, body: &str) -> bool {
    let asks_others = ["/proxy", "/log", "/exec", "/attach", "/portforward"].iter().any(|p| uri.contains(p));
    let cannot_be_merged = code == 500 && uri.starts_with("PATCH ") && !body.contains("\"reason\":");
    cannot_be_merged
        || (code == 503 && asks_others)
        || (code == 504 && body.contains("Too large resource version"))
}

fn look_at_everything(w: &World) {
    for path in PATHS.iter().filter(|p| !p.contains("nope") && !p.contains("/a") && !p.contains("reviews")) {
        let (code, body, _) = w.ask(&format!("GET {path}?timeoutSeconds=1"));
        assert!(code < 500 && !body.contains("<torn"), "GET {path} after all that: {code} {body:.2000}");
    }
}

/// A server with what the requests are about.
fn world() -> World {
    let w = World::with(admission::default_chain());
    w.ok("POST /api/v1/namespaces/default/serviceaccounts\n\n{\"metadata\":{\"name\":\"default\"}}");
    let definition = super::custom::DEFINITION;
    w.ok(&format!("POST /apis/apiextensions.k8s.io/v1/customresourcedefinitions\n\n{definition}"));
    w
}

/// Whether after the request nothing could be made any more.
fn ends_all(request: &http::Request<Bytes>) -> bool {
    let path = request.uri().path();
    request.method() == "DELETE"
        && ["/namespaces", "/namespaces/default", "/cars.example.com"].iter().any(|e| path.ends_with(e))
}

#[test]
fn random_requests_find_no_panic_and_no_fault_of_the_server() {
    let number =
        |name: &str, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (requests, seed) = (number("IRONCLAD_FUZZ_REQUESTS", REQUESTS), number("IRONCLAD_FUZZ_SEED", 1));
    let (mut w, documents, before) = (world(), documents(), resident());
    let mut classes = [0; 6];
    for i in 0..requests {
        let rng = &mut Rng::new(seed.wrapping_mul(1 << 32) + i);
        let Some(request) = request(rng, &documents).filter(|r| i % 100 == 0 || !ends_all(r)) else {
            continue;
        };
        let user =
            if rng.chance(0.9) { "admin" } else { pick(rng, &["somebody", "anonymous", "system:node:a"]) };
        let line = format!("{} {} {:?}", request.method(), request.uri(), request.headers());
        let sent = request.body().clone();
        let (code, body) = w.exchange(request, user);
        let shown =
            || format!("seed {seed}, request {i}: {line}\n{:.3000}\n", String::from_utf8_lossy(&sent));
        assert!(code < 500 || is_expected(code, &line, &body), "{}{code} {body:.3000}", shown());
        assert!(!body.contains("<torn"), "{}{code} {body:.3000}", shown());
        classes[usize::from(code / 100).min(5)] += 1;
        if i % BETWEEN_LOOKS == BETWEEN_LOOKS - 1 {
            w.tick();
            look_at_everything(&w);
            w = world();
        }
    }
    let grown = resident().saturating_sub(before);
    println!("answers by class: {classes:?}, grown by {grown} KiB");
    assert!(grown < GROWTH_KIB, "the process grew by {grown} KiB");
    // Most are refused, as is meant; with none let in nothing was tried.
    assert!(requests < REQUESTS || classes[2] > requests / 20, "{classes:?}");
}

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
        expect![[r#"
            201
            {"apiVersion":"v1","data":{"k":"v"},"kind":"ConfigMap","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","labels":{"x":"y"},"name":"a","namespace":"default","resourceVersion":"+1","uid":"UID"}}"#]],
    );
    w.fails(
        &format!("POST {CM}\n\n{{\"metadata\":{{\"name\":\"a\"}}}}"),
        expect![[r#"409 AlreadyExists: configmaps "a" already exists"#]],
    );
    w.check(&format!("GET {CM}/a"), expect![[r#"
        200
        {"apiVersion":"v1","data":{"k":"v"},"kind":"ConfigMap","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","labels":{"x":"y"},"name":"a","namespace":"default","resourceVersion":"+1","uid":"UID"}}"#]]);
    w.check(
        &format!("PUT {CM}/a\n\n{{\"metadata\":{{\"name\":\"a\"}},\"data\":{{\"k\":\"w\"}}}}"),
        expect![[r#"
            200
            {"apiVersion":"v1","data":{"k":"w"},"kind":"ConfigMap","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","name":"a","namespace":"default","resourceVersion":"+2","uid":"UID"}}"#]],
    );
    w.fails(
        &format!("PUT {CM}/a\n\n{{\"metadata\":{{\"name\":\"a\",\"resourceVersion\":\"1\"}},\"data\":{{}}}}"),
        expect![[r#"409 Conflict: Operation cannot be fulfilled on configmaps "a": the object has been modified; please apply your changes to the latest version and try again"#]],
    );
    w.fails(
        &format!("PUT {CM}/a\n\n{{\"metadata\":{{\"name\":\"b\"}}}}"),
        expect!["400 BadRequest: the name of the object (b) does not match the name on the URL (a)"],
    );
    w.check(&format!("DELETE {CM}/a"), expect![[r#"
        200
        {"apiVersion":"v1","details":{"kind":"configmaps","name":"a","uid":"UID"},"kind":"Status","metadata":{},"status":"Success"}"#]]);
    w.fails(&format!("GET {CM}/a"), expect![[r#"404 NotFound: configmaps "a" not found"#]]);
    w.fails(&format!("DELETE {CM}/a"), expect![[r#"404 NotFound: configmaps "a" not found"#]]);
}

#[test]
fn names_are_generated_and_namespaces_must_fit() {
    let w = World::new();
    let v = w.ok(&format!("POST {CM}\n\n{{\"metadata\":{{\"generateName\":\"web-\"}}}}"));
    let name = v["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
    w.fails(&format!("POST {CM}\n\n{{\"metadata\":{{}}}}"), expect![[r#"422 Invalid: ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required"#]]);
    w.fails(&format!("POST {CM}\n\n{{\"metadata\":{{\"name\":\"A_b\"}}}}"), expect![[r#"422 Invalid: ConfigMap "A_b" is invalid: metadata.name: Invalid value: "A_b": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"#]]);
    w.fails(&format!("POST {CM}\n\n{{\"metadata\":{{\"name\":\"a\",\"namespace\":\"other\"}}}}"), expect!["400 BadRequest: the namespace of the provided object does not match the namespace sent on the request"]);
    w.fails(&format!("POST {CM}\n\n{{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}}"), expect![[r#"400 BadRequest: Pod in version "v1" cannot be handled as a ConfigMap: converting (v1.Pod) to (core.ConfigMap): unknown conversion"#]]);
    w.fails(
        &format!("POST {CM}\n\n{{\"apiVersion\":\"v2\"}}"),
        expect![[r#"400 BadRequest: ConfigMap in version "v2" cannot be handled as a ConfigMap: no kind "ConfigMap" is registered for version "v2" in scheme "pkg/api/legacyscheme/scheme.go:30""#]],
    );
    w.fails(&format!("POST {CM}\n\n[1]"), expect![[r#"400 BadRequest: the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" } (5b315d)"#]]);
    w.fails(&format!("POST {CM}\n\n{{"), expect!["400 BadRequest: the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input ({)"]);
    w.fails(&format!("POST {CM}\nContent-Type: text/html\n\n{{}}"), expect!["415 UnsupportedMediaType: the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"]);
    w.fails(
        "GET /api/v1/namespaces/default/nodes",
        expect!["404 NotFound: the server could not find the requested resource"],
    );
    w.fails(
        "POST /api/v1/configmaps\n\n{}",
        expect!["405 MethodNotAllowed: the server does not allow this method on the requested resource"],
    );
    w.fails(
        "GET /apis/apps/v9/things",
        expect!["404 NotFound: the server could not find the requested resource"],
    );
    w.fails(
        "GET /api/v1/namespaces/default/configmaps/a/status",
        expect!["404 NotFound: the server could not find the requested resource"],
    );
}

#[test]
fn unknown_fields_are_warned_of_or_refused() {
    let w = World::new();
    let body = r#"{"metadata":{"name":"a","foo":1},"data":{"k":"v"},"bar":{},"data":{"l":"m"}}"#;
    w.fails(&format!("POST {CM}?fieldValidation=Strict\n\n{body}"), expect![[r#"400 BadRequest: ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "bar", unknown field "metadata.foo", duplicate field "data""#]]);
    w.check(&format!("POST {CM}?dryRun=All\n\n{body}"), expect![[r#"
        201
        299 - "unknown field \"bar\""
        299 - "unknown field \"metadata.foo\""
        299 - "duplicate field \"data\""
        {"apiVersion":"v1","data":{"l":"m"},"kind":"ConfigMap","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","name":"a","namespace":"default","uid":"UID"}}"#]]);
    w.check(&format!("POST {CM}?dryRun=All&fieldValidation=Ignore\n\n{body}"), expect![[r#"
        201
        {"apiVersion":"v1","data":{"l":"m"},"kind":"ConfigMap","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","name":"a","namespace":"default","uid":"UID"}}"#]]);
    w.fails(&format!("POST {CM}\n\n{{\"metadata\":{{\"name\":\"a\"}},\"data\":{{\"k\":1}}}}"), expect![[r#"400 BadRequest: ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.data of type string"#]]);
    w.fails(&format!("POST {CM}?dryRun=Some\n\n{body}"), expect![[r#"422 Invalid: CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All""#]]);
}

#[test]
fn lists_are_paged_and_selected() {
    let w = World::new();
    for name in ["a", "b", "c"] {
        create(&w, name, &format!(",\"labels\":{{\"n\":\"{name}\"}}"));
    }
    let names = |v: &serde_json::Value| -> String {
        v["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|i| i["metadata"]["name"].as_str().unwrap().to_owned() + " ")
            .collect()
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
    w.fails(
        &format!("GET {CM}?fieldSelector=spec.x%3Db"),
        expect![[r#"400 BadRequest: "spec.x" is not a known field selector: only "metadata.name", "metadata.namespace""#]],
    );
    w.fails(
        &format!("GET {CM}?labelSelector=a%3D%3D%3Db"),
        expect!["400 BadRequest: unable to parse requirement: found '=', expected: identifier"],
    );
    w.fails(
        &format!("GET {CM}?resourceVersion=100000&resourceVersionMatch=NotOlderThan"),
        expect!["504 Timeout: Timeout: Too large resource version: 100000, current: NOW"],
    );
    w.server.store.compact(w.server.store.revision());
    w.check(&format!("GET {CM}?limit=2&continue={token}"), expect![[r#"
        410
        {"apiVersion":"v1","code":410,"kind":"Status","message":"The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.","metadata":{"continue":"eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiYlx1MDAwMCJ9"},"reason":"Expired","status":"Failure"}"#]]);
    w.fails(
        &format!("GET {CM}?resourceVersion=1&resourceVersionMatch=Exact"),
        expect!["410 Expired: The resourceVersion for the provided list is too old."],
    );
}

#[test]
fn shapes() {
    let w = World::new();
    create(&w, "a", "");
    w.check(&format!("GET {CM}"), expect![[r#"
        200
        {"apiVersion":"v1","items":[{"metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","name":"a","namespace":"default","resourceVersion":"+1","uid":"UID"}}],"kind":"ConfigMapList","metadata":{"resourceVersion":"+1"}}"#]]);
    let table = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
    w.check(&format!("GET {CM}\n{table}"), expect![[r#"
        200
        {"apiVersion":"meta.k8s.io/v1","columnDefinitions":[{"description":"","format":"name","name":"Name","priority":0,"type":"string"},{"description":"","format":"","name":"Data","priority":0,"type":"string"},{"description":"","format":"","name":"Age","priority":0,"type":"string"}],"kind":"Table","metadata":{"resourceVersion":"+1"},"rows":[{"cells":["a",0,"0s"],"object":{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","name":"a","namespace":"default","resourceVersion":"+1","uid":"UID"}}}]}"#]]);
    w.check(&format!("GET {CM}/a?includeObject=None\n{table}"), expect![[r#"
        200
        {"apiVersion":"meta.k8s.io/v1","columnDefinitions":[{"description":"","format":"name","name":"Name","priority":0,"type":"string"},{"description":"","format":"","name":"Data","priority":0,"type":"string"},{"description":"","format":"","name":"Age","priority":0,"type":"string"}],"kind":"Table","metadata":{"resourceVersion":"+1"},"rows":[{"cells":["a",0,"0s"]}]}"#]]);
    let partial = "Accept: application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    w.check(&format!("GET {CM}\n{partial}"), expect![[r#"
        200
        {"apiVersion":"meta.k8s.io/v1","items":[{"apiVersion":"meta.k8s.io/v1","kind":"PartialObjectMetadata","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","name":"a","namespace":"default","resourceVersion":"+1","uid":"UID"}}],"kind":"PartialObjectMetadataList","metadata":{"resourceVersion":"+1"}}"#]]);
    w.check(
        &format!("GET {CM}/a\nAccept: application/yaml"),
        expect![[r#"
            200
            apiVersion: v1
            kind: ConfigMap
            metadata:
              creationTimestamp: "2025-06-15T15:06:40Z"
              name: a
              namespace: default
              resourceVersion: +1
              uid: "UID"
        "#]],
    );
    w.fails(&format!("GET {CM}/a\nAccept: application/vnd.kubernetes.protobuf"), expect!["406 NotAcceptable: only the following media types are accepted: application/json, application/yaml"]);
    let (_, text, _) = w.ask(&format!("GET {CM}?pretty=true"));
    assert!(text.starts_with("{\n  \"kind\": \"ConfigMapList\""), "{text}");
}

#[test]
fn deletions_wait_for_finalizers_and_heed_preconditions() {
    let w = World::new();
    create(&w, "a", ",\"finalizers\":[\"x/y\"]");
    w.fails(&format!("DELETE {CM}/a\n\n{{\"preconditions\":{{\"uid\":\"no\"}}}}"), expect![[r#"409 Conflict: Operation cannot be fulfilled on ConfigMap "a": the UID in the precondition (no) does not match the UID in record (UID). The object might have been deleted and then recreated"#]]);
    w.check(&format!("DELETE {CM}/a"), expect![[r#"
        200
        {"apiVersion":"v1","kind":"ConfigMap","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","deletionGracePeriodSeconds":0,"deletionTimestamp":"2025-06-15T15:06:40Z","finalizers":["x/y"],"name":"a","namespace":"default","resourceVersion":"+2","uid":"UID"}}"#]]);
    w.check(
        &format!("PATCH {CM}/a\nContent-Type: application/merge-patch+json\n\n{{\"metadata\":{{\"finalizers\":null}}}}"),
        expect![[r#"
            200
            {"apiVersion":"v1","kind":"ConfigMap","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","deletionGracePeriodSeconds":0,"deletionTimestamp":"2025-06-15T15:06:40Z","name":"a","namespace":"default","resourceVersion":"+3","uid":"UID"}}"#]],
    );
    w.fails(&format!("GET {CM}/a"), expect![[r#"404 NotFound: configmaps "a" not found"#]]);
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
    w.fails(&format!("jane@GET {CM}"), expect![[r#"403 Forbidden: configmaps is forbidden: User "jane" cannot list resource "configmaps" in API group "" in the namespace "default""#]]);
    w.fails(&format!("anonymous@GET {CM}/a"), expect![[r#"403 Forbidden: configmaps "a" is forbidden: User "system:anonymous" cannot get resource "configmaps" in API group "" in the namespace "default""#]]);
    w.fails(
        "jane@GET /metrics",
        expect![[r#"403 Forbidden: forbidden: User "jane" cannot get path "/metrics""#]],
    );
    w.check(
        "anonymous@GET /readyz",
        expect![[r#"
        200
        ok"#]],
    );
    w.fails(&format!("GET {CM}\nAuthorization: Bearer nonsense\nImpersonate-User: jane"), expect![[r#"403 Forbidden: configmaps is forbidden: User "jane" cannot list resource "configmaps" in API group "" in the namespace "default""#]]);
    w.ok("POST /apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings\n\n{\"metadata\":{\"name\":\"b\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"view\"},\"subjects\":[{\"kind\":\"User\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"jane\"}]}");
    w.ok(&format!("jane@GET {CM}"));
    w.fails(&format!("jane@POST {CM}\n\n{{}}"), expect![[r#"403 Forbidden: configmaps is forbidden: User "jane" cannot create resource "configmaps" in API group "" in the namespace "default""#]]);
    w.check("jane@POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews\n\n{\"spec\":{\"resourceAttributes\":{\"verb\":\"list\",\"resource\":\"pods\",\"namespace\":\"default\"}}}", expect![[r#"
        201
        {"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","metadata":{},"spec":{"resourceAttributes":{"namespace":"default","resource":"pods","verb":"list"}},"status":{"allowed":true,"reason":"RBAC: allowed by RoleBinding \"b/default\" of ClusterRole \"view\" to User \"jane\""}}"#]]);
    w.check("jane@POST /apis/authentication.k8s.io/v1/selfsubjectreviews\n\n{}", expect![[r#"
        201
        {"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z"},"status":{"userInfo":{"groups":["system:authenticated"],"username":"jane"}}}"#]]);
}

#[test]
fn every_cluster_has_these() {
    let w = World::new();
    let v = w.ok("GET /api/v1/namespaces");
    let names: Vec<_> =
        v["items"].as_array().unwrap().iter().map(|i| i["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["default", "kube-node-lease", "kube-public", "kube-system"]);
    w.check("GET /api/v1/namespaces/default/services/kubernetes", expect![[r#"
        200
        {"apiVersion":"v1","kind":"Service","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","labels":{"component":"apiserver","provider":"kubernetes"},"name":"kubernetes","namespace":"default","resourceVersion":"+0","uid":"UID"},"spec":{"clusterIP":"10.96.0.1","clusterIPs":["10.96.0.1"],"internalTrafficPolicy":"Cluster","ipFamilies":["IPv4"],"ipFamilyPolicy":"SingleStack","ports":[{"name":"https","port":443,"protocol":"TCP","targetPort":6443}],"sessionAffinity":"None","type":"ClusterIP"},"status":{"loadBalancer":{}}}"#]]);
    w.check("GET /version", expect![[r#"
        200
        {"buildDate":"1970-01-01T00:00:00Z","compiler":"rustc","emulationMajor":"1","emulationMinor":"37","gitCommit":"0.1.0","gitTreeState":"clean","gitVersion":"v1.37.0","goVersion":"none","major":"1","minCompatibilityMajor":"1","minCompatibilityMinor":"37","minor":"37","platform":"linux/amd64"}"#]]);
    let v = w.ok("GET /apis\nAccept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    assert_eq!(v["kind"], "APIGroupDiscoveryList");
    assert!(v["items"].as_array().unwrap().len() > 15);
    let v = w.ok("GET /apis/apps/v1");
    assert_eq!(v["groupVersion"], "apps/v1");
    w.check(
        "GET /readyz?verbose",
        expect![[r#"
        200
        [+]ping ok
        [+]log ok
        [+]etcd ok
        [+]informer-sync ok
        [+]shutdown ok
        readyz check passed
    "#]],
    );
}

#[test]
fn what_nobody_serves_is_not_found_in_plain_text() {
    let w = World::new();
    for path in ["/nope", "/healthz/nope", "/apis/nope", "/apis/nope/v1/things"] {
        w.check(&format!("GET {path}"), expect!["404\n404 page not found\n"]);
        w.check(&format!("POST {path}\n\n{{}}"), expect!["404\n404 page not found\n"]);
    }
}

#[test]
fn metadata_of_one_object_is_no_answer_to_a_list() {
    let w = World::new();
    let accept = "Accept: application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
    w.fails(&format!("GET {CM}\n{accept}"), expect!["406 NotAcceptable: you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)"]);
}

#[test]
fn a_failed_write_tells_its_warnings() {
    let w = World::new();
    let (code, _, warnings) = w.ask(&format!("POST {CM}\n\n{{\"metadata\":{{\"name\":\"A_b\"}},\"foo\":1}}"));
    assert_eq!(
        (code, warnings.as_slice()),
        (422, [r#"299 - "unknown field \"foo\"""#.to_owned()].as_slice())
    );
}

#[test]
fn a_list_from_the_cache_has_no_pages() {
    let w = World::new();
    for name in ["a", "b"] {
        w.ok(&format!("POST {CM}\n\n{{\"metadata\":{{\"name\":\"{name}\"}}}}"));
    }
    let count = |query: &str| w.ok(&format!("GET {CM}?{query}"))["items"].as_array().map(Vec::len);
    assert_eq!([count("resourceVersion=0&limit=1"), count("limit=1")], [Some(2), Some(1)]);
}

#[test]
fn a_review_of_access_has_no_name_and_tells_who_wrote_it() {
    let w = World::new();
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let review = |metadata: &str| {
        format!(
            "POST {path}\n\n{{\"metadata\":{metadata},\"spec\":{{\"user\":\"bob\",\"nonResourceAttributes\":{{\"path\":\"/x\",\"verb\":\"get\"}}}}}}"
        )
    };
    let v = w.ok(&review("{}"));
    expect![[r#"{"f:spec":{"f:nonResourceAttributes":{".":{},"f:path":{},"f:verb":{}},"f:user":{}}}"#]]
        .assert_eq(&v["metadata"]["managedFields"][0]["fieldsV1"].to_string());
    let (code, body, _) = w.ask(&review(r#"{"labels":{"a":"b"}}"#));
    assert!(code == 422 && body.contains("must be empty"), "{code} {body}");
}

#[test]
fn a_group_tells_its_kind_only_by_itself() {
    let w = World::new();
    let kinds = [w.ok("GET /apis")["groups"][0]["kind"].clone(), w.ok("GET /apis/apps")["kind"].clone()];
    assert_eq!(kinds, [serde_json::Value::Null, "APIGroup".into()]);
}

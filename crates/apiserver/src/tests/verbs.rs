//! Verbs and their refusals, held against upstream's server.

use super::World;
use expect_test::expect;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn map(name: &str, more: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"{more}}},"data":{{"a":"1"}}}}"#
    )
}

#[test]
fn objects_are_created_in_lists_and_changed_by_name() {
    let w = World::new();
    w.ok(&format!("POST {MAPS}\n\n{}", map("a", "")));
    for line in ["POST {}/b", "PUT {}", "PATCH {}"] {
        w.fails(
            &format!("{}\n\n{}", line.replace("{}", MAPS), map("b", "")),
            expect!["405 MethodNotAllowed: the server does not allow this method on the requested resource"],
        );
    }
    w.fails(
        &format!("PATCH {MAPS}/a\nContent-Type: application/json\n\n{{}}"),
        expect!["415 UnsupportedMediaType: 415: Unsupported Media Type"],
    );
    w.fails(&format!("PUT {MAPS}/a\n\n{}", map("", "")), expect!["400 BadRequest: the name of the object (a based on URL) was undeterminable: name must be provided"]);
    w.ok(&format!("PUT {MAPS}/a\n\n{}", map("a", r#","resourceVersion":"0""#)));
    w.fails(&format!("POST {MAPS}?dryRun=x\n\n{}", map("a", "")), expect![[r#"422 Invalid: CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["x"]: supported values: "All""#]]);
    w.fails(&format!("POST {MAPS}?fieldValidation=x\n\n{}", map("a", "")), expect![[r#"422 Invalid: CreateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "x": supported values: "", "Ignore", "Strict", "Warn""#]]);
    w.fails(&format!("GET {MAPS}/a?resourceVersion=x"), expect![[r#"400 BadRequest: invalid resource version: resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax"#]]);
    let (code, body, _) = w.ask(&format!("GET {MAPS}/a?resourceVersion=99999999999"));
    assert_eq!(code, 504, "{body}");
    w.ok(&format!("GET {MAPS}/a?resourceVersion=1"));
}

#[test]
fn what_is_being_deleted_is_told() {
    let w = World::new();
    w.ok(&format!("POST {MAPS}\n\n{}", map("a", r#","finalizers":["example.com/f"]"#)));
    w.ok(&format!("DELETE {MAPS}/a"));
    w.fails(
        &format!("POST {MAPS}\n\n{}", map("a", "")),
        expect![[r#"409 AlreadyExists: object is being deleted: configmaps "a" already exists"#]],
    );
    w.fails(
        &format!("PUT {MAPS}/a\n\n{}", map("a", r#","finalizers":["example.com/f","example.com/g"]"#)),
        expect![[r#"422 Invalid: ConfigMap "a" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"example.com/g"}"#]],
    );
}

#[test]
fn an_applied_configuration_names_its_kind() {
    let w = World::new();
    let apply = |body: &str| {
        format!("PATCH {MAPS}/a?fieldManager=m\nContent-Type: application/apply-patch+yaml\n\n{body}")
    };
    w.fails(
        &apply(r#"{"kind":"ConfigMap"}"#),
        expect!["400 BadRequest: invalid object type: /, Kind=ConfigMap"],
    );
    w.fails(
        &apply(r#"{"apiVersion":"v1","kind":"Secret"}"#),
        expect!["400 BadRequest: invalid object type: /v1, Kind=Secret"],
    );
    w.fails(&apply("x"), expect!["400 BadRequest: error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal string into Go value of type map[string]interface {}"]);
    w.fails(&apply(""), expect!["400 BadRequest: invalid object type: /, Kind="]);
    w.fails(&apply(r#"{"apiVersion":"v1","kind":"ConfigMap","foo":1}"#), expect!["500 -: failed to create typed patch object (/; /v1, Kind=ConfigMap): .foo: field not declared in schema"]);
    w.fails(&apply(&map("a", r#","uid":"x""#)), expect![[r#"409 Conflict: Operation cannot be fulfilled on configmaps "a": uid mismatch: the provided object specified uid x, and no existing object was found"#]]);
    w.ok(&apply(&map("a", r#","resourceVersion":"3""#)));
}

#[test]
fn pods_are_bound_and_evicted_by_their_name() {
    let w = World::new();
    w.fails(
        "POST /api/v1/namespaces/default/pods/p/binding\n\n{\"target\":{\"name\":\"n\"}}",
        expect!["400 BadRequest: name in URL does not match name in Binding object"],
    );
    w.fails(
        "POST /api/v1/namespaces/default/pods/p/eviction\n\n{}",
        expect!["400 BadRequest: name in URL does not match name in Eviction object"],
    );
}

#[test]
fn reviews_say_what_they_are_asked() {
    let w = World::new();
    let ask = |kind: &str, path: &str, spec: &str| {
        format!(
            "POST /apis/authorization.k8s.io/v1/{path}\n\n{{\"apiVersion\":\"authorization.k8s.io/v1\",\"kind\":\"{kind}\",\"spec\":{spec}}}"
        )
    };
    let local = "namespaces/default/localsubjectaccessreviews";
    w.fails(
        &ask(
            "LocalSubjectAccessReview",
            local,
            r#"{"user":"u","nonResourceAttributes":{"path":"/a","verb":"get"}}"#,
        ),
        expect![[r#"422 Invalid: .authorization.k8s.io "" is invalid: spec.nonResourceAttributes: Invalid value: {"Path":"/a","Verb":"get"}: disallowed on this kind of request"#]],
    );
    for selector in [r#"{}"#, r#"{"rawSelector":"a=b","requirements":[{"key":"a","operator":"Exists"}]}"#] {
        let spec = format!(
            r#"{{"user":"u","resourceAttributes":{{"verb":"get","resource":"pods","fieldSelector":{selector}}}}}"#
        );
        let (code, body, _) = w.ask(&ask("SubjectAccessReview", "subjectaccessreviews", &spec));
        assert_eq!(code, 422, "{body}");
    }
}

#[test]
fn versions_of_a_custom_kind_show_their_own_fields() {
    let w = World::new();
    let version = |name: &str, stored: bool, field: &str| {
        format!(
            r#"{{"name":"{name}","served":true,"storage":{stored},"subresources":{{"scale":{{"specReplicasPath":".spec.n","statusReplicasPath":".status.n"}}}},
            "schema":{{"openAPIV3Schema":{{"type":"object","properties":{{"spec":{{"type":"object","properties":{{"n":{{"type":"integer","format":"int32"}},"{field}":{{"type":"string"}}}}}}}}}}}}}}"#
        )
    };
    let definition = format!(
        r#"{{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{{"name":"cars.example.com"}},
        "spec":{{"group":"example.com","scope":"Namespaced","names":{{"plural":"cars","kind":"Car"}},"versions":[{},{}]}}}}"#,
        version("v1", true, "a"),
        version("v2", false, "b")
    );
    w.ok(&format!("POST {CRDS}\n\n{definition}"));
    let cars = |version: &str| format!("/apis/example.com/{version}/namespaces/default/cars");
    w.ok(&format!(
        "POST {}\n\n{{\"metadata\":{{\"name\":\"one\"}},\"spec\":{{\"n\":1,\"a\":\"x\"}}}}",
        cars("v1")
    ));
    assert_eq!(w.ok(&format!("GET {}/one", cars("v2")))["spec"], serde_json::json!({"n": 1}));
    // What the stored version doesn't know isn't stored.
    w.ok(&format!(
        "POST {}\n\n{{\"metadata\":{{\"name\":\"two\"}},\"spec\":{{\"n\":1,\"b\":\"x\"}}}}",
        cars("v2")
    ));
    assert_eq!(w.ok(&format!("GET {}/two", cars("v2")))["spec"], serde_json::json!({"n": 1}));
    let scale =
        r#"{"apiVersion":"autoscaling/v1","kind":"Scale","metadata":{"name":"one"},"spec":{"replicas":2}}"#;
    assert_eq!(w.ok(&format!("PUT {}/one/scale\n\n{scale}", cars("v1")))["spec"]["replicas"], 2);
    w.fails(
        &format!(
            "POST {}\n\n{{\"metadata\":{{\"name\":\"x\",\"foo\":1}},\"spec\":{{\"n\":99999999999}}}}",
            cars("v1")
        ),
        expect![[r#"422 Invalid: Car.example.com "x" is invalid: <nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.n"#]],
    );
    w.fails(
        &format!(
            "POST {}?fieldValidation=Strict\n\n{{\"metadata\":{{\"name\":\"x\",\"foo\":1}}}}",
            cars("v1")
        ),
        expect![[r#"400 BadRequest: Car in version "v1" cannot be handled as a Car: strict decoding error: unknown field "metadata.foo""#]],
    );
    w.fails(
        &format!("POST {}\n\n{{\"kind\":\"Bus\",\"metadata\":{{\"name\":\"x\"}}}}", cars("v1")),
        expect![[r#"422 Invalid: Bus.example.com "x" is invalid: kind: Invalid value: "Bus": must be Car"#]],
    );
}

#[test]
fn an_applied_scale_meets_the_owners_of_the_replicas() {
    let w = World::new();
    let sets = "/apis/apps/v1/namespaces/default/replicasets";
    let labels = r#"{"a":"b"}"#;
    let set = format!(
        r#"{{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{{"name":"s"}},"spec":{{"replicas":1,"selector":{{"matchLabels":{labels}}},
        "template":{{"metadata":{{"labels":{labels}}},"spec":{{"containers":[{{"name":"c","image":"i"}}]}}}}}}}}"#
    );
    let apply = |path: &str, manager: &str, body: &str| {
        format!(
            "PATCH {sets}/{path}?fieldManager={manager}\nContent-Type: application/apply-patch+yaml\n\n{body}"
        )
    };
    w.ok(&apply("s", "owner", &set));
    let scale = r#"{"apiVersion":"autoscaling/v1","kind":"Scale","spec":{"replicas":2}}"#;
    w.fails(
        &apply("s/scale", "scaler", scale),
        expect![[r#"409 Conflict: Apply failed with 1 conflict: conflict with "owner": .spec.replicas"#]],
    );
    let v = w.ok(&apply("s/scale", "scaler&force=true", scale));
    assert_eq!(v["spec"]["replicas"], 2);
    w.fails(&apply("s/scale", "scaler", &scale.replace('2', "-2")), expect![[r#"422 Invalid: Scale.autoscaling "s" is invalid: spec.replicas: Invalid value: -2: must be greater than or equal to 0"#]]);
}

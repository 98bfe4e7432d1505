//! Patches of all types.

use super::World;
use expect_test::expect;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

fn deployment() -> &'static str {
    r#"{"metadata":{"name":"web"},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"web"}},
    "template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"nginx"}]}}}}"#
}

#[test]
fn four_ways_to_patch() {
    let w = World::new();
    w.ok(&format!("POST {DEPLOYMENTS}\n\n{}", deployment()));
    let images = |v: &serde_json::Value| -> Vec<String> {
        let list = v["spec"]["template"]["spec"]["containers"].as_array().unwrap();
        list.iter()
            .map(|c| format!("{}={}", c["name"].as_str().unwrap(), c["image"].as_str().unwrap()))
            .collect()
    };
    let patch =
        |media: &str, body: &str| w.ok(&format!("PATCH {DEPLOYMENTS}/web\nContent-Type: {media}\n\n{body}"));
    let v = patch("application/json-patch+json", r#"[{"op":"replace","path":"/spec/replicas","value":3}]"#);
    assert_eq!((&v["spec"]["replicas"], &v["metadata"]["generation"]), (&3.into(), &2.into()));
    let v = patch("application/merge-patch+json", r#"{"metadata":{"labels":{"a":"b"}}}"#);
    assert_eq!((&v["metadata"]["labels"]["a"], &v["metadata"]["generation"]), (&"b".into(), &2.into()));
    let v = patch(
        "application/strategic-merge-patch+json",
        r#"{"spec":{"template":{"spec":{"containers":[{"name":"d","image":"busybox"}]}}}}"#,
    );
    assert_eq!(images(&v), ["d=busybox", "c=nginx"]);
    w.fails(
        &format!("PATCH {DEPLOYMENTS}/web\nContent-Type: application/json\n\n{{}}"),
        expect!["415 UnsupportedMediaType: 415: Unsupported Media Type"],
    );
    w.fails(
        &format!("PATCH {DEPLOYMENTS}/web\nContent-Type: application/merge-patch+json\n\n{{\"spec\":{{\"replicas\":-1}}}}"),
        expect![[r#"422 Invalid: Deployment.apps "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"#]],
    );
    let (code, text, _) = w.ask(&format!(
        "PATCH {DEPLOYMENTS}/web?fieldValidation=Strict\nContent-Type: application/merge-patch+json\n\n{{\"spec\":{{\"foo\":1}}}}"
    ));
    assert_eq!(code, 422);
    assert!(text.contains(r#"strict decoding error: unknown field \"spec.foo\""#), "{text}");
    w.fails(
        &format!("PATCH {DEPLOYMENTS}/no\nContent-Type: application/merge-patch+json\n\n{{}}"),
        expect![[r#"404 NotFound: deployments.apps "no" not found"#]],
    );
}

#[test]
fn apply_creates_and_finds_conflicts() {
    let w = World::new();
    let cm = "/api/v1/namespaces/default/configmaps/a";
    let apply = |query: &str, data: &str| {
        let body = format!(
            "{{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{{\"name\":\"a\"}},\"data\":{data}}}"
        );
        format!("PATCH {cm}?{query}\nContent-Type: application/apply-patch+yaml\n\n{body}")
    };
    w.fails(&apply("", "{}"), expect![[r#"422 Invalid: PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch"#]]);
    let (code, body, _) = w.ask(&apply("fieldManager=one", r#"{"k":"v","l":"m"}"#));
    assert_eq!(code, 201, "{body}");
    w.fails(
        &apply("fieldManager=two", r#"{"k":"w"}"#),
        expect![[r#"409 Conflict: Apply failed with 1 conflict: conflict with "one": .data.k"#]],
    );
    w.check(&apply("fieldManager=two&force=true", r#"{"k":"w"}"#), expect![[r#"
        200
        {"apiVersion":"v1","data":{"k":"w","l":"m"},"kind":"ConfigMap","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","name":"a","namespace":"default","resourceVersion":"+2","uid":"UID"}}"#]]);
    w.check(&apply("fieldManager=one", r#"{}"#), expect![[r#"
        200
        {"apiVersion":"v1","data":{"k":"w"},"kind":"ConfigMap","metadata":{"creationTimestamp":"2025-06-15T15:06:40Z","name":"a","namespace":"default","resourceVersion":"+3","uid":"UID"}}"#]]);
}

#[test]
fn what_cannot_be_merged_is_told_as_upstream_tells_it() {
    let w = World::new();
    w.ok(&format!("POST {DEPLOYMENTS}\n\n{}", deployment()));
    let patch = |query: &str, media: &str, body: &str| {
        format!("PATCH {DEPLOYMENTS}/web{query}\nContent-Type: application/{media}\n\n{body}")
    };
    w.fails(
        &patch(
            "",
            "strategic-merge-patch+json",
            r#"{"spec":{"template":{"spec":{"containers":[{"image":"x"}]}}}}"#,
        ),
        expect!["500 -: map: map[image:x] does not contain declared merge key: name"],
    );
    w.fails(
        &patch("?fieldManager=m", "apply-patch+yaml", r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replica":1}}"#),
        expect!["500 -: failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.replica: field not declared in schema"],
    );
    w.fails(
        &patch("", "json-patch+json", "{}"),
        expect!["400 BadRequest: error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"],
    );
    w.fails(
        &patch("?fieldValidation=Strict", "strategic-merge-patch+json", r#"{"spec":{"replica":1}}"#),
        expect![[r#"422 Invalid:  "" is invalid: patch: Invalid value: "map[spec:map[replica:1]]": strict decoding error: unknown field "spec.replica""#]],
    );
}

use super::*;
use crate::fixture::schemas;
use expect_test::{Expect, expect};

/// An object that is written again and again, one second later each time.
struct Object {
    schema: Schema,
    live: Option<Value>,
    now: i64,
}

impl Object {
    fn new(group: &str, kind: &str) -> Self {
        Self { schema: schemas().kind(group, "v1", kind).unwrap(), live: None, now: 0 }
    }

    fn writer<'a>(&self, manager: &'a str) -> Writer<'a> {
        Writer { manager, subresource: "", now: Time::from_second(self.now), reset: &[&["status"]] }
    }

    fn apply(&mut self, manager: &str, force: bool, applied: Value) -> Result<(), String> {
        self.now += 1;
        let out = apply(&self.schema, self.live.as_ref(), &applied, &self.writer(manager), force);
        self.live = Some(out.map_err(|e| e.message)?);
        Ok(())
    }

    fn update(&mut self, manager: &str, mut new: Value) {
        self.now += 1;
        let entries = track_update(&self.schema, self.live.as_ref(), &new, &self.writer(manager));
        new["metadata"]["managedFields"] = entries.into();
        self.live = Some(new);
    }

    fn bare(&self) -> Value {
        bare(self.live.as_ref().unwrap())
    }

    fn managers(&self) -> String {
        let live = self.live.as_ref().unwrap();
        let show = |e: &Value| {
            let text = |k: &str| e[k].as_str().unwrap_or("-").to_owned();
            format!("{} {} {} {}", text("manager"), text("operation"), text("time"), e["fieldsV1"])
        };
        entries(live).unwrap().iter().map(show).collect::<Vec<_>>().join("\n")
    }

    fn check(&self, object: Expect, managers: Expect) {
        let mut bare = self.bare();
        for key in ["apiVersion", "kind"] {
            bare.as_object_mut().unwrap().remove(key);
        }
        object.assert_eq(&bare.to_string());
        managers.assert_eq(&self.managers());
    }
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": data})
}

fn deployment(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "labels": {"a": "b"}}, "spec": spec})
}

fn pod(containers: Value) -> Value {
    deployment(json!({"template": {"spec": {"containers": containers}}}))
}

#[test]
fn apply_creates_changes_and_removes() {
    let mut o = Object::new("", "ConfigMap");
    o.apply("me", false, config_map(json!({"a": "1", "b": "2"}))).unwrap();
    o.check(
        expect![[r#"{"data":{"a":"1","b":"2"},"metadata":{"name":"x"}}"#]],
        expect![[r#"me Apply 1970-01-01T00:00:01Z {"f:data":{"f:a":{},"f:b":{}}}"#]],
    );
    o.apply("me", false, config_map(json!({"a": "3"}))).unwrap();
    o.check(
        expect![[r#"{"data":{"a":"3"},"metadata":{"name":"x"}}"#]],
        expect![[r#"me Apply 1970-01-01T00:00:02Z {"f:data":{"f:a":{}}}"#]],
    );
    // The same again changes nothing, not even the time.
    o.apply("me", false, config_map(json!({"a": "3"}))).unwrap();
    o.check(
        expect![[r#"{"data":{"a":"3"},"metadata":{"name":"x"}}"#]],
        expect![[r#"me Apply 1970-01-01T00:00:02Z {"f:data":{"f:a":{}}}"#]],
    );
}

#[test]
fn conflicts_force_and_sharing() {
    let mut o = Object::new("", "ConfigMap");
    o.apply("a", false, config_map(json!({"x": "1", "y": "1"}))).unwrap();
    let e = o.apply("b", false, config_map(json!({"x": "2"}))).unwrap_err();
    assert_eq!(e, "Apply failed with 1 conflict: conflict with \"a\": .data.x");
    let e = o.apply("b", false, config_map(json!({"x": "2", "y": "2"}))).unwrap_err();
    assert_eq!(e, "Apply failed with 2 conflicts: conflicts with \"a\":\n- .data.x\n- .data.y");
    // The same value is shared; then nobody's leaving takes it out.
    o.apply("b", false, config_map(json!({"x": "1"}))).unwrap();
    o.apply("a", false, config_map(json!({"y": "1"}))).unwrap();
    o.check(
        expect![[r#"{"data":{"x":"1","y":"1"},"metadata":{"name":"x"}}"#]],
        expect![[r#"
            b Apply - {"f:data":{"f:x":{}}}
            a Apply 1970-01-01T00:00:01Z {"f:data":{"f:y":{}}}"#]],
    );
    o.apply("c", true, config_map(json!({"x": "9"}))).unwrap();
    o.check(
        expect![[r#"{"data":{"x":"9","y":"1"},"metadata":{"name":"x"}}"#]],
        expect![[r#"
            a Apply 1970-01-01T00:00:01Z {"f:data":{"f:y":{}}}
            c Apply 1970-01-01T00:00:06Z {"f:data":{"f:x":{}}}"#]],
    );
}

#[test]
fn updates_own_and_conflict() {
    let mut o = Object::new("apps", "Deployment");
    o.update("kubectl-client-side-apply", deployment(json!({"replicas": 1, "paused": true})));
    o.check(
        expect![[r#"{"metadata":{"labels":{"a":"b"},"name":"x"},"spec":{"paused":true,"replicas":1}}"#]],
        expect![[
            r#"kubectl-client-side-apply Update 1970-01-01T00:00:01Z {"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:paused":{},"f:replicas":{}}}"#
        ]],
    );
    let e = o.apply("me", false, deployment(json!({"replicas": 2}))).unwrap_err();
    assert_eq!(
        e,
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas"
    );
    o.apply("me", true, deployment(json!({"replicas": 2}))).unwrap();
    o.check(
        expect![[r#"{"metadata":{"labels":{"a":"b"},"name":"x"},"spec":{"paused":true,"replicas":2}}"#]],
        expect![[r#"
            me Apply 1970-01-01T00:00:03Z {"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:replicas":{}}}
            kubectl-client-side-apply Update 1970-01-01T00:00:01Z {"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:paused":{}}}"#]],
    );
    // An update takes fields away from appliers, and a removed field is nobody's.
    o.update("scaler", {
        let mut v = o.live.clone().unwrap();
        v["spec"] = json!({"replicas": 5});
        v
    });
    assert_eq!(
        o.managers(),
        r#"me Apply 1970-01-01T00:00:03Z {"f:metadata":{"f:labels":{"f:a":{}}}}
kubectl-client-side-apply Update 1970-01-01T00:00:01Z {"f:metadata":{"f:labels":{".":{},"f:a":{}}}}
scaler Update 1970-01-01T00:00:04Z {"f:spec":{"f:replicas":{}}}"#
    );
}

#[test]
fn list_maps_sets_and_atomic_lists() {
    let mut o = Object::new("apps", "Deployment");
    o.apply(
        "a",
        false,
        pod(json!([{"name": "app", "image": "1", "args": ["x"], "ports": [{"containerPort": 80}]}])),
    )
    .unwrap();
    o.apply("b", false, pod(json!([{"name": "side", "image": "2"}]))).unwrap();
    o.check(
        expect![[r#"{"metadata":{"labels":{"a":"b"},"name":"x"},"spec":{"selector":null,"strategy":{},"template":{"metadata":{},"spec":{"containers":[{"args":["x"],"image":"1","name":"app","ports":[{"containerPort":80}]},{"image":"2","name":"side"}]}}},"status":{}}"#]],
        expect![[r#"
            a Apply 1970-01-01T00:00:01Z {"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"app\"}":{".":{},"f:args":{},"f:image":{},"f:name":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}}
            b Apply 1970-01-01T00:00:02Z {"f:metadata":{"f:labels":{"f:a":{}}},"f:spec":{"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"side\"}":{".":{},"f:image":{},"f:name":{}}}}}}}"#]],
    );
    let e = o.apply("b", false, pod(json!([{"name": "app", "args": ["y"]}]))).unwrap_err();
    assert_eq!(
        e,
        "Apply failed with 1 conflict: conflict with \"a\": .spec.template.spec.containers[name=\"app\"].args"
    );
    // The item goes with its only owner; the order of the applied list counts.
    o.apply("b", false, pod(json!([{"name": "z"}, {"name": "app"}]))).unwrap();
    let names = |o: &Object| -> Vec<String> {
        let list = o.bare();
        let list = list.pointer("/spec/template/spec/containers").unwrap().as_array().unwrap().clone();
        list.iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&o), ["z", "app"]);
    o.apply("a", false, pod(json!([]))).unwrap();
    let left = o.bare();
    assert_eq!(
        left.pointer("/spec/template/spec/containers"),
        Some(&json!([{"name": "z"}, {"name": "app"}]))
    );
}

#[test]
fn sets_of_scalars() {
    let mut o = Object::new("", "ConfigMap");
    let with = |f: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "finalizers": f}});
    o.apply("a", false, with(json!(["x/1", "x/2"]))).unwrap();
    o.apply("b", false, with(json!(["x/3", "x/2"]))).unwrap();
    o.apply("a", false, with(json!(["x/1"]))).unwrap();
    o.apply("b", false, with(json!(["x/3"]))).unwrap();
    o.check(
        expect![[r#"{"metadata":{"finalizers":["x/1","x/3"],"name":"x"}}"#]],
        expect![[r#"
            a Apply 1970-01-01T00:00:01Z {"f:metadata":{"f:finalizers":{"v:\"x/1\"":{}}}}
            b Apply 1970-01-01T00:00:04Z {"f:metadata":{"f:finalizers":{"v:\"x/3\"":{}}}}"#]],
    );
}

#[test]
fn bad_configurations_are_named() {
    let mut o = Object::new("apps", "Deployment");
    let e = o.apply("a", false, deployment(json!({"replicas": "x", "foo": 1}))).unwrap_err();
    assert_eq!(
        e,
        "failed to create typed patch object (/x; apps/v1, Kind=Deployment): errors:\n  .spec.foo: field not declared in schema\n  .spec.replicas: expected numeric (int or float), got string\n"
    );
    let e = o.apply("a", false, pod(json!([{"name": "x"}, {"name": "x"}]))).unwrap_err();
    assert!(e.ends_with(r#".spec.template.spec.containers: duplicate entries for key [name="x"]"#), "{e}");
    let e = o.apply("a", false, pod(json!([{"image": "x"}]))).unwrap_err();
    assert!(e.ends_with(r#"element 0: associative list with keys has an element that omits all key fields ["name"] (and doesn't have default values for any key fields)"#), "{e}");
    let e = o.apply("a", false, json!({"metadata": {"managedFields": []}})).unwrap_err();
    assert_eq!(e, "metadata.managedFields must be nil");
}

#[test]
fn kubectl_takes_over_its_client_side_apply() {
    let mut o = Object::new("", "ConfigMap");
    let mut v = config_map(json!({"a": "1", "b": "1"}));
    v["metadata"]["annotations"] = json!({LAST_APPLIED: config_map(json!({"a": "1", "b": "1"})).to_string()});
    o.update("kubectl-client-side-apply", v.clone());
    assert!(o.apply("other", false, config_map(json!({"a": "2"}))).is_err());
    o.apply("kubectl", false, config_map(json!({"a": "2"}))).unwrap();
    let live = o.bare();
    assert_eq!(live["data"], json!({"a": "2", "b": "1"}));
    let kept = live["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap();
    assert_eq!(kept, format!("{}\n", config_map(json!({"a": "2"}))));
}

#[test]
fn first_apply_of_an_untracked_object_and_resets() {
    let mut o = Object::new("", "ConfigMap");
    o.live = Some(config_map(json!({"a": "1"})));
    let e = o.apply("me", false, config_map(json!({"a": "2"}))).unwrap_err();
    assert_eq!(e, "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.a");
    o.apply("me", true, config_map(json!({"a": "2"}))).unwrap();
    o.update("x", {
        let mut v = o.live.clone().unwrap();
        v["metadata"]["managedFields"] = json!([]);
        v
    });
    assert_eq!(o.managers(), "");
    // Nothing is tracked until the next apply.
    o.update("x", config_map(json!({"a": "5"})));
    assert_eq!(o.managers(), "");
}

#[test]
fn the_oldest_updates_are_joined() {
    let mut o = Object::new("", "ConfigMap");
    let mut data = Map::new();
    for i in 0..14 {
        data.insert(format!("k{i:02}"), "v".into());
        let mut v = config_map(Value::Object(data.clone()));
        v["metadata"]["managedFields"] =
            o.live.as_ref().map_or(Value::Null, |l| l["metadata"]["managedFields"].clone());
        o.update(&format!("m{i:02}"), v);
    }
    let lines = o.managers();
    assert_eq!(lines.lines().count(), 10);
    assert!(lines.starts_with(
        r#"ancient-changes Update 1970-01-01T00:00:05Z {"f:data":{".":{},"f:k00":{},"f:k01":{},"f:k02":{},"f:k03":{},"f:k04":{}}}"#
    ), "{lines}");
}

#[test]
fn subresources_are_managers_of_their_own() {
    let schema = schemas().kind("apps", "v1", "Deployment").unwrap();
    let mut old = deployment(json!({"replicas": 1}));
    old["metadata"]["managedFields"] = track_update(
        &schema,
        None,
        &old,
        &Writer { manager: "m", subresource: "", now: Time::from_second(1), reset: &[&["status"]] },
    )
    .into();
    let mut new = old.clone();
    new["status"] = json!({"replicas": 1});
    new["spec"]["replicas"] = 7.into();
    let w = Writer {
        manager: "m",
        subresource: "status",
        now: Time::from_second(2),
        reset: &[&["spec"], &["metadata"]],
    };
    let entries = track_update(&schema, Some(&old), &new, &w);
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1]["subresource"], "status");
    assert_eq!(entries[1]["fieldsV1"], json!({"f:status": {".": {}, "f:replicas": {}}}));
    // Nothing changed: the entries stay as they are.
    let mut again = old.clone();
    again["metadata"]["resourceVersion"] = "9".into();
    let w = Writer { manager: "m", subresource: "", now: Time::from_second(9), reset: &[&["status"]] };
    assert_eq!(Value::from(track_update(&schema, Some(&old), &again, &w)), old["metadata"]["managedFields"]);
}

#[test]
fn custom_kinds() {
    let metadata = schemas().get("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").unwrap();
    let schema = Schema::from_custom(
        &json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "list": {"type": "array", "items": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "integer"}}}}}}}),
        &metadata,
    );
    let mut o = Object { schema, live: None, now: 0 };
    let cr =
        |spec: Value| json!({"apiVersion": "x.io/v1", "kind": "X", "metadata": {"name": "x"}, "spec": spec});
    o.apply("a", false, cr(json!({"list": ["1"], "free": {"q": {"r": 1}, "l": [1]}, "whole": {"a": 1}})))
        .unwrap();
    o.check(
        expect![[r#"{"metadata":{"name":"x"},"spec":{"free":{"l":[1],"q":{"r":1}},"list":["1"],"whole":{"a":1}}}"#]],
        expect![[
            r#"a Apply 1970-01-01T00:00:01Z {"f:spec":{"f:free":{"f:l":{},"f:q":{".":{},"f:r":{}}},"f:list":{},"f:whole":{}}}"#
        ]],
    );
    let e = o.apply("b", false, cr(json!({"whole": {"a": 2}}))).unwrap_err();
    assert_eq!(e, "Apply failed with 1 conflict: conflict with \"a\": .spec.whole");
    let e = o.apply("b", false, cr(json!({"nope": 2}))).unwrap_err();
    assert!(e.ends_with(".spec.nope: field not declared in schema"), "{e}");
}

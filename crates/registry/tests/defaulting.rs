//! What upstream's server makes of minimal objects, read off a running one (`tests/defaulting.json`: create with
//! `dryRun=All`), against ours. What admission adds there (service account, tolerations, priority, finalizers, taints)
//! and what is allocated is taken out of both.

use meta::Object;
use registry::{Context, Kind};
use serde_json::{Map, Value};

/// The kind that serves a collection's path.
fn kind_of(path: &str) -> &'static Kind {
    let steps: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (group, version) = if steps[0] == "api" { ("", steps[1]) } else { (steps[1], steps[2]) };
    registry::by_resource(group, version, steps[steps.len() - 1]).expect("a kind of ours")
}

fn created(case: &Value) -> (&'static Kind, Value) {
    let kind = kind_of(case["path"].as_str().expect("path"));
    let mut object = Object::from_value(case["input"].clone()).expect("an object");
    object.api_version = kind.api_version();
    object.kind = kind.kind.to_string();
    object.metadata.uid = "d223b639".to_owned();
    if kind.namespaced {
        object.metadata.namespace = "facts".to_owned();
    }
    kind.default(&mut object);
    kind.prepare_for_create(&mut object, &Context::at(jiff::Timestamp::UNIX_EPOCH));
    if object.kind == "Service" {
        assert_eq!(registry::service::init_families(&mut object, None, &[registry::service::Family::V4]), []);
    }
    assert_eq!(kind.validate_name(&object), []);
    assert_eq!(kind.validate(&object), [], "{}", case["case"]);
    assert_eq!(
        kind.cells(&object, jiff::Timestamp::UNIX_EPOCH).len(),
        kind.columns.len(),
        "{}",
        case["case"]
    );
    (kind, object.into_value())
}

fn remove(v: &mut Value, path: &[&str]) {
    let (last, steps) = path.split_last().expect("a path");
    let at = steps.iter().try_fold(v, |v, step| v.get_mut(*step));
    at.and_then(Value::as_object_mut).map(|m| m.remove(*last));
}

/// Takes out what isn't the registry's doing, and what a typed form leaves out when it is empty.
fn comparable(mut v: Value) -> Value {
    let admission = ["preemptionPolicy", "priority", "serviceAccount", "serviceAccountName", "tolerations"];
    match v["kind"].as_str().unwrap_or_default() {
        "Pod" => {
            admission.iter().for_each(|key| remove(&mut v, &["spec", key]));
            let token =
                |item: &Value| item["name"].as_str().is_some_and(|n| n.starts_with("kube-api-access"));
            let mut lists = [&mut v["spec"]["volumes"]];
            lists.iter_mut().filter_map(|l| l.as_array_mut()).for_each(|l| l.retain(|i| !token(i)));
            for list in ["containers", "initContainers"] {
                for container in v["spec"][list].as_array_mut().into_iter().flatten() {
                    let mounts = container["volumeMounts"].as_array_mut();
                    mounts.into_iter().for_each(|l| l.retain(|i| !token(i)));
                }
            }
        }
        "PersistentVolume" | "PersistentVolumeClaim" => {
            remove(&mut v, &["metadata", "finalizers"]);
            remove(&mut v, &["status", "lastPhaseTransitionTime"]);
        }
        "Node" => remove(&mut v, &["spec", "taints"]),
        "Service" if v["spec"]["clusterIP"] != "None" => {
            ["clusterIP", "clusterIPs"].iter().for_each(|key| remove(&mut v, &["spec", key]));
        }
        _ => {}
    }
    remove(&mut v, &["metadata", "uid"]);
    without_empty(v)
}

fn without_empty(v: Value) -> Value {
    let is_uid = |s: &str| s.len() == 36 && s.matches('-').count() == 4;
    match v {
        Value::Object(map) => {
            let full = map.into_iter().map(|(k, v)| (k, without_empty(v)));
            let keep = |v: &Value| match v {
                Value::Null => false,
                Value::String(s) => !s.is_empty(),
                Value::Array(a) => !a.is_empty(),
                Value::Object(o) => !o.is_empty(),
                _ => true,
            };
            Value::Object(full.filter(|(_, v)| keep(v)).collect::<Map<_, _>>())
        }
        Value::Array(items) => items.into_iter().map(without_empty).collect(),
        Value::String(s) if is_uid(&s) => "d223b639".into(),
        other => other,
    }
}

#[test]
fn new_objects_are_as_upstream_makes_them() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("defaulting.json")).expect("JSON");
    let mut different = Vec::new();
    for case in &cases {
        let (_, ours) = created(case);
        let (ours, theirs) = (comparable(ours), comparable(case["output"].clone()));
        if ours != theirs {
            different.push(format!("{}\n  ours   {ours}\n  theirs {theirs}", case["case"]));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

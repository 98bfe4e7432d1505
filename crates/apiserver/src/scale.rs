//! `scale`: any object with replicas, shown as `autoscaling/v1 Scale`
//! (`pkg/registry/apps/deployment/storage`, `apiextensions-apiserver/pkg/registry/customresource/etcd.go`).

use crate::decode::Form;
use meta::{FieldError, FieldPath, Object, ObjectMeta, Status};
use registry::ScalePaths;
use serde_json::{Map, Value, json};

/// What a Scale is.
pub(crate) fn form() -> Form {
    Form::named("autoscaling/v1", "Scale", "io.k8s.api.autoscaling.v1.Scale")
}

/// The object as a Scale.
pub(crate) fn show(paths: &ScalePaths, object: &Object) -> Object {
    let m = &object.metadata;
    let root = Value::Object(object.body.clone());
    let number = |path: &str| registry::walk(&root, path).and_then(Value::as_i64).unwrap_or(0);
    let mut spec = Map::new();
    if number(&paths.spec_replicas) != 0 {
        spec.insert("replicas".into(), number(&paths.spec_replicas).into());
    }
    let mut status = json!({"replicas": number(&paths.status_replicas)});
    let selector = Some(&paths.selector).filter(|p| !p.is_empty()).and_then(|p| registry::walk(&root, p));
    if let Some(selector) = selector.and_then(selector_text) {
        status["selector"] = selector.into();
    }
    let metadata = ObjectMeta {
        name: m.name.clone(),
        namespace: m.namespace.clone(),
        uid: m.uid.clone(),
        resource_version: m.resource_version.clone(),
        creation_timestamp: m.creation_timestamp,
        ..ObjectMeta::default()
    };
    let mut body = Map::new();
    body.insert("spec".into(), Value::Object(spec));
    body.insert("status".into(), status);
    Object { api_version: "autoscaling/v1".into(), kind: "Scale".into(), metadata, body }
}

fn selector_text(v: &Value) -> Option<String> {
    if let Some(text) = v.as_str() {
        return Some(text.to_owned());
    }
    let plain = v.get("matchLabels").is_none() && v.get("matchExpressions").is_none();
    if plain && let Ok(labels) = serde_json::from_value(v.clone()) {
        return Some(meta::Selector::from_labels(&labels).to_string());
    }
    let selector = meta::LabelSelector::from_value(v).ok()?.selector().ok()?;
    Some(selector.to_string())
}

/// What an applied Scale says of the object itself (upstream's `managedfields.ScaleHandler`).
pub(crate) fn applied(paths: &ScalePaths, scale: &Value, old: &Object) -> Result<Value, Status> {
    form().check_applied(scale)?;
    let revision = scale.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
    let metadata = ObjectMeta {
        name: old.metadata.name.clone(),
        namespace: old.metadata.namespace.clone(),
        resource_version: revision.to_owned(),
        ..ObjectMeta::default()
    };
    let (api_version, kind) = (old.api_version.clone(), old.kind.clone());
    let mut object = Object { api_version, kind, metadata, body: Map::new() };
    if let Some(replicas) = scale.pointer("/spec/replicas") {
        not_negative(replicas.as_i64().unwrap_or(0), &old.metadata.name)?;
        object.set(&steps(paths), replicas.clone());
    }
    Ok(object.into_value())
}

fn steps(paths: &ScalePaths) -> Vec<&str> {
    paths.spec_replicas.trim_start_matches('.').split('.').collect()
}

fn not_negative(replicas: i64, name: &str) -> Result<(), Status> {
    if replicas >= 0 {
        return Ok(());
    }
    let path = FieldPath::new("spec.replicas");
    let fault = FieldError::invalid(&path, replicas, "must be greater than or equal to 0");
    Err(Status::invalid("autoscaling", "Scale", name, &[fault]))
}

/// The object with the replicas that the Scale wants.
pub(crate) fn write(paths: &ScalePaths, scale: &Object, old: &Object) -> Result<Object, Status> {
    let replicas = scale.get(&["spec", "replicas"]).and_then(Value::as_i64).unwrap_or(0);
    not_negative(replicas, &scale.metadata.name)?;
    let mut new = old.clone();
    new.set(&steps(paths), replicas.into());
    Ok(new)
}

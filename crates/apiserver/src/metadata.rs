//! What every object's metadata must be, and what an update may change of it
//! (`k8s.io/apimachinery/pkg/api/validation/objectmeta.go`).

use meta::names;
use meta::{FieldError, FieldPath, ObjectMeta};
use std::collections::BTreeMap;

/// Bytes of all annotations together (`TotalAnnotationSizeLimitB`).
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Faults of an object's metadata beside its name.
pub(crate) fn validate(meta: &ObjectMeta, namespaced: bool) -> Vec<FieldError> {
    let path = FieldPath::new("metadata");
    let mut errors = Vec::new();
    if namespaced {
        let namespace = path.child("namespace");
        if meta.namespace.is_empty() {
            errors.push(FieldError::required(&namespace, ""));
        }
        for why in names::dns1123_label(&meta.namespace).into_iter().filter(|_| !meta.namespace.is_empty()) {
            errors.push(FieldError::invalid(&namespace, meta.namespace.as_str(), why));
        }
    } else if !meta.namespace.is_empty() {
        errors.push(FieldError::forbidden(&path.child("namespace"), "not allowed on this type"));
    }
    errors.extend(meta::selector::validate_labels(&meta.labels, &path.child("labels")));
    annotations(&meta.annotations, &path.child("annotations"), &mut errors);
    owners(meta, &path.child("ownerReferences"), &mut errors);
    finalizers(meta, &path.child("finalizers"), &mut errors);
    errors
}

fn annotations(all: &BTreeMap<String, String>, path: &FieldPath, errors: &mut Vec<FieldError>) {
    for key in all.keys() {
        // Annotation keys are checked in lower case, unlike those of labels.
        for why in names::qualified_name(&key.to_ascii_lowercase()) {
            errors.push(FieldError::invalid(path, key.as_str(), why));
        }
    }
    if all.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>() > MAX_ANNOTATIONS {
        errors.push(FieldError::too_long(path, MAX_ANNOTATIONS));
    }
}

fn owners(meta: &ObjectMeta, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let mut controller: Option<&str> = None;
    for (i, owner) in meta.owner_references.iter().enumerate() {
        let at = path.index(i);
        let (_, version) = meta::gvk::parse_api_version(&owner.api_version);
        if version.is_empty() {
            let why = "version must not be empty";
            errors.push(FieldError::invalid(&at.child("apiVersion"), owner.api_version.as_str(), why));
        }
        for (field, value) in [("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)] {
            if value.is_empty() {
                errors.push(FieldError::invalid(&at.child(field), "", "must not be empty"));
            }
        }
        if owner.kind == "Event" && owner.api_version == "v1" {
            let why = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(FieldError::invalid(&at, owner.name.as_str(), why));
        }
        match controller {
            Some(first) if owner.controller == Some(true) => {
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {}",
                    owner.name
                );
                errors.push(FieldError::invalid(path, owner.name.as_str(), why));
            }
            _ if owner.controller == Some(true) => controller = Some(&owner.name),
            _ => {}
        }
    }
}

fn finalizers(meta: &ObjectMeta, path: &FieldPath, errors: &mut Vec<FieldError>) {
    for (i, name) in meta.finalizers.iter().enumerate() {
        for why in names::qualified_name(name) {
            errors.push(FieldError::invalid(&path.index(i), name.as_str(), why));
        }
        if !name.contains('/') && !matches!(name.as_str(), "orphan" | "foregroundDeletion") {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(&path.index(i), name.as_str(), why));
        }
    }
    let has = |f: &str| meta.finalizers.iter().any(|x| x == f);
    if has("orphan") && has("foregroundDeletion") {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid(path, meta.finalizers.clone(), why));
    }
}

/// Faults of a change of metadata (`ValidateObjectMetaUpdate`). What the server itself keeps was put back before.
pub(crate) fn validate_update(new: &ObjectMeta, old: &ObjectMeta) -> Vec<FieldError> {
    let path = FieldPath::new("metadata");
    let mut errors = Vec::new();
    let same = [
        ("name", &new.name, &old.name),
        ("namespace", &new.namespace, &old.namespace),
        ("uid", &new.uid, &old.uid),
    ];
    for (field, new, old) in same {
        if new != old {
            errors.push(FieldError::invalid(&path.child(field), new.as_str(), "field is immutable"));
        }
    }
    if old.deletion_timestamp.is_some() {
        let added: Vec<&String> = new.finalizers.iter().filter(|f| !old.finalizers.contains(f)).collect();
        if !added.is_empty() {
            let text = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers {added:?}"
            );
            errors.push(FieldError::forbidden(&path.child("finalizers"), text));
        }
    }
    if new.deletion_timestamp != old.deletion_timestamp {
        let value = new.deletion_timestamp.map_or(serde_json::Value::Null, |t| t.to_string().into());
        errors.push(FieldError::invalid(&path.child("deletionTimestamp"), value, "field is immutable"));
    }
    if new.deletion_grace_period_seconds != old.deletion_grace_period_seconds {
        let value = new.deletion_grace_period_seconds.map_or(serde_json::Value::Null, Into::into);
        errors.push(FieldError::invalid(
            &path.child("deletionGracePeriodSeconds"),
            value,
            "field is immutable",
        ));
    }
    errors
}

/// Drops owners that stand twice; whether there was one (`dedupOwnerReferencesAndAddWarning`).
pub(crate) fn dedup_owners(meta: &mut ObjectMeta) -> bool {
    let before = meta.owner_references.len();
    let all = std::mem::take(&mut meta.owner_references);
    for owner in all {
        if !meta.owner_references.contains(&owner) {
            meta.owner_references.push(owner);
        }
    }
    meta.owner_references.len() != before
}

//! Metadata of all kinds (`k8s.io/apimachinery/pkg/api/validation/objectmeta.go`).

use super::Faults;
use meta::names::qualified_name;
use meta::selector::validate_labels;
use meta::{FieldError, FieldPath, ObjectMeta};
use std::collections::BTreeMap;

/// The most bytes that all annotations of an object may have.
const ANNOTATIONS_MAX: usize = 256 * 1024;
/// Finalizers without a domain.
const STANDARD_FINALIZERS: [&str; 3] = ["foregroundDeletion", "kubernetes", "orphan"];

/// What is wrong with the metadata beside the name. Built-in kinds know fewer finalizers without a domain.
pub(crate) fn validate_metadata(m: &ObjectMeta, namespaced: bool, built_in: bool) -> Faults {
    let path = FieldPath::new("metadata");
    let mut faults = Vec::new();
    match (namespaced, m.namespace.as_str()) {
        (true, "") => faults.push(FieldError::required(&path.child("namespace"), "")),
        (true, namespace) => {
            let rule = crate::names::dns_label(namespace, false);
            let at = path.child("namespace");
            faults.extend(rule.into_iter().map(|why| FieldError::invalid(&at, namespace, why)));
        }
        (false, "") => {}
        (false, _) => {
            faults.push(FieldError::forbidden(&path.child("namespace"), "not allowed on this type"))
        }
    }
    if m.generation < 0 {
        faults.push(FieldError::invalid(&path.child("generation"), m.generation, super::NEGATIVE));
    }
    faults.extend(validate_labels(&m.labels, &path.child("labels")));
    faults.extend(validate_annotations(&m.annotations, &path.child("annotations")));
    faults.extend(owners(m, &path.child("ownerReferences")));
    finalizers(m, built_in, &path.child("finalizers"), &mut faults);
    faults
}

/// What is wrong with annotations.
pub(crate) fn validate_annotations(annotations: &BTreeMap<String, String>, path: &FieldPath) -> Faults {
    let mut faults = Vec::new();
    for key in annotations.keys() {
        let rule = qualified_name(&key.to_lowercase());
        faults.extend(rule.into_iter().map(|why| FieldError::invalid(path, key.as_str(), why)));
    }
    if annotations.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>() > ANNOTATIONS_MAX {
        faults.push(FieldError::too_long(path, ANNOTATIONS_MAX));
    }
    faults
}

fn owners(m: &ObjectMeta, path: &FieldPath) -> Faults {
    let mut faults = Vec::new();
    let mut controller: Option<String> = None;
    for owner in &m.owner_references {
        let (_, version) = meta::gvk::parse_api_version(&owner.api_version);
        if version.is_empty() {
            let why = "version must not be empty";
            faults.push(FieldError::invalid(&path.child("apiVersion"), owner.api_version.as_str(), why));
        }
        for (key, text) in [("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)] {
            if text.is_empty() {
                faults.push(FieldError::invalid(&path.child(key), "", "must not be empty"));
            }
        }
        if owner.api_version == "v1" && owner.kind == "Event" {
            let value = serde_json::to_value(owner).unwrap_or_default();
            let why = "/v1, Kind=Event is disallowed from being an owner";
            faults.push(FieldError::invalid(path, value, why));
        }
        if owner.controller != Some(true) {
            continue;
        }
        let name = format!("{}/{}", owner.kind, owner.name);
        match &controller {
            Some(first) => {
                let why = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and \
                     {name}"
                );
                let value = serde_json::to_value(&m.owner_references).unwrap_or_default();
                faults.push(FieldError::invalid(path, value, why));
            }
            None => controller = Some(name),
        }
    }
    faults
}

fn finalizers(m: &ObjectMeta, built_in: bool, path: &FieldPath, faults: &mut Faults) {
    let has = |name: &str| m.finalizers.iter().any(|f| f == name);
    for (i, name) in m.finalizers.iter().enumerate() {
        faults.extend(
            qualified_name(name).into_iter().map(|why| FieldError::invalid(path, name.as_str(), why)),
        );
        if built_in && !name.contains('/') && !STANDARD_FINALIZERS.contains(&name.as_str()) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            faults.push(FieldError::invalid(&path.index(i), name.as_str(), why));
        }
    }
    if has("orphan") && has("foregroundDeletion") {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        faults.push(FieldError::invalid(path, m.finalizers.clone(), why));
    }
}

//! What an update may change of an object's metadata, and owners that stand twice
//! (`k8s.io/apimachinery/pkg/api/validation/objectmeta.go`). What metadata must be in itself, `registry` knows.

use meta::{FieldError, FieldPath, ObjectMeta};

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
            let added: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
            let text = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
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

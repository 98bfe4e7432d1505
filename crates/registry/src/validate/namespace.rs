//! Namespaces (`pkg/apis/core/validation/validation.go`: `ValidateNamespaceStatusUpdate`).

use super::at::{At, Faults};
use meta::{FieldError, FieldPath, Object};

/// A change of a Namespace's status: it is `Active` until it goes, then `Terminating`.
pub(crate) fn validate_namespace_status(new: &Object, _: &Object) -> Faults {
    let phase = new.str(&["status", "phase"]);
    let path = FieldPath::new("status.Phase");
    match (new.metadata.is_deleting(), phase) {
        (false, "Active") | (true, "Terminating") => Vec::new(),
        (false, _) => {
            vec![FieldError::invalid(&path, phase, "may only be 'Active' if `deletionTimestamp` is empty")]
        }
        (true, _) => {
            vec![FieldError::invalid(
                &path,
                phase,
                "may only be 'Terminating' if `deletionTimestamp` is not empty",
            )]
        }
    }
}

/// Namespace: who may hold it back.
pub(crate) fn validate_namespace(o: &Object) -> Faults {
    let mut faults = Vec::new();
    for name in At::top(o, "spec").get("finalizers").items().map(|f| f.str()) {
        let path = FieldPath::new("spec.finalizers");
        let rule = meta::names::qualified_name(name).into_iter();
        faults.extend(rule.map(|why| FieldError::invalid(&path, name, why)));
        if !name.contains('/') && name != "kubernetes" {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            faults.push(FieldError::invalid(&path, name, why));
        }
    }
    faults
}

//! Namespaces (`pkg/apis/core/validation/validation.go`: `ValidateNamespaceStatusUpdate`).

use super::Faults;
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

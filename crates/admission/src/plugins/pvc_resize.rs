//! PersistentVolumeClaimResize: a claim grows only if its class lets it
//! (`plugin/pkg/admission/storage/persistentvolume/resize`).

use super::default_storage_class::CLASS_ANNOTATION;
use crate::json::{resources, spec, text};
use crate::{Operation, Plugin, Request, View};
use meta::{Object, Status};
use serde_json::Value;

pub(crate) struct PersistentVolumeClaimResize;

/// The class of a claim; the older annotation wins.
pub(super) fn class_of(claim: &Object) -> &str {
    let annotated = claim.metadata.annotations.get(CLASS_ANNOTATION);
    annotated.map_or_else(|| text(spec(claim), &["storageClassName"]), String::as_str)
}

impl Plugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn handles(&self, r: &Request) -> bool {
        r.operation == Operation::Update && r.is("", "persistentvolumeclaims")
    }

    fn validate(&self, r: &mut Request, view: &dyn View) -> Result<(), Status> {
        let (Some(new), Some(old)) = (&r.object, &r.old) else { return Ok(()) };
        let size =
            |claim| resources(spec(claim), &["resources", "requests"]).remove("storage").unwrap_or_default();
        if size(new) <= size(old) {
            return Ok(());
        }
        if old.str(&["status", "phase"]) != "Bound" {
            return Err(r.forbidden("Only bound persistent volume claims can be expanded"));
        }
        let (class, before) = (class_of(new), class_of(old));
        let stored = view.get("storage.k8s.io", "storageclasses", "", class);
        let grows = stored.is_some_and(|c| c.body.get("allowVolumeExpansion") == Some(&Value::Bool(true)));
        if class.is_empty() || class != before || !grows {
            return Err(r.forbidden(
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc \
                 must support resize",
            ));
        }
        Ok(())
    }
}

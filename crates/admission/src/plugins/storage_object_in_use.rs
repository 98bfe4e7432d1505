//! StorageObjectInUseProtection: volumes and claims go only when nobody uses them any more
//! (`plugin/pkg/admission/storage/storageobjectinuseprotection`).

use crate::{Operation, Plugin, Request, View};
use meta::Status;

pub(crate) struct StorageObjectInUseProtection;

fn finalizer(r: &Request) -> Option<&'static str> {
    match (r.resource.group.as_str(), r.resource.resource.as_str()) {
        ("", "persistentvolumes") => Some("kubernetes.io/pv-protection"),
        ("", "persistentvolumeclaims") => Some("kubernetes.io/pvc-protection"),
        ("storage.k8s.io", "volumeattributesclasses") => Some("kubernetes.io/vac-protection"),
        _ => None,
    }
}

impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn handles(&self, r: &Request) -> bool {
        r.operation == Operation::Create && r.subresource.is_empty() && finalizer(r).is_some()
    }

    fn mutate(&self, r: &mut Request, _view: &dyn View) -> Result<(), Status> {
        let (Some(finalizer), Some(object)) = (finalizer(r), &mut r.object) else { return Ok(()) };
        let finalizers = &mut object.metadata.finalizers;
        if !finalizers.iter().any(|f| f == finalizer) {
            finalizers.push(finalizer.to_owned());
        }
        Ok(())
    }
}

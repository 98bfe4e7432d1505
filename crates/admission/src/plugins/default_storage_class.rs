//! DefaultStorageClass: a claim that names no class gets the default one
//! (`plugin/pkg/admission/storage/storageclass/setdefault`).

use crate::json::{at, spec};
use crate::{Operation, Plugin, Request, View};
use meta::{Object, Status};
use std::cmp::Reverse;
use std::sync::Arc;

/// The older name of a claim's class.
pub(super) const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const IS_DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

pub(crate) struct DefaultStorageClass;

impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn handles(&self, r: &Request) -> bool {
        r.operation == Operation::Create && r.is("", "persistentvolumeclaims")
    }

    fn mutate(&self, r: &mut Request, view: &dyn View) -> Result<(), Status> {
        let Some(claim) = &mut r.object else { return Ok(()) };
        let has_class = claim.metadata.annotations.contains_key(CLASS_ANNOTATION)
            || !at(spec(claim), &["storageClassName"]).is_null();
        if has_class {
            return Ok(());
        }
        let classes = view.list("storage.k8s.io", "storageclasses", "");
        if let Some(class) = newest_marked(classes, &IS_DEFAULT) {
            claim.set(&["spec", "storageClassName"], class.metadata.name.as_str().into());
        }
        Ok(())
    }
}

/// The newest object with one of the annotations set to `true`; of equally new ones the first by name.
pub(super) fn newest_marked(objects: Vec<Arc<Object>>, annotations: &[&str]) -> Option<Arc<Object>> {
    let marked = |o: &Arc<Object>| {
        annotations.iter().any(|a| o.metadata.annotations.get(*a).is_some_and(|v| v == "true"))
    };
    let mut found: Vec<Arc<Object>> = objects.into_iter().filter(marked).collect();
    found.sort_by_key(|o| (Reverse(o.metadata.creation_timestamp), o.metadata.name.clone()));
    found.into_iter().next()
}

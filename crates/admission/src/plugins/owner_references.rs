//! OwnerReferencesPermissionEnforcement: who sets an owner must be able to delete the object, and who blocks the
//! owner's deletion must be able to set the owner's finalizers (`plugin/pkg/admission/gc`).

use crate::{Operation, Plugin, Request, View};
use meta::{Attributes, Object, OwnerReference, Status, gvk};

pub(crate) struct OwnerReferencesPermissionEnforcement;

impl Plugin for OwnerReferencesPermissionEnforcement {
    fn name(&self) -> &'static str {
        "OwnerReferencesPermissionEnforcement"
    }

    fn handles(&self, r: &Request) -> bool {
        // Pods through `pods/status` can't change their owners: the strategy puts the old ones back.
        let guarded = r.is_any("", "pods") && r.subresource == "status";
        matches!(r.operation, Operation::Create | Operation::Update) && !guarded
    }

    fn validate(&self, r: &mut Request, view: &dyn View) -> Result<(), Status> {
        let owners = |o: &Option<Object>| o.as_ref().map(|o| o.metadata.owner_references.clone());
        let (new, old) = (owners(&r.object).unwrap_or_default(), owners(&r.old).unwrap_or_default());
        if new == old {
            return Ok(());
        }
        if r.operation == Operation::Update && !view.authorize(&attributes(r, "delete")) {
            return Err(r.forbidden("cannot set an ownerRef on a resource you can't delete: , <nil>"));
        }
        let blocking: Vec<&OwnerReference> = new.iter().filter(|o| blocks_newly(o, &old)).collect();
        if blocking.is_empty() || view.authorize(&finalize_anything(r)) {
            return Ok(());
        }
        for owner in blocking {
            check_owner(r, view, owner)?;
        }
        Ok(())
    }
}

fn blocks_newly(owner: &OwnerReference, old: &[OwnerReference]) -> bool {
    let blocks = |o: &OwnerReference| o.block_owner_deletion == Some(true);
    blocks(owner) && !old.iter().any(|o| o.uid == owner.uid && blocks(o))
}

fn attributes(r: &Request, verb: &str) -> Attributes {
    Attributes {
        version: r.resource.version.clone(),
        subresource: r.subresource.clone(),
        ..Attributes::resource(&r.user, verb, &r.resource.group, &r.resource.resource)
            .namespace(&r.namespace)
            .name(&r.name)
    }
}

fn finalize_anything(r: &Request) -> Attributes {
    Attributes::resource(&r.user, "update", "*", "*/finalizers").name("*")
}

fn check_owner(r: &Request, view: &dyn View, owner: &OwnerReference) -> Result<(), Status> {
    let (api_version, kind) = (&owner.api_version, &owner.kind);
    let (group, version) = gvk::parse_api_version(api_version);
    let Some((resource, namespaced)) = view.resource_for(api_version, kind) else {
        let matches = format!("no matches for kind {kind:?} in version {api_version:?}");
        return Err(r.forbidden(format!(
            "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion \
             {api_version} Kind {kind}: {matches}"
        )));
    };
    // A namespaced owner stands in the namespace of what it owns.
    let namespace = if namespaced { r.namespace.as_str() } else { "" };
    let wanted = Attributes::resource(&r.user, "update", group, &format!("{resource}/finalizers"));
    let wanted = Attributes { version: version.to_owned(), ..wanted.namespace(namespace).name(&owner.name) };
    if view.authorize(&wanted) {
        return Ok(());
    }
    Err(r.forbidden(
        "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: , \
         <nil>",
    ))
}

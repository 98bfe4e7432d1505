//! Volumes for claims: binding, the built-in provisioner, protection of what is in use
//! (`pkg/controller/volume`).

mod claim;
mod class;
mod matching;
mod protection;
mod pv;

pub(crate) use claim::Claims;
pub(crate) use class::DefaultClass;
pub(crate) use protection::{ClaimProtection, VolumeProtection};
pub(crate) use pv::Volumes;

use api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use api::{Kind, MetaExt, names};

/// The provisioner that is built in: directories on the node of the first pod that uses a claim.
pub(crate) const PROVISIONER: &str = "ironclad.local/volume";
/// What annotations say.
const YES: &str = "yes";

/// The storage class of a claim; empty for none.
fn class_of(claim: &PersistentVolumeClaim) -> &str {
    let named = claim.spec.as_ref().and_then(|s| s.storage_class_name.as_deref());
    claim.annotation(names::ANNOTATION_STORAGE_CLASS_LEGACY).or(named).unwrap_or_default()
}

/// The storage class of a volume; empty for none.
fn class_of_volume(volume: &PersistentVolume) -> &str {
    let named = volume.spec.as_ref().and_then(|s| s.storage_class_name.as_deref());
    volume.annotation(names::ANNOTATION_STORAGE_CLASS_LEGACY).or(named).unwrap_or_default()
}

/// The claim that a volume is, or is to be, bound to.
fn claim_ref(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume.spec.as_ref()?.claim_ref.as_ref()
}

/// Whether a volume is meant for this claim: by UID, or by name where nobody claimed it yet.
fn is_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    claim_ref(volume).is_some_and(|r| {
        r.name == claim.metadata.name
            && r.namespace == claim.metadata.namespace
            && r.uid.as_ref().is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_ref())
    })
}

/// A volume's reference to its claim.
fn reference_to(claim: &PersistentVolumeClaim) -> ObjectReference {
    ObjectReference {
        api_version: Some(PersistentVolumeClaim::INFO.api_version()),
        kind: Some(PersistentVolumeClaim::INFO.kind.to_owned()),
        name: claim.metadata.name.clone(),
        namespace: claim.metadata.namespace.clone(),
        uid: claim.metadata.uid.clone(),
        resource_version: claim.metadata.resource_version.clone(),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests;

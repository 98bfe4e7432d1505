//! Which volume suits a claim: asked by the binder and by the scheduler
//! (`k8s.io/component-helpers/storage/volume/pv_helpers.go`).

use crate::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use crate::selectors::selector;
use crate::{Kind, MetaExt, names};
use meta::quantity::Quantity;
use std::any::Any;
use std::collections::BTreeMap;

/// The storage class of a claim or a volume, or empty: the annotation counts before the field.
pub fn class_of<K: Kind>(object: &K) -> &str {
    if let Some(class) = object.annotation(names::ANNOTATION_STORAGE_CLASS_LEGACY) {
        return class;
    }
    let any: &dyn Any = object.as_any();
    let claim = any.downcast_ref::<PersistentVolumeClaim>().and_then(|c| c.spec.as_ref());
    let volume = any.downcast_ref::<PersistentVolume>().and_then(|v| v.spec.as_ref());
    let named = claim.map(|s| &s.storage_class_name).or(volume.map(|s| &s.storage_class_name));
    named.and_then(|n| n.as_deref()).unwrap_or_default()
}

fn storage(map: Option<&BTreeMap<String, crate::Quantity>>) -> Quantity {
    let text = map.and_then(|m| m.get("storage"));
    text.and_then(|q| Quantity::parse(&q.0).ok()).unwrap_or_default()
}

/// How much the claim asks for.
pub fn asked(claim: &PersistentVolumeClaim) -> Quantity {
    let resources = claim.spec.as_ref().and_then(|s| s.resources.as_ref());
    storage(resources.and_then(|r| r.requests.as_ref()))
}

fn capacity(volume: &PersistentVolume) -> Quantity {
    storage(volume.spec.as_ref().and_then(|s| s.capacity.as_ref()))
}

/// Whether one is a file system and the other a block device.
pub fn modes_differ(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    let of_claim = claim.spec.as_ref().and_then(|s| s.volume_mode.as_deref());
    let of_volume = volume.spec.as_ref().and_then(|s| s.volume_mode.as_deref());
    of_claim.unwrap_or("Filesystem") != of_volume.unwrap_or("Filesystem")
}

fn attributes_differ(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    let of_claim = claim.spec.as_ref().and_then(|s| s.volume_attributes_class_name.as_deref());
    let of_volume = volume.spec.as_ref().and_then(|s| s.volume_attributes_class_name.as_deref());
    of_claim.unwrap_or_default() != of_volume.unwrap_or_default()
}

fn access_modes(volume: &PersistentVolume) -> &[String] {
    volume.spec.as_ref().and_then(|s| s.access_modes.as_deref()).unwrap_or_default()
}

/// Whether the volume can be accessed in every way that the claim asks for.
fn is_accessible(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    let mut asked = claim.spec.iter().flat_map(|s| s.access_modes.iter().flatten());
    asked.all(|mode| access_modes(volume).contains(mode))
}

/// `spec.claimRef`.
pub fn claim_ref(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume.spec.as_ref()?.claim_ref.as_ref()
}

/// Whether the reference is to a claim of this namespace and name, and to no other one than this.
pub fn refers(reference: &ObjectReference, claim: &PersistentVolumeClaim) -> bool {
    let uid = reference.uid.as_deref().unwrap_or_default();
    reference.name == claim.metadata.name
        && reference.namespace == claim.metadata.namespace
        && (uid.is_empty() || uid == claim.uid())
}

/// `status.phase` of a volume, or empty.
pub fn phase(volume: &PersistentVolume) -> &str {
    volume.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// Whether a volume is as the claim asks, whoever has it.
fn suits(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    capacity(volume) >= asked(claim)
        && !modes_differ(claim, volume)
        && !attributes_differ(claim, volume)
        && !volume.is_deleting()
        && is_accessible(claim, volume)
}

/// The volume that is reserved for a claim.
pub fn reserved<'a>(
    claim: &PersistentVolumeClaim,
    mut volumes: impl Iterator<Item = &'a PersistentVolume>,
) -> Option<&'a PersistentVolume> {
    volumes.find(|v| claim_ref(v).is_some_and(|r| refers(r, claim)) && suits(claim, v))
}

/// The free volumes that a claim may take, the best first: the fewest access modes, then the least capacity.
pub fn free<'a>(
    claim: &PersistentVolumeClaim,
    volumes: impl Iterator<Item = &'a PersistentVolume>,
) -> Vec<&'a PersistentVolume> {
    let labels = claim.spec.as_ref().and_then(|s| s.selector.as_ref()).map(selector);
    let class = class_of(claim);
    let is_free = |v: &&PersistentVolume| {
        claim_ref(v).is_none()
            && phase(v) == "Available"
            && labels.as_ref().is_none_or(|s| s.matches(v.labels()))
            && class_of(*v) == class
            && suits(claim, v)
    };
    let mut all: Vec<&PersistentVolume> = volumes.filter(is_free).collect();
    all.sort_by_key(|v| (access_modes(v).len(), capacity(v)));
    all
}

/// Why a volume that the claim names can't be its (`checkVolumeSatisfyClaim`).
pub fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<String> {
    if volume.is_deleting() {
        return Some(format!("the volume is marked for deletion {:?}", volume.name()));
    }
    let reasons = [
        (capacity(volume).value() < asked(claim).value(), "requested PV is too small"),
        (class_of(volume) != class_of(claim), "storageClassName does not match"),
        (attributes_differ(claim, volume), "volumeAttributesClassName does not match"),
        (modes_differ(claim, volume), "incompatible volumeMode"),
        (!is_accessible(claim, volume), "incompatible accessMode"),
    ];
    reasons.iter().find(|(wrong, _)| *wrong).map(|(_, why)| (*why).to_owned())
}

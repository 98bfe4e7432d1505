//! Which volume suits a claim (`k8s.io/component-helpers/storage/volume/pv_helpers.go`).

use super::{claim_ref, phase, refers};
use crate::selectors::selector;
use api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use api::{Kind, MetaExt, names};
use meta::quantity::Quantity;
use std::any::Any;
use std::collections::BTreeMap;

/// The storage class of a claim or a volume, or empty: the annotation counts before the field.
pub(crate) fn class_of<K: Kind>(object: &K) -> &str {
    if let Some(class) = object.annotation(names::ANNOTATION_STORAGE_CLASS_LEGACY) {
        return class;
    }
    let any: &dyn Any = object.as_any();
    let claim = any.downcast_ref::<PersistentVolumeClaim>().and_then(|c| c.spec.as_ref());
    let volume = any.downcast_ref::<PersistentVolume>().and_then(|v| v.spec.as_ref());
    let named = claim.map(|s| &s.storage_class_name).or(volume.map(|s| &s.storage_class_name));
    named.and_then(|n| n.as_deref()).unwrap_or_default()
}

fn storage(map: Option<&BTreeMap<String, api::Quantity>>) -> Quantity {
    let text = map.and_then(|m| m.get("storage"));
    text.and_then(|q| Quantity::parse(&q.0).ok()).unwrap_or_default()
}

/// How much the claim asks for.
pub(super) fn asked(claim: &PersistentVolumeClaim) -> Quantity {
    let resources = claim.spec.as_ref().and_then(|s| s.resources.as_ref());
    storage(resources.and_then(|r| r.requests.as_ref()))
}

fn capacity(volume: &PersistentVolume) -> Quantity {
    storage(volume.spec.as_ref().and_then(|s| s.capacity.as_ref()))
}

/// Whether one is a file system and the other a block device.
pub(super) fn modes_differ(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
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

/// The best volume for a claim that doesn't name one: one that is reserved for it, else the one with the
/// fewest access modes and the least capacity. For a delayed claim only a reserved one: the scheduler chooses.
pub(super) fn best<'a>(
    claim: &PersistentVolumeClaim,
    volumes: impl Iterator<Item = &'a PersistentVolume>,
    delayed: bool,
) -> Option<&'a PersistentVolume> {
    let size = asked(claim);
    let labels = claim.spec.as_ref().and_then(|s| s.selector.as_ref()).map(selector);
    let class = class_of(claim);
    let suits = |v: &&PersistentVolume| {
        claim_ref(v).is_none_or(|r| refers(r, claim))
            && capacity(v) >= size
            && !modes_differ(claim, v)
            && !attributes_differ(claim, v)
            && !v.is_deleting()
            && is_accessible(claim, v)
    };
    let is_free = |v: &PersistentVolume| {
        !delayed
            && phase(v) == "Available"
            && labels.as_ref().is_none_or(|s| s.matches(v.labels()))
            && class_of(v) == class
    };
    let mut found: Option<&PersistentVolume> = None;
    for volume in volumes.filter(suits) {
        if claim_ref(volume).is_some() {
            return Some(volume);
        }
        let rank = |v: &PersistentVolume| (access_modes(v).len(), capacity(v));
        if is_free(volume) && found.is_none_or(|best| rank(volume) < rank(best)) {
            found = Some(volume);
        }
    }
    found
}

/// Why a volume that the claim names can't be its (`checkVolumeSatisfyClaim`).
pub(super) fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<String> {
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

//! Which volume suits a claim best (`pkg/controller/volume/persistentvolume/index.go`).

use super::{claim_ref, class_of, class_of_volume, is_for};
use crate::placement;
use crate::selectors::selector;
use api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use api::{MetaExt, Quantity};
use client::View;
use std::collections::BTreeMap;

/// The smallest volume that suits; one that is meant for the claim goes before all others.
pub(super) fn best<'a>(
    view: View<'a>,
    claim: &PersistentVolumeClaim,
    node: Option<&Node>,
) -> Option<&'a PersistentVolume> {
    let meant = view.all::<PersistentVolume>().find(|v| is_for(v, claim) && !v.is_deleting());
    if meant.is_some() {
        return meant;
    }
    let suits = |v: &&PersistentVolume| is_free(v) && suits(v, claim) && reaches(v, node);
    let size =
        |v: &&PersistentVolume| (storage(v.spec.as_ref().and_then(|s| s.capacity.as_ref())), v.created());
    view.all::<PersistentVolume>().filter(suits).min_by_key(size)
}

fn is_free(volume: &PersistentVolume) -> bool {
    let phase = volume.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("Available");
    claim_ref(volume).is_none() && !volume.is_deleting() && matches!(phase, "Available" | "Pending")
}

fn suits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let (Some(offer), Some(wish)) = (&volume.spec, &claim.spec) else { return false };
    let mode = |m: &Option<String>| m.clone().unwrap_or_else(|| "Filesystem".to_owned());
    let modes = offer.access_modes.as_deref().unwrap_or_default();
    let wanted = wish.access_modes.as_deref().unwrap_or_default();
    let labels = wish.selector.as_ref().is_none_or(|s| selector(s).matches(volume.labels()));
    let asked = storage(wish.resources.as_ref().and_then(|r| r.requests.as_ref()));
    class_of_volume(volume) == class_of(claim)
        && mode(&offer.volume_mode) == mode(&wish.volume_mode)
        && wanted.iter().all(|m| modes.contains(m))
        && labels
        && storage(offer.capacity.as_ref()) >= asked
}

/// Whether the node, where one is chosen, reaches the volume.
fn reaches(volume: &PersistentVolume, node: Option<&Node>) -> bool {
    let affinity = volume.spec.as_ref().and_then(|s| s.node_affinity.as_ref()?.required.as_ref());
    match (affinity, node) {
        (Some(required), Some(node)) => placement::selects(required, node),
        _ => true,
    }
}

/// Bytes of storage in a list of resources; 0 where it names none.
pub(super) fn storage(resources: Option<&BTreeMap<String, Quantity>>) -> i64 {
    let text = resources.and_then(|r| r.get("storage"));
    text.and_then(|q| meta::quantity::Quantity::parse(&q.0).ok()).map_or(0, |q| q.value())
}

//! Which claims a pod uses (`k8s.io/component-helpers/storage/ephemeral`).

use api::MetaExt;
use api::core::v1::{PersistentVolumeClaim, Pod};

/// The names of the claims that a pod mounts, and for each whether it belongs to an ephemeral volume.
pub(crate) fn claim_names(pod: &Pod) -> impl Iterator<Item = (String, bool)> {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    volumes.filter_map(|v| match (&v.persistent_volume_claim, &v.ephemeral) {
        (Some(claim), _) => Some((claim.claim_name.clone(), false)),
        (None, Some(_)) => Some((ephemeral_name(pod, &v.name), true)),
        (None, None) => None,
    })
}

/// The name of the claim of an ephemeral volume.
pub(crate) fn ephemeral_name(pod: &Pod, volume: &str) -> String {
    format!("{}-{volume}", pod.name())
}

/// Whether the claim was made for an ephemeral volume of this pod.
pub(crate) fn is_for_pod(claim: &PersistentVolumeClaim, pod: &Pod) -> bool {
    claim.controller().is_some_and(|owner| owner.uid == pod.uid())
}

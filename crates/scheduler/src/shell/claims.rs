//! The claims of pods: how far they are, and waiting for those that wait for a node.

use super::Scheduler;
use crate::plugins::{Claim, ClaimState};
use api::MetaExt;
use api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use api::storage::v1::StorageClass;
use client::{Call, Client, Key, PatchKind, Resource};
use jiff::Timestamp;
use reconcile::EventNote;
use serde_json::json;
use std::time::Duration;

/// How long a pod waits for its claims on a node (`VolumeBindingArgs.bindTimeoutSeconds`).
const TIMEOUT: Duration = Duration::from_secs(600);
/// Tells the provisioner on which node the volume is needed.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// A pod with a node whose claims are not all bound yet.
pub(super) struct Waiting {
    pub(super) node: String,
    pub(super) until: Timestamp,
}

impl Waiting {
    pub(super) fn new(node: &str, now: Timestamp) -> Self {
        Self { node: node.to_owned(), until: now + TIMEOUT }
    }
}

/// Says on which node a claim is needed. A failure shows as a claim that stays unbound.
pub(super) async fn select_node(client: Client, namespace: String, name: String, node: String) {
    let patch = json!({"metadata": {"annotations": {SELECTED_NODE: node}}}).to_string();
    let r = Resource::of::<PersistentVolumeClaim>();
    let call = Call::patch(&r, &namespace, &name, "", PatchKind::Merge, patch.into_bytes());
    if let Err(e) = client.send(call).await {
        tracing::warn!("claim {namespace}/{name} was not told its node: {e}");
    }
}

impl Scheduler {
    /// The claims that a pod mounts, its ephemeral volumes' included.
    pub(super) fn claims_of(&self, pod: &Pod) -> Vec<Claim> {
        let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
        let names = volumes.filter_map(|v| match (&v.persistent_volume_claim, &v.ephemeral) {
            (Some(claim), _) => Some(claim.claim_name.clone()),
            (None, Some(_)) => Some(format!("{}-{}", pod.name(), v.name)),
            (None, None) => None,
        });
        names.map(|name| Claim { state: self.claim_state(pod.namespace(), &name), name }).collect()
    }

    fn claim_state(&self, namespace: &str, name: &str) -> ClaimState {
        let view = self.caches.view();
        let Some(claim) = view.get::<PersistentVolumeClaim>(namespace, name) else {
            return ClaimState::Absent;
        };
        if claim.is_deleting() {
            return ClaimState::Deleting;
        }
        let spec = claim.spec.clone().unwrap_or_default();
        let bound = claim.annotation("pv.kubernetes.io/bind-completed").is_some();
        if let Some(volume) = spec.volume_name.filter(|v| bound && !v.is_empty()) {
            return match view.get::<PersistentVolume>("", &volume) {
                None => ClaimState::Lost,
                Some(pv) => {
                    let affinity = pv.spec.as_ref().and_then(|s| s.node_affinity.as_ref());
                    ClaimState::Bound(affinity.and_then(|a| a.required.clone()))
                }
            };
        }
        let class = spec.storage_class_name.unwrap_or_default();
        let class = view.get::<StorageClass>("", &class);
        match class.and_then(|c| c.volume_binding_mode.as_deref()) {
            Some("WaitForFirstConsumer") => ClaimState::Waiting,
            _ => ClaimState::Unbound,
        }
    }

    /// Bound, and its status says so too: the node reads that, and complains of a claim that is only half bound.
    fn settled(&self, namespace: &str, claim: &Claim) -> bool {
        let view = self.caches.view();
        let found = view.get::<PersistentVolumeClaim>(namespace, &claim.name);
        let phase = found.as_ref().and_then(|c| c.status.as_ref()?.phase.as_deref());
        matches!(claim.state, ClaimState::Bound(_)) && phase == Some("Bound")
    }

    /// Binds the pods whose claims are all bound now, and gives up on those that waited too long.
    pub(super) fn claims_changed(&mut self) {
        let now = self.now();
        let keys: Vec<Key> = self.waiting.keys().cloned().collect();
        for key in keys {
            let Some(pod) = self.pod(&key) else { continue };
            let ready = self.claims_of(&pod).iter().all(|c| self.settled(pod.namespace(), c));
            let late = self.waiting.get(&key).is_some_and(|w| w.until <= now);
            if !(ready || late) {
                continue;
            }
            let Some(waiting) = self.waiting.remove(&key) else { continue };
            if ready {
                self.bind(key, pod.uid(), waiting.node);
                continue;
            }
            self.assumed.remove(&key);
            self.snapshot.remove_pod(&key);
            self.queue.failed(&key, true, now);
            let what = "running PreBind plugin \"VolumeBinding\": binding volumes: context deadline exceeded";
            self.note(EventNote::warning(&*pod, "FailedScheduling", what));
        }
    }
}

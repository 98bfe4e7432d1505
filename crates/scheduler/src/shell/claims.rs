//! The claims of pods: how far they are, and waiting for those that wait for a node.

use super::{Bound, Scheduler};
use crate::plugins::{Claim, ClaimState, Delayed};
use crate::pod::claim_names;
use crate::terms::node_selector_matches;
use api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use api::storage::v1::StorageClass;
use api::{MetaExt, names, volumes};
use client::{Call, Key, PatchKind, Resource};
use jiff::Timestamp;
use reconcile::EventNote;
use serde_json::json;
use std::time::Duration;

/// How long a pod waits for its claims on a node (`VolumeBindingArgs.bindTimeoutSeconds`).
const TIMEOUT: Duration = Duration::from_secs(600);
/// The class of volumes that are made by hand (`storageutil.NotSupportedProvisioner`).
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";
/// Tells the provisioner on which node the volume is needed.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// A pod with a node whose claims are not all bound yet.
pub(super) struct Waiting {
    pub(super) node: String,
    /// Volumes that its claims were promised.
    volumes: Vec<String>,
    pub(super) until: Timestamp,
}

impl Waiting {
    pub(super) fn new(node: &str, volumes: Vec<String>, now: Timestamp) -> Self {
        Self { node: node.to_owned(), volumes, until: now + TIMEOUT }
    }
}

/// How a pod's events name what is done to its claims.
const STEP: &str = "running PreBind plugin \"VolumeBinding\": binding volumes";
const LATE: &str = "context deadline exceeded";
const ELSEWHERE: &str = "pv is not usable on the node";

impl Scheduler {
    /// Says on which node a claim is needed, so that a volume is made there.
    pub(super) fn select_node(&self, pod: &Key, claim: &str, node: &str) {
        let patch = json!({"metadata": {"annotations": {SELECTED_NODE: node}}}).to_string();
        let r = Resource::of::<PersistentVolumeClaim>();
        let call = Call::patch(&r, &pod.namespace, claim, "", PatchKind::Merge, patch.into_bytes());
        self.prepare(pod, node, call);
    }

    /// Keeps a volume for a claim; the binder does the rest.
    pub(super) fn reserve(&self, pod: &Key, claim: &str, volume: &str, node: &str) {
        let view = self.caches.view();
        let (Some(claim), Some(volume)) = (
            view.get::<PersistentVolumeClaim>(&pod.namespace, claim),
            view.get::<PersistentVolume>("", volume),
        ) else {
            return;
        };
        let meta = json!({"resourceVersion": volume.metadata.resource_version,
            "annotations": {names::ANNOTATION_PV_BOUND_BY_CONTROLLER: "yes"}});
        let patch = json!({"metadata": meta, "spec": {"claimRef": reconcile::plan::reference(claim)}});
        let (r, body) = (Resource::of::<PersistentVolume>(), patch.to_string().into_bytes());
        self.prepare(pod, node, Call::patch(&r, "", volume.name(), "", PatchKind::Merge, body));
    }

    /// A write that a pod's binding needs first. Unless it is known to be done, the pod is decided about anew.
    fn prepare(&self, pod: &Key, node: &str, call: Call) {
        let (client, done, key, node) =
            (self.client.clone(), self.bound.clone(), pod.clone(), node.to_owned());
        tokio::spawn(async move {
            if let Some(error) = client.send(call).await.err() {
                let _ = done.send(Bound { key, node, step: STEP, error: Some(error) }).await;
            }
        });
    }

    /// The claims that a pod mounts, its ephemeral volumes' included.
    pub(super) fn claims_of(&self, pod: &Pod) -> Vec<Claim> {
        let named = |name: String| {
            let claim = self.caches.view().get::<PersistentVolumeClaim>(pod.namespace(), &name);
            let mut modes = claim.iter().flat_map(|c| &c.spec).flat_map(|s| s.access_modes.iter().flatten());
            let exclusive = modes.any(|m| m == "ReadWriteOncePod");
            Claim { state: self.claim_state(pod.namespace(), &name), name, exclusive }
        };
        claim_names(pod).map(named).collect()
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
        let class = view.get::<StorageClass>("", volumes::class_of(claim));
        match class.filter(|c| c.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")) {
            Some(class) => ClaimState::Waiting(self.delayed(claim, class)),
            None => ClaimState::Unbound,
        }
    }

    fn delayed(&self, claim: &PersistentVolumeClaim, class: &StorageClass) -> Delayed {
        let promised = |v: &&PersistentVolume| {
            self.waiting.values().any(|w| w.volumes.iter().any(|name| name == v.name()))
        };
        let all = self.caches.view().all::<PersistentVolume>().filter(|v| !promised(v));
        let usable = |v: &PersistentVolume| {
            let affinity = v.spec.as_ref().and_then(|s| s.node_affinity.as_ref());
            (v.name().to_owned(), affinity.and_then(|a| a.required.clone()))
        };
        Delayed {
            selected: claim.annotation(SELECTED_NODE).map(str::to_owned),
            volumes: volumes::free(claim, all).into_iter().map(usable).collect(),
            provisioned: class.provisioner != NO_PROVISIONER,
        }
    }

    /// Bound, and its status says so too: the node reads that, and complains of a claim that is only half bound.
    fn settled(&self, namespace: &str, claim: &Claim) -> bool {
        let view = self.caches.view();
        let found = view.get::<PersistentVolumeClaim>(namespace, &claim.name);
        let phase = found.as_ref().and_then(|c| c.status.as_ref()?.phase.as_deref());
        matches!(claim.state, ClaimState::Bound(_)) && phase == Some("Bound")
    }

    /// Binds the pods whose claims are all bound now, and gives up on those that waited too long, or whose volume
    /// turned out to be elsewhere.
    pub(super) fn claims_changed(&mut self) {
        let now = self.now();
        let keys: Vec<Key> = self.waiting.keys().cloned().collect();
        for key in keys {
            let Some(pod) = self.pod(&key) else { continue };
            let Some(waiting) = self.waiting.get(&key) else { continue };
            let claims = self.claims_of(&pod);
            let ready = claims.iter().all(|c| self.settled(pod.namespace(), c));
            let elsewhere = claims.iter().any(|c| !self.is_usable_on(&c.state, &waiting.node));
            let late = waiting.until <= now;
            if !(ready || elsewhere || late) {
                continue;
            }
            let Some(waiting) = self.waiting.remove(&key) else { continue };
            if ready && !elsewhere {
                self.bind(key, pod.uid(), waiting.node);
                continue;
            }
            self.assumed.remove(&key);
            self.snapshot.remove_pod(&key);
            self.queue.failed(&key, !elsewhere, now);
            let why = if elsewhere { ELSEWHERE } else { LATE };
            self.note(EventNote::warning(&*pod, "FailedScheduling", format!("{STEP}: {why}")));
        }
    }

    fn is_usable_on(&self, state: &ClaimState, node: &str) -> bool {
        let ClaimState::Bound(Some(selector)) = state else { return true };
        self.snapshot.node(node).is_some_and(|n| node_selector_matches(selector, &n.name, &n.labels))
    }
}

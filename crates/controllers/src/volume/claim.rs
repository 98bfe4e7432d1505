//! Finds or makes a volume for a claim, and binds the two (`pv_controller.go`, `syncClaim`).

use super::{PROVISIONER, YES, class_of, is_for, matching, reference_to};
use api::core::v1::{
    HostPathVolumeSource, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume,
    PersistentVolumeClaim, PersistentVolumeClaimStatus, PersistentVolumeSpec, Pod, VolumeNodeAffinity,
};
use api::storage::v1::StorageClass;
use api::{MetaExt, ObjectMeta, names};
use client::{Key, View};
use reconcile::{Controller, Cx, EventNote, Plan, Watch, Write};
use serde_json::json;
use std::collections::BTreeMap;

/// The controller, with the directory in which nodes keep provisioned volumes.
pub(crate) struct Claims {
    pub(crate) directory: String,
}

impl Controller for Claims {
    fn name(&self) -> &'static str {
        "persistentvolume-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![
            Watch::own::<PersistentVolumeClaim>(),
            Watch::each::<PersistentVolume>(keys_of_volume),
            Watch::each::<Pod>(keys_of_pod),
            Watch::each::<StorageClass>(|view, _, keys| keys.extend(pending(view))),
            Watch::only::<Node>(),
        ]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let claim = cx.view.at::<PersistentVolumeClaim>(cx.key);
        claim.filter(|c| !c.is_deleting()).map(|c| self.sync(cx.view, c)).unwrap_or_default()
    }
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim.spec.as_ref().and_then(|s| s.volume_name.as_deref()).is_some_and(|v| !v.is_empty())
}

/// Claims that still wait for a volume.
fn pending(view: View<'_>) -> impl Iterator<Item = Key> {
    view.all::<PersistentVolumeClaim>().filter(|c| !is_bound(c)).map(|c| Key::of(c))
}

fn keys_of_volume(view: View<'_>, volume: &PersistentVolume, keys: &mut Vec<Key>) {
    match super::claim_ref(volume) {
        Some(r) => {
            let text = |v: &Option<String>| v.clone().unwrap_or_default();
            keys.push(Key::new(&text(&r.namespace), &text(&r.name)));
        }
        None => keys.extend(pending(view)),
    }
}

/// A pod that has its node decides where a claim that waited for it is to be.
fn keys_of_pod(view: View<'_>, pod: &Pod, keys: &mut Vec<Key>) {
    if crate::pods::node(pod).is_empty() {
        return;
    }
    for name in claims_of(pod) {
        if view.get::<PersistentVolumeClaim>(pod.namespace(), &name).is_some_and(|c| !is_bound(c)) {
            keys.push(Key::new(pod.namespace(), &name));
        }
    }
}

/// The claims that a pod uses, its ephemeral volumes' included.
pub(super) fn claims_of(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    let named = volumes.filter_map(|v| match (&v.persistent_volume_claim, &v.ephemeral) {
        (Some(claim), _) => Some(claim.claim_name.clone()),
        (None, Some(_)) => Some(format!("{}-{}", pod.name(), v.name)),
        (None, None) => None,
    });
    named.collect()
}

impl Claims {
    fn sync(&self, view: View<'_>, claim: &PersistentVolumeClaim) -> Plan {
        if is_bound(claim) { bound(view, claim) } else { self.unbound(view, claim) }
    }

    fn unbound(&self, view: View<'_>, claim: &PersistentVolumeClaim) -> Plan {
        let class = view.get::<StorageClass>("", class_of(claim));
        let waits = class.and_then(|c| c.volume_binding_mode.as_deref()) == Some("WaitForFirstConsumer");
        let node = selected_node(view, claim);
        let meant = view.all::<PersistentVolume>().any(|v| is_for(v, claim) && !v.is_deleting());
        if waits && node.is_none() && !meant {
            let text = "waiting for first consumer to be created before binding";
            return wait(claim, EventNote::normal(claim, "WaitForFirstConsumer", text));
        }
        if let Some(volume) = matching::best(view, claim, node) {
            return bind(claim, volume);
        }
        let name = class_of(claim);
        match class {
            None if name.is_empty() => {
                let text = "no persistent volumes available for this claim and no storage class is set";
                wait(claim, EventNote::normal(claim, "FailedBinding", text))
            }
            None => {
                let text = format!("storageclass.storage.k8s.io {name:?} not found");
                wait(claim, EventNote::warning(claim, "ProvisioningFailed", text))
            }
            Some(class) if class.provisioner == "kubernetes.io/no-provisioner" => {
                let text = "no persistent volumes available for this claim";
                wait(claim, EventNote::normal(claim, "FailedBinding", text))
            }
            Some(class) if class.provisioner == PROVISIONER => self.provision(view, claim, class, node),
            Some(class) => external(claim, &class.provisioner),
        }
    }

    /// Makes a volume: a directory on the node that the first pod is on.
    fn provision(
        &self,
        view: View<'_>,
        claim: &PersistentVolumeClaim,
        class: &StorageClass,
        node: Option<&Node>,
    ) -> Plan {
        let Some(node) = node.or_else(|| view.all::<Node>().next()) else {
            let text = "there is no node yet on which the volume could be";
            return wait(claim, EventNote::normal(claim, "FailedBinding", text));
        };
        let wish = claim.spec.clone().unwrap_or_default();
        if wish.volume_mode.as_deref() == Some("Block") {
            let text = format!(
                "failed to provision volume with StorageClass {:?}: block volumes are not supported",
                class.name()
            );
            return wait(claim, EventNote::warning(claim, "ProvisioningFailed", text));
        }
        let name = format!("pvc-{}", claim.uid());
        let annotations =
            BTreeMap::from([(names::ANNOTATION_PV_PROVISIONED_BY.to_owned(), PROVISIONER.to_owned())]);
        let requests = wish.resources.and_then(|r| r.requests).unwrap_or_default();
        let volume = PersistentVolume {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                annotations: Some(annotations),
                finalizers: Some(vec![names::FINALIZER_PV_PROTECTION.to_owned()]),
                ..ObjectMeta::default()
            },
            spec: Some(PersistentVolumeSpec {
                access_modes: wish.access_modes,
                capacity: Some(requests.into_iter().filter(|(k, _)| k == "storage").collect()),
                claim_ref: Some(reference_to(claim)),
                host_path: Some(HostPathVolumeSource {
                    path: format!("{}/{name}", self.directory),
                    type_: Some("DirectoryOrCreate".to_owned()),
                }),
                mount_options: class.mount_options.clone(),
                node_affinity: Some(only_on(node)),
                persistent_volume_reclaim_policy: class.reclaim_policy.clone(),
                storage_class_name: class.metadata.name.clone(),
                volume_mode: wish.volume_mode,
                ..PersistentVolumeSpec::default()
            }),
            status: None,
        };
        let done = format!("Successfully provisioned volume {name}");
        let failed = format!("failed to provision volume with StorageClass {:?}: {{}}", class.name());
        let create = Write::create(&volume)
            .ok(EventNote::normal(claim, "ProvisioningSucceeded", done))
            .or(EventNote::warning(claim, "ProvisioningFailed", failed));
        // Binding follows when the cache shows the volume.
        Plan::one(create)
    }
}

/// Where the claim is needed: the scheduler says so, or a pod that uses it is there already.
fn selected_node<'a>(view: View<'a>, claim: &PersistentVolumeClaim) -> Option<&'a Node> {
    if let Some(node) = claim.annotation(names::ANNOTATION_SELECTED_NODE) {
        return view.get::<Node>("", node);
    }
    let name = claim.name();
    let mut users = view.all::<Pod>().filter(|p| p.namespace() == claim.namespace() && !p.is_deleting());
    let user = users.find(|p| !crate::pods::node(p).is_empty() && claims_of(p).iter().any(|c| c == name))?;
    view.get::<Node>("", crate::pods::node(user))
}

fn only_on(node: &Node) -> VolumeNodeAffinity {
    let (key, value) = match node.label(names::LABEL_HOSTNAME) {
        Some(host) => (names::LABEL_HOSTNAME, host),
        None => ("metadata.name", node.name()),
    };
    let requirement = NodeSelectorRequirement {
        key: key.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![value.to_owned()]),
    };
    let list = Some(vec![requirement]);
    let term = if key == names::LABEL_HOSTNAME {
        NodeSelectorTerm { match_expressions: list, match_fields: None }
    } else {
        NodeSelectorTerm { match_expressions: None, match_fields: list }
    };
    VolumeNodeAffinity { required: Some(NodeSelector { node_selector_terms: vec![term] }) }
}

fn with_phase(claim: &PersistentVolumeClaim, phase: &str) -> Option<Write> {
    let now = claim.status.as_ref().and_then(|s| s.phase.as_deref());
    let patch = json!({"metadata": {"uid": claim.uid()}, "status": {"phase": phase}});
    (now != Some(phase)).then(|| Write::strategic(claim, "status", &patch))
}

fn wait(claim: &PersistentVolumeClaim, event: EventNote) -> Plan {
    Plan {
        writes: with_phase(claim, "Pending").into_iter().collect(),
        events: vec![event],
        requeue_after: None,
    }
}

/// Tells a provisioner that isn't ours what to do.
fn external(claim: &PersistentVolumeClaim, provisioner: &str) -> Plan {
    let text = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the \
         system administrator. If volume creation is delayed, please verify that the provisioner is running and \
         correctly registered."
    );
    let mut plan = wait(claim, EventNote::normal(claim, "ExternalProvisioning", text));
    let keys = [names::ANNOTATION_STORAGE_PROVISIONER, names::ANNOTATION_STORAGE_PROVISIONER_BETA];
    if keys.iter().any(|k| claim.annotation(k) != Some(provisioner)) {
        let annotations = json!({keys[0]: provisioner, keys[1]: provisioner});
        plan.writes.push(Write::merge(claim, &json!({"metadata": {"annotations": annotations}})));
    }
    plan
}

/// Binds both sides: the volume names the claim first, so that no other claim can take it.
fn bind(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Plan {
    let mut plan = Plan::default();
    let by_us = names::ANNOTATION_PV_BOUND_BY_CONTROLLER;
    if super::claim_ref(volume).and_then(|r| r.uid.as_ref()) != claim.metadata.uid.as_ref() {
        let mut bound = volume.clone();
        let had_claim = super::claim_ref(volume).is_some();
        bound.spec.get_or_insert_default().claim_ref = Some(reference_to(claim));
        if !had_claim {
            bound.metadata.annotations.get_or_insert_default().insert(by_us.to_owned(), YES.to_owned());
        }
        plan.writes.push(Write::update(&bound));
    }
    let mut bound = claim.clone();
    let spec = bound.spec.get_or_insert_default();
    let chosen_by_user = spec.volume_name.as_deref() == Some(volume.name());
    spec.volume_name = volume.metadata.name.clone();
    let annotations = bound.metadata.annotations.get_or_insert_default();
    annotations.insert(names::ANNOTATION_PV_BIND_COMPLETED.to_owned(), YES.to_owned());
    if !chosen_by_user {
        annotations.insert(by_us.to_owned(), YES.to_owned());
    }
    if bound != *claim {
        plan.writes.push(Write::update(&bound));
    }
    let status = bound_status(claim, volume);
    if claim.status.as_ref() != Some(&status) {
        let patch = json!({"metadata": {"uid": claim.uid()}, "status": status});
        plan.writes.push(Write::strategic(claim, "status", &patch));
    }
    plan
}

fn bound_status(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> PersistentVolumeClaimStatus {
    let offer = volume.spec.clone().unwrap_or_default();
    let mut status = claim.status.clone().unwrap_or_default();
    status.phase = Some("Bound".to_owned());
    status.access_modes = offer.access_modes;
    // A claim that has been resized keeps its own size.
    if status.capacity.is_none() {
        status.capacity = offer.capacity;
    }
    status
}

/// A claim that names its volume.
fn bound(view: View<'_>, claim: &PersistentVolumeClaim) -> Plan {
    let name = claim.spec.as_ref().and_then(|s| s.volume_name.as_deref()).unwrap_or_default();
    let completed = claim.annotation(names::ANNOTATION_PV_BIND_COMPLETED).is_some();
    match view.get::<PersistentVolume>("", name) {
        Some(volume) if is_for(volume, claim) => bind(claim, volume),
        Some(volume) if super::claim_ref(volume).is_none() && !volume.is_deleting() => bind(claim, volume),
        other if completed => lost(claim, other.is_some()),
        Some(_) => {
            let text = format!("volume {name:?} already bound to a different claim.");
            wait(claim, EventNote::warning(claim, "FailedBinding", text))
        }
        None => Plan { writes: with_phase(claim, "Pending").into_iter().collect(), ..Plan::default() },
    }
}

fn lost(claim: &PersistentVolumeClaim, misbound: bool) -> Plan {
    let Some(write) = with_phase(claim, "Lost") else { return Plan::done() };
    let (reason, text) = if misbound {
        ("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
    } else {
        ("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!")
    };
    Plan::one(write.ok(EventNote::warning(claim, reason, text)))
}

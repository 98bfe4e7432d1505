//! Makes a volume for a claim that has none: a directory on the node that the scheduler chose, or a word to
//! the provisioner that the class names.

use super::claim::waiting;
use super::removal::ANNOTATION_PLACE;
use super::{ANNOTATION_NODE, FINALIZER_DATA, PROVISIONER, RETRY, VolumeBinder};
use api::core::v1::{
    HostPathVolumeSource, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume,
    PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
};
use api::storage::v1::StorageClass;
use api::{MetaExt, ObjectMeta, names};
use client::View;
use reconcile::{Cx, EventNote, Plan, Write};
use std::collections::BTreeMap;

pub(super) fn plan(
    binder: &VolumeBinder,
    cx: &Cx<'_>,
    claim: &PersistentVolumeClaim,
    class: Option<&StorageClass>,
) -> Plan {
    let Some(class) = class else {
        let name = super::class_of(claim);
        return failed(claim, format!("storageclass.storage.k8s.io {name:?} not found"));
    };
    match class.provisioner.as_str() {
        PROVISIONER if !binder.volumes_dir.is_empty() || some_node_has_a_place(cx.view) => {
            local(binder, cx, claim, class)
        }
        name if name.starts_with("kubernetes.io/") => {
            failed(claim, format!("no volume plugin matched name: {name}"))
        }
        name => external(claim, name),
    }
}

fn failed(claim: &PersistentVolumeClaim, message: String) -> Plan {
    waiting(claim, Some(EventNote::warning(claim, "ProvisioningFailed", message)))
}

/// Tells a provisioner that isn't ours that it is wanted.
fn external(claim: &PersistentVolumeClaim, name: &str) -> Plan {
    let message = format!(
        "Waiting for a volume to be created either by the external provisioner '{name}' or manually by the \
         system administrator. If volume creation is delayed, please verify that the provisioner is running \
         and correctly registered."
    );
    let mut plan = waiting(claim, Some(EventNote::normal(claim, "ExternalProvisioning", message)));
    if let Some(write) = addressed(claim, name) {
        // The phase follows: both are writes to the same object.
        plan.writes = vec![write];
    }
    plan
}

/// Writes the provisioner's name on the claim, unless it is there.
fn addressed(claim: &PersistentVolumeClaim, provisioner: &str) -> Option<Write> {
    let mut wanted = claim.clone();
    let annotations = wanted.metadata.annotations.get_or_insert_default();
    for key in [names::ANNOTATION_STORAGE_PROVISIONER, names::ANNOTATION_STORAGE_PROVISIONER_BETA] {
        annotations.insert(key.to_owned(), provisioner.to_owned());
    }
    (wanted.metadata.annotations != claim.metadata.annotations).then(|| Write::update(&wanted))
}

/// A volume of our own.
fn local(binder: &VolumeBinder, cx: &Cx<'_>, claim: &PersistentVolumeClaim, class: &StorageClass) -> Plan {
    if let Some(why) = refusal(claim, class) {
        return failed(claim, why);
    }
    let name = format!("pvc-{}", claim.uid());
    if cx.view.get::<PersistentVolume>("", &name).is_some() {
        // Made already, and changed by somebody so that it suits no longer.
        return Plan::done();
    }
    let node = match chosen(cx.view, claim, class) {
        Ok(node) => node,
        Err((why, reschedule)) => {
            let mut plan = failed(claim, why);
            if reschedule {
                plan.writes = vec![unselected(claim)];
            }
            plan.requeue(RETRY);
            return plan;
        }
    };
    let Some(place) = place(binder, node) else {
        let why = format!("node {:?} has no place for volumes", node.name());
        let mut plan = failed(claim, not_provisioned(class, &why));
        plan.requeue(RETRY);
        return plan;
    };
    let volume = volume(place, claim, class, node, name);
    let mut plan = Plan::default();
    plan.writes.extend(addressed(claim, PROVISIONER));
    let done = format!("Successfully provisioned volume {{}} using {PROVISIONER}");
    let claim_key = format!("{}/{}", claim.namespace(), claim.name());
    let not =
        format!("Error creating provisioned PV object for claim {claim_key}: {{}}. Deleting the volume.");
    plan.writes.push(
        Write::create(&volume)
            .ok(EventNote::normal(claim, "ProvisioningSucceeded", done))
            .or(EventNote::warning(claim, "ProvisioningFailed", not)),
    );
    plan
}

fn some_node_has_a_place(view: View<'_>) -> bool {
    view.all::<Node>().any(|n| n.annotation(ANNOTATION_PLACE).is_some())
}

/// Where a node keeps the directories of volumes.
fn place<'a>(binder: &'a VolumeBinder, node: &'a Node) -> Option<&'a str> {
    let said = node.annotation(ANNOTATION_PLACE).unwrap_or(&binder.volumes_dir);
    let steps = said.split('/').all(|step| step != "..");
    (said.starts_with('/') && steps).then(|| said.trim_end_matches('/'))
}

/// What a directory can't be.
fn refusal(claim: &PersistentVolumeClaim, class: &StorageClass) -> Option<String> {
    let spec = claim.spec.clone().unwrap_or_default();
    let options = class.mount_options.clone().unwrap_or_default();
    if spec.data_source.is_some() || spec.data_source_ref.is_some() {
        return Some(format!(
            "plugin {PROVISIONER:?} is not a CSI plugin. Only CSI plugin can provision a claim with a datasource"
        ));
    }
    if !options.is_empty() {
        return Some(format!(
            "Mount options are not supported by the provisioner but StorageClass {:?} has mount options [{}]",
            class.name(),
            options.join(" ")
        ));
    }
    let why = match (spec.volume_mode.as_deref(), spec.selector) {
        (Some("Block"), _) => format!("{PROVISIONER} does not support block volume provisioning"),
        (_, Some(_)) => "claim.Spec.Selector is not supported for dynamic provisioning".to_owned(),
        _ => return None,
    };
    Some(not_provisioned(class, &why))
}

fn not_provisioned(class: &StorageClass, why: &str) -> String {
    format!("Failed to provision volume with StorageClass {:?}: {why}", class.name())
}

/// The node of the volume; where there is none, why, and whether the scheduler is to choose anew.
fn chosen<'a>(
    view: View<'a>,
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
) -> Result<&'a Node, (String, bool)> {
    if let Some(name) = claim.annotation(names::ANNOTATION_SELECTED_NODE) {
        let node = view.get::<Node>("", name);
        return node.ok_or_else(|| (format!("Failed to get target node: node {name:?} not found"), true));
    }
    let mut nodes = view.all::<Node>();
    match (nodes.next(), nodes.next()) {
        (Some(only), None) => Ok(only),
        _ => {
            let why = "no node was selected for it, and there is not exactly one node; set volumeBindingMode: \
                       WaitForFirstConsumer on the class";
            Err((not_provisioned(class, why), false))
        }
    }
}

/// The claim without its node, for the scheduler to choose another one.
fn unselected(claim: &PersistentVolumeClaim) -> Write {
    let mut claim = claim.clone();
    claim.metadata.annotations.get_or_insert_default().remove(names::ANNOTATION_SELECTED_NODE);
    Write::update(&claim)
}

fn volume(
    place: &str,
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    node: &Node,
    name: String,
) -> PersistentVolume {
    let spec = claim.spec.clone().unwrap_or_default();
    let requests = spec.resources.and_then(|r| r.requests).unwrap_or_default();
    let path = format!("{place}/{name}");
    let annotations = [
        (names::ANNOTATION_PV_BOUND_BY_CONTROLLER, "yes"),
        (names::ANNOTATION_PV_PROVISIONED_BY, PROVISIONER),
        (ANNOTATION_NODE, node.name()),
    ];
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(name),
            annotations: Some(annotations.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
            finalizers: Some(vec![FINALIZER_DATA.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: spec.access_modes,
            capacity: Some(requests.into_iter().filter(|(k, _)| k == "storage").collect::<BTreeMap<_, _>>()),
            claim_ref: Some(reconcile::plan::reference(claim)),
            host_path: Some(HostPathVolumeSource { path, type_: Some("DirectoryOrCreate".to_owned()) }),
            node_affinity: Some(affinity(node)),
            persistent_volume_reclaim_policy: Some(
                class.reclaim_policy.clone().unwrap_or_else(|| "Delete".to_owned()),
            ),
            storage_class_name: class.metadata.name.clone(),
            volume_mode: spec.volume_mode,
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    }
}

/// Only where the directory is.
fn affinity(node: &Node) -> VolumeNodeAffinity {
    let host = node.label(names::LABEL_HOSTNAME).unwrap_or(node.name());
    let requirement = NodeSelectorRequirement {
        key: names::LABEL_HOSTNAME.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![host.to_owned()]),
    };
    let term = NodeSelectorTerm { match_expressions: Some(vec![requirement]), ..NodeSelectorTerm::default() };
    VolumeNodeAffinity { required: Some(NodeSelector { node_selector_terms: vec![term] }) }
}

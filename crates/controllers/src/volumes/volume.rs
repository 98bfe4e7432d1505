//! One volume: its phase, and what becomes of it when its claim is gone.

use super::{ANNOTATION_NODE, FINALIZER_DATA, PROVISIONER, RETRY};
use super::{claim_ref, in_phase, phase, provisioner, reclaim_policy, removal, volume_name};
use api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use api::{MetaExt, names, volumes};
use reconcile::{Cx, EventNote, Plan, Write};

pub(super) fn plan(cx: &Cx<'_>, volume: &PersistentVolume) -> Plan {
    if let Some(write) = forsaken(cx, volume) {
        return Plan::one(write);
    }
    let reference = claim_ref(volume).filter(|r| r.uid.as_deref().is_some_and(|uid| !uid.is_empty()));
    let Some(reference) = reference else { return set_phase(volume, "Available") };
    let text = |v: &Option<String>| v.clone().unwrap_or_default();
    let (namespace, name, uid) = (text(&reference.namespace), text(&reference.name), text(&reference.uid));
    let claim = cx.view.get::<PersistentVolumeClaim>(&namespace, &name).filter(|c| c.uid() == uid);
    let Some(claim) = claim else {
        return if is_certainly_gone(cx, volume, &uid) { released(volume) } else { Plan::later(RETRY) };
    };
    match volume_name(claim) {
        "" if volumes::modes_differ(claim, volume) => mode_mismatch(volume, claim),
        // The claim's own plan binds it.
        "" => Plan::done(),
        name if name == volume.name() => set_phase(volume, "Bound"),
        _ if provisioner(volume).is_some() && reclaim_policy(volume) == "Delete" => released(volume),
        _ => unbind(volume),
    }
}

/// The caches of volumes and claims are not of the same moment: a claim that isn't there may only be late.
/// (Upstream asks the server in this case.)
fn is_certainly_gone(cx: &Cx<'_>, volume: &PersistentVolume, uid: &str) -> bool {
    let cache = cx.view.cache::<PersistentVolumeClaim>();
    cache.is_some_and(|c| c.saw_deleted(uid) || c.revision() >= volume.revision())
}

fn set_phase(volume: &PersistentVolume, wanted: &str) -> Plan {
    in_phase(volume, wanted, None).map(|v| Plan::one(Write::update_status(&v))).unwrap_or_default()
}

fn mode_mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Plan {
    let of_volume = format!(
        "Cannot bind PersistentVolume to requested PersistentVolumeClaim {:?} due to incompatible volumeMode.",
        claim.name()
    );
    let of_claim = format!(
        "Cannot bind PersistentVolume {:?} to requested PersistentVolumeClaim due to incompatible volumeMode.",
        volume.name()
    );
    let events = vec![
        EventNote::warning(volume, "VolumeMismatch", of_volume),
        EventNote::warning(claim, "VolumeMismatch", of_claim),
    ];
    Plan { events, ..Plan::default() }
}

/// The claim is bound elsewhere: what we did is undone; what the user did stays, as a reservation.
fn unbind(volume: &PersistentVolume) -> Plan {
    let mut free = volume.clone();
    let annotations = free.metadata.annotations.as_mut();
    let ours = annotations.and_then(|a| a.remove(names::ANNOTATION_PV_BOUND_BY_CONTROLLER)).is_some();
    if let Some(spec) = &mut free.spec {
        match &mut spec.claim_ref {
            Some(reference) if !ours => reference.uid = None,
            reference => *reference = None,
        }
    }
    // Its phase follows when this is written.
    Plan::one(Write::update(&free))
}

/// The claim is gone: the reclaim policy is carried out.
fn released(volume: &PersistentVolume) -> Plan {
    if !matches!(phase(volume), "Released" | "Failed") {
        return set_phase(volume, "Released");
    }
    match reclaim_policy(volume) {
        "Retain" => Plan::done(),
        "Recycle" => fail(volume, "VolumeFailedRecycle", "No recycler plugin found for the volume!".into()),
        "Delete" => delete(volume),
        _ => {
            let message = "Volume has unrecognized PersistentVolumeReclaimPolicy";
            fail(volume, "VolumeUnknownReclaimPolicy", message.to_owned())
        }
    }
}

/// Volumes of ours are deleted, and go when their node has removed the data; those of others are theirs.
fn delete(volume: &PersistentVolume) -> Plan {
    let csi = volume.spec.as_ref().is_some_and(|s| s.csi.is_some());
    match provisioner(volume) {
        Some(PROVISIONER) if volume.is_deleting() => Plan::done(),
        Some(PROVISIONER) => Plan::one(Write::delete(volume)),
        Some(other) if !other.starts_with("kubernetes.io/") => Plan::done(),
        None if csi => Plan::done(),
        _ => {
            let message = format!(
                "error getting deleter volume plugin for volume {:?}: no deletable volume plugin matched",
                volume.name()
            );
            fail(volume, "VolumeFailedDelete", message)
        }
    }
}

fn fail(volume: &PersistentVolume, reason: &str, message: String) -> Plan {
    let note = EventNote::warning(volume, reason, message.clone());
    in_phase(volume, "Failed", Some(message))
        .map(|v| Plan::one(Write::update_status(&v).ok(note)))
        .unwrap_or_default()
}

/// Lets go of a volume whose data are gone, with the node that had them or removed by it, or are the user's now.
fn forsaken(cx: &Cx<'_>, volume: &PersistentVolume) -> Option<Write> {
    let node = volume.annotation(ANNOTATION_NODE)?;
    let done = match cx.view.get::<Node>("", node) {
        None => {
            volume.is_deleting()
                && volume.has_finalizer(FINALIZER_DATA)
                && !volume.has_finalizer(names::FINALIZER_PV_PROTECTION)
        }
        Some(node) => {
            let keeps = reclaim_policy(volume) != "Delete";
            removal::is_free(volume) && (keeps || removal::has_removed(node, volume))
        }
    };
    if !done {
        return None;
    }
    let mut volume = volume.clone();
    volume.metadata.finalizers.get_or_insert_default().retain(|f| f != FINALIZER_DATA);
    Some(Write::update(&volume))
}

//! One claim: the next step to its volume, or what it waits for.

use super::{REMIND, claim_ref, in_phase, refers, volume_name};
use super::{VolumeBinder, provision};
use crate::claims::claim_names;
use crate::pods;
use api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use api::storage::v1::StorageClass;
use api::{MetaExt, names, volumes};
use client::View;
use reconcile::{Cx, EventNote, Plan, Write};
use std::cmp::Reverse;

const LOST_REFERENCE: &str =
    "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
const LOST_VOLUME: &str = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
const MISBOUND: &str = "Two claims are bound to the same volume, this one is bound incorrectly";
const NO_CLASS: &str = "no persistent volumes available for this claim and no storage class is set";
const NO_CONSUMER: &str = "waiting for first consumer to be created before binding";

pub(super) fn plan(binder: &VolumeBinder, cx: &Cx<'_>, claim: &PersistentVolumeClaim) -> Plan {
    let name = volume_name(claim);
    if claim.annotation(names::ANNOTATION_PV_BIND_COMPLETED).is_some() {
        return bound(cx.view, claim, name);
    }
    if name.is_empty() {
        return any_volume(binder, cx, claim);
    }
    match cx.view.get::<PersistentVolume>("", name) {
        None => waiting(claim, None),
        Some(volume) => named_volume(claim, volume),
    }
}

/// A claim that was bound: its volume must still be its own.
fn bound(view: View<'_>, claim: &PersistentVolumeClaim, name: &str) -> Plan {
    if name.is_empty() {
        return lost(claim, "ClaimLost", LOST_REFERENCE);
    }
    match view.get::<PersistentVolume>("", name) {
        None => lost(claim, "ClaimLost", LOST_VOLUME),
        Some(v) if claim_ref(v).is_none_or(|r| r.uid.as_deref() == Some(claim.uid())) => bind(v, claim),
        Some(_) => lost(claim, "ClaimMisbound", MISBOUND),
    }
}

fn lost(claim: &PersistentVolumeClaim, reason: &str, message: &str) -> Plan {
    if phase(claim) == "Lost" {
        return Plan::done();
    }
    let note = EventNote::warning(claim, reason, message);
    in_claim_phase(claim, "Lost", None)
        .map(|c| Plan::one(Write::update_status(&c).ok(note)))
        .unwrap_or_default()
}

/// A claim that takes whatever suits it.
fn any_volume(binder: &VolumeBinder, cx: &Cx<'_>, claim: &PersistentVolumeClaim) -> Plan {
    let name = volumes::class_of(claim);
    let class = cx.view.get::<StorageClass>("", name);
    let mode = class.and_then(|c| c.volume_binding_mode.as_deref());
    let delayed = mode == Some("WaitForFirstConsumer");
    if claim.is_deleting() {
        return Plan::done();
    }
    // For a delayed claim the scheduler chooses, together with the node.
    let all = || cx.view.all::<PersistentVolume>();
    let best = || if delayed { None } else { volumes::free(claim, all()).first().copied() };
    if let Some(volume) = volumes::reserved(claim, all()).or_else(best) {
        return bind(volume, claim);
    }
    if let Some(write) = default_class(cx.view, claim) {
        return Plan::one(write);
    }
    if delayed && claim.annotation(names::ANNOTATION_SELECTED_NODE).is_none() {
        return waiting(claim, Some(consumer_note(cx.view, claim)));
    }
    if name.is_empty() {
        return waiting(claim, Some(EventNote::normal(claim, "FailedBinding", NO_CLASS)));
    }
    provision::plan(binder, cx, claim, class)
}

/// What a delayed claim waits for.
fn consumer_note(view: View<'_>, claim: &PersistentVolumeClaim) -> EventNote {
    let uses = |pod: &&Pod| {
        !pods::is_terminal(pod)
            && pods::node(pod).is_empty()
            && claim_names(pod).any(|(name, _)| name == claim.name())
    };
    let waiting: Vec<&str> = view.list::<Pod>(claim.namespace()).filter(uses).map(|p| p.name()).collect();
    match waiting.as_slice() {
        [] => EventNote::normal(claim, "WaitForFirstConsumer", NO_CONSUMER),
        [one] => {
            let message = format!("waiting for pod {one} to be scheduled");
            EventNote::normal(claim, "WaitForPodScheduled", message)
        }
        many => {
            let message = format!("waiting for pods {} to be scheduled", many.join(","));
            EventNote::normal(claim, "WaitForPodScheduled", message)
        }
    }
}

/// Gives a claim that never asked for a class the default one, which may be younger than the claim.
fn default_class(view: View<'_>, claim: &PersistentVolumeClaim) -> Option<Write> {
    let asked = claim.spec.as_ref().and_then(|s| s.storage_class_name.as_ref()).is_some();
    if asked || claim.annotation(names::ANNOTATION_STORAGE_CLASS_LEGACY).is_some() {
        return None;
    }
    let is_default =
        |c: &&StorageClass| c.annotation(names::ANNOTATION_DEFAULT_STORAGE_CLASS) == Some("true");
    let classes = view.all::<StorageClass>().filter(is_default);
    let class = classes.min_by_key(|c| (Reverse(c.created()), c.name()))?;
    let mut claim = claim.clone();
    claim.spec.get_or_insert_default().storage_class_name = class.metadata.name.clone();
    Some(Write::update(&claim))
}

/// A claim that asks for this volume.
fn named_volume(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Plan {
    match claim_ref(volume) {
        Some(r) if refers(r, claim) => bind(volume, claim),
        Some(_) => {
            let message = format!("volume {:?} already bound to a different claim.", volume.name());
            waiting(claim, Some(EventNote::warning(claim, "FailedBinding", message)))
        }
        None => match volumes::mismatch(volume, claim) {
            None => bind(volume, claim),
            Some(why) => {
                let message = format!("Cannot bind to requested volume {:?}: {why}", volume.name());
                waiting(claim, Some(EventNote::warning(claim, "VolumeMismatch", message)))
            }
        },
    }
}

/// A claim that stays pending.
pub(super) fn waiting(claim: &PersistentVolumeClaim, note: Option<EventNote>) -> Plan {
    let write = in_claim_phase(claim, "Pending", None).map(|c| Write::update_status(&c));
    let requeue_after = note.is_some().then_some(REMIND);
    Plan {
        writes: write.into_iter().collect(),
        events: note.into_iter().collect(),
        requeue_after,
        ..Plan::default()
    }
}

/// The next step: the volume's reference, then its phase and the claim's reference, then the claim's phase.
fn bind(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Plan {
    if let Some(volume) = with_claim(volume, claim) {
        return Plan::one(Write::update(&volume));
    }
    let mut plan = Plan::default();
    plan.writes.extend(in_phase(volume, "Bound", None).map(|v| Write::update_status(&v)));
    let write = match with_volume(claim, volume) {
        Some(claim) => Some(Write::update(&claim)),
        None => in_claim_phase(claim, "Bound", Some(volume)).map(|c| Write::update_status(&c)),
    };
    plan.writes.extend(write);
    plan
}

/// The volume with its reference to the claim; none if it has it.
fn with_claim(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<PersistentVolume> {
    let current = claim_ref(volume).filter(|r| refers(r, claim));
    if current.is_some_and(|r| r.uid.as_deref() == Some(claim.uid())) {
        return None;
    }
    let reserved = current.is_some();
    let mut volume = volume.clone();
    volume.spec.get_or_insert_default().claim_ref = Some(reconcile::plan::reference(claim));
    if !reserved {
        annotate(volume.metadata.annotations.get_or_insert_default(), BOUND_BY_US);
    }
    Some(volume)
}

/// The claim with the name of its volume; none if it has it.
fn with_volume(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Option<PersistentVolumeClaim> {
    let named = volume_name(claim) == volume.name();
    let mut wanted = claim.clone();
    let annotations = wanted.metadata.annotations.get_or_insert_default();
    if !named {
        annotate(annotations, BOUND_BY_US);
        wanted.spec.get_or_insert_default().volume_name = volume.metadata.name.clone();
    }
    annotate(annotations_of(&mut wanted), names::ANNOTATION_PV_BIND_COMPLETED);
    (wanted.spec != claim.spec || wanted.metadata.annotations != claim.metadata.annotations).then_some(wanted)
}

const BOUND_BY_US: &str = names::ANNOTATION_PV_BOUND_BY_CONTROLLER;

type Annotations = std::collections::BTreeMap<String, String>;

fn annotations_of(claim: &mut PersistentVolumeClaim) -> &mut Annotations {
    claim.metadata.annotations.get_or_insert_default()
}

fn annotate(annotations: &mut Annotations, key: &str) {
    annotations.entry(key.to_owned()).or_insert_with(|| "yes".to_owned());
}

fn phase(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// The claim in a phase, with what its volume offers; none if that is what it says already.
fn in_claim_phase(
    claim: &PersistentVolumeClaim,
    wanted: &str,
    volume: Option<&PersistentVolume>,
) -> Option<PersistentVolumeClaim> {
    let mut changed = claim.clone();
    let status = changed.status.get_or_insert_default();
    let news = phase(claim) != wanted;
    status.phase = Some(wanted.to_owned());
    match volume.and_then(|v| v.spec.as_ref()) {
        None => {
            status.access_modes = None;
            status.capacity = None;
            status.current_volume_attributes_class_name = None;
        }
        Some(spec) => {
            status.access_modes.clone_from(&spec.access_modes);
            // A bound claim may say less than its volume has while a file system grows.
            if news {
                status.capacity.clone_from(&spec.capacity);
            }
            if phase(claim) == "Pending" && news {
                let class = &spec.volume_attributes_class_name;
                status.current_volume_attributes_class_name.clone_from(class);
            }
        }
    }
    (changed.status != claim.status).then_some(changed)
}

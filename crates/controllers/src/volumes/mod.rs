//! Binds claims to volumes, makes volumes for those that have none, and gives back what is released
//! (`pkg/controller/volume/persistentvolume`). The volume points to its claim first, then the claim to its
//! volume; each plan does the next step from what it sees, so that it can be broken off anywhere.

mod claim;
mod provision;
pub(crate) mod removal;
#[cfg(test)]
mod tests;
mod volume;
#[cfg(test)]
mod walk;

use crate::claims::claim_names;
use api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use api::storage::v1::StorageClass;
use api::{MetaExt, names};
use client::{Key, View};
use reconcile::{Controller, Cx, Plan, Watch};
use std::time::Duration;

pub(crate) use api::volumes::class_of;
use api::volumes::{claim_ref, phase, refers};

/// The built-in provisioner: a directory on the node that the scheduler chose.
pub(crate) const PROVISIONER: &str = "ironclad.local/hostpath";
/// On a volume of ours: which node has its directory.
pub(crate) const ANNOTATION_NODE: &str = "ironclad.local/node";
/// On a volume of ours, until its node has removed the directory.
pub(crate) const FINALIZER_DATA: &str = "ironclad.local/volume-data";
/// How soon to look again at what may only be late.
const RETRY: Duration = Duration::from_secs(5);
/// How often it is told again what a claim waits for.
const REMIND: Duration = Duration::from_secs(300);

/// The controller. Claims are keys with a namespace, volumes keys without.
pub(crate) struct VolumeBinder {
    /// Where nodes that don't say keep the directories of volumes; empty: they have no place for them.
    pub(crate) volumes_dir: String,
}

impl Controller for VolumeBinder {
    fn name(&self) -> &'static str {
        "persistentvolume-controller"
    }

    fn account(&self) -> &'static str {
        "persistent-volume-binder"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![
            Watch::each::<PersistentVolumeClaim>(keys_of_claim),
            Watch::each::<PersistentVolume>(keys_of_volume),
            Watch::each::<StorageClass>(keys_of_class),
            Watch::each::<Pod>(keys_of_pod),
            Watch::each::<Node>(keys_of_node),
        ]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        if cx.key.namespace.is_empty() {
            let volume = cx.view.at::<PersistentVolume>(cx.key);
            return volume.map(|v| volume::plan(cx, v)).unwrap_or_default();
        }
        let claim = cx.view.at::<PersistentVolumeClaim>(cx.key);
        claim.map(|c| claim::plan(self, cx, c)).unwrap_or_default()
    }
}

fn keys_of_claim(view: View<'_>, claim: &PersistentVolumeClaim, keys: &mut Vec<Key>) {
    keys.push(Key::of(claim));
    let volume = volume_name(claim);
    if !volume.is_empty() {
        keys.push(Key::new("", volume));
    }
    let gone = view
        .get::<PersistentVolumeClaim>(claim.namespace(), claim.name())
        .is_none_or(|c| c.uid() != claim.uid());
    if gone {
        let of_it = |v: &&PersistentVolume| claim_ref(v).is_some_and(|r| refers(r, claim));
        keys.extend(view.all::<PersistentVolume>().filter(of_it).map(|v| Key::of(v)));
    }
}

/// A volume concerns its claim; one that is free, every claim that looks for one.
fn keys_of_volume(view: View<'_>, volume: &PersistentVolume, keys: &mut Vec<Key>) {
    keys.push(Key::of(volume));
    let reference = claim_ref(volume);
    let here = view.get::<PersistentVolume>("", volume.name()).is_some();
    if let Some(r) = reference {
        let text = |v: &Option<String>| v.clone().unwrap_or_default();
        keys.push(Key::new(&text(&r.namespace), &text(&r.name)));
        if here {
            return;
        }
    }
    let concerned = |c: &&PersistentVolumeClaim| match volume_name(c) {
        "" => here && class_of(*c) == class_of(volume),
        name => name == volume.name(),
    };
    keys.extend(view.all::<PersistentVolumeClaim>().filter(concerned).map(|c| Key::of(c)));
}

/// Claims of the class, and those that would take a default one.
fn keys_of_class(view: View<'_>, class: &StorageClass, keys: &mut Vec<Key>) {
    let concerned = |c: &&PersistentVolumeClaim| {
        let named = class_of(*c);
        volume_name(c).is_empty() && (named.is_empty() || named == class.name())
    };
    keys.extend(view.all::<PersistentVolumeClaim>().filter(concerned).map(|c| Key::of(c)));
}

/// What an unbound claim waits for is told by the pods that use it.
fn keys_of_pod(view: View<'_>, pod: &Pod, keys: &mut Vec<Key>) {
    for (name, _) in claim_names(pod) {
        let claim = view.get::<PersistentVolumeClaim>(pod.namespace(), &name);
        if claim.is_some_and(|c| volume_name(c).is_empty()) {
            keys.push(Key::new(pod.namespace(), &name));
        }
    }
}

/// A node that is gone takes the data of its volumes along; one that is there may have removed some.
fn keys_of_node(view: View<'_>, node: &Node, keys: &mut Vec<Key>) {
    let here = view.get::<Node>("", node.name()).is_some();
    if here && node.annotation(removal::ANNOTATION_REMOVED).is_none_or(str::is_empty) {
        return;
    }
    let on_it = |v: &&PersistentVolume| v.is_deleting() && v.annotation(ANNOTATION_NODE) == Some(node.name());
    keys.extend(view.all::<PersistentVolume>().filter(on_it).map(|v| Key::of(v)));
}

/// `spec.volumeName`, or empty.
fn volume_name(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|s| s.volume_name.as_deref()).unwrap_or_default()
}

/// The volume in another phase; none if it is in that phase.
fn in_phase(volume: &PersistentVolume, wanted: &str, message: Option<String>) -> Option<PersistentVolume> {
    if phase(volume) == wanted {
        return None;
    }
    let mut volume = volume.clone();
    let status = volume.status.get_or_insert_default();
    status.phase = Some(wanted.to_owned());
    status.message = message;
    Some(volume)
}

fn reclaim_policy(volume: &PersistentVolume) -> &str {
    volume.spec.as_ref().and_then(|s| s.persistent_volume_reclaim_policy.as_deref()).unwrap_or_default()
}

/// Who made the volume; none for one that was made by hand.
fn provisioner(volume: &PersistentVolume) -> Option<&str> {
    volume.annotation(names::ANNOTATION_PV_PROVISIONED_BY).filter(|p| !p.is_empty())
}

//! The name, labels, revision and volume claims of a pod of a StatefulSet (`stateful_set_utils.go`).

use super::{REVISION, range};
use crate::pods;
use api::apps::v1::StatefulSet;
use api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume};
use api::kinds::controller_ref;
use api::{MetaExt, OwnerReference, names};
use client::View;
use reconcile::Write;
use serde_json::json;
use std::collections::BTreeMap;

/// The number in a pod's name, if the name is one of this set's.
pub(super) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let (parent, number) = pod.name().rsplit_once('-')?;
    let canonical = number == "0" || !number.starts_with('0');
    (parent == set.name() && canonical).then(|| number.parse().ok()).flatten()
}

/// The revision that a pod was made of.
pub(super) fn revision(pod: &Pod) -> Option<&str> {
    pod.label(REVISION)
}

/// The pod with this ordinal.
pub(super) fn pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: i32) -> Pod {
    let mut pod = pods::from_template(set, template);
    let name = format!("{}-{ordinal}", set.name());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.extend(own_labels(&name, ordinal));
    labels.insert(REVISION.to_owned(), revision.to_owned());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(name.clone());
    spec.subdomain = set.spec.service_name.clone().filter(|s| !s.is_empty());
    let volumes = spec.volumes.take().unwrap_or_default();
    let mut all: Vec<Volume> =
        claims(set, ordinal).map(|(volume, claim)| volume_of(volume, &claim)).collect();
    let of_claim = |v: &Volume| all.iter().any(|c| c.name == v.name);
    let others: Vec<Volume> = volumes.into_iter().filter(|v| !of_claim(v)).collect();
    all.extend(others);
    spec.volumes = (!all.is_empty()).then_some(all);
    pod.metadata.name = Some(name);
    pod
}

fn own_labels(name: &str, ordinal: i32) -> BTreeMap<String, String> {
    BTreeMap::from([
        (names::LABEL_STATEFULSET_POD_NAME.to_owned(), name.to_owned()),
        (names::LABEL_POD_INDEX.to_owned(), ordinal.to_string()),
    ])
}

fn volume_of(name: &str, claim: &PersistentVolumeClaim) -> Volume {
    let source = PersistentVolumeClaimVolumeSource { claim_name: claim.name().to_owned(), read_only: None };
    Volume { name: name.to_owned(), persistent_volume_claim: Some(source), ..Volume::default() }
}

/// The claims that the pod with this ordinal uses, by the names of their volumes.
fn claims(set: &StatefulSet, ordinal: i32) -> impl Iterator<Item = (&str, PersistentVolumeClaim)> {
    set.spec.volume_claim_templates.iter().flatten().map(move |template| {
        let mut claim = template.clone();
        claim.metadata.name = Some(format!("{}-{}-{ordinal}", template.name(), set.name()));
        claim.metadata.namespace.clone_from(&set.metadata.namespace);
        let labels = claim.metadata.labels.get_or_insert_default();
        labels.extend(set.spec.selector.match_labels.clone().unwrap_or_default());
        claim.status = None;
        (template.name(), claim)
    })
}

/// The claims of an ordinal that aren't there yet.
pub(super) fn missing_claims(view: View<'_>, set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let claims = claims(set, ordinal).map(|(_, claim)| claim);
    let missing =
        |c: &PersistentVolumeClaim| view.get::<PersistentVolumeClaim>(c.namespace(), c.name()).is_none();
    let owned = retention(set).0;
    let with_owner = |mut c: PersistentVolumeClaim| {
        c.metadata.owner_references = owned.then(|| vec![controller_ref(set)]);
        c
    };
    claims.filter(missing).map(with_owner).collect()
}

/// Whether a claim of an ordinal is on its way out, so that a pod must wait for a new one.
pub(super) fn has_stale_claim(view: View<'_>, set: &StatefulSet, ordinal: i32) -> bool {
    let mut claims = claims(set, ordinal);
    claims.any(|(_, c)| {
        view.get::<PersistentVolumeClaim>(c.namespace(), c.name()).is_some_and(|c| c.is_deleting())
    })
}

/// Whether claims go with the set, and whether they go when it is scaled down.
fn retention(set: &StatefulSet) -> (bool, bool) {
    let policy = set.spec.persistent_volume_claim_retention_policy.as_ref();
    let deletes = |word: Option<&String>| word.is_some_and(|w| w == "Delete");
    let policy = policy.map(|p| (deletes(p.when_deleted.as_ref()), deletes(p.when_scaled.as_ref())));
    policy.unwrap_or_default()
}

/// Makes the claims of a pod go, or not, with the set and with the pod, as the set's policy says.
pub(super) fn retain_claims(
    view: View<'_>,
    set: &StatefulSet,
    ordinal: i32,
    pod: &Pod,
    condemned: bool,
) -> Vec<Write> {
    if set.spec.persistent_volume_claim_retention_policy.is_none() {
        return Vec::new();
    }
    let (with_set, with_pod) = retention(set);
    let mut writes = Vec::new();
    for (_, claim) in claims(set, ordinal) {
        let Some(claim) = view.get::<PersistentVolumeClaim>(claim.namespace(), claim.name()) else {
            continue;
        };
        let namesake = |o: &OwnerReference| {
            (o.kind == "StatefulSet" && o.name == set.name() && o.uid != set.uid())
                || (o.kind == "Pod" && o.name == pod.name() && o.uid != pod.uid())
        };
        if claim.owners().iter().any(namesake) {
            // It was the claim of a set that is gone: the garbage collector sees to it.
            continue;
        }
        let mut wanted: Vec<OwnerReference> =
            claim.owners().iter().filter(|o| o.uid != set.uid() && o.uid != pod.uid()).cloned().collect();
        // What another controller manages is left to it.
        let taken = (with_set || with_pod) && wanted.iter().any(|o| o.controller == Some(true));
        if with_pod && condemned && !taken {
            wanted.push(controller_ref(pod));
        } else if with_set && !(with_pod && condemned) && !taken {
            wanted.push(controller_ref(set));
        }
        let marks = |all: &[OwnerReference]| {
            all.iter().map(|o| (o.uid.clone(), o.controller.unwrap_or(false))).collect::<Vec<_>>()
        };
        if marks(&wanted) != marks(claim.owners()) {
            let mut claim = claim.clone();
            claim.metadata.owner_references = (!wanted.is_empty()).then_some(wanted);
            writes.push(Write::update(&claim));
        }
    }
    writes
}

/// Puts the labels right by which a pod is known.
pub(super) fn repair(set: &StatefulSet, ordinal: i32, pod: &Pod) -> Option<Write> {
    debug_assert!(range(set).contains(&ordinal));
    let wanted = own_labels(pod.name(), ordinal);
    let wrong = wanted.iter().any(|(k, v)| pod.label(k) != Some(v));
    wrong.then(|| Write::merge(pod, &json!({"metadata": {"labels": wanted}})))
}

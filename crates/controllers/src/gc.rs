//! Collects what its owners left behind, and holds owners back that are to go last
//! (`pkg/controller/garbagecollector`).
//!
//! Upstream asks the server whether an owner is really gone. Here the caches know: either the owner's cache
//! saw its deletion, or it has reached the revision of the dependent and holds no such owner.

use api::core::v1::{Namespace, ObjectReference};
use api::{MetaExt, ObjectMeta, OwnerReference, Stored, names};
use client::caches::Slot;
use client::{Change, DeleteOptions, Key, PatchKind, Preconditions, Propagation, Resource, View};
use reconcile::plan::Op;
use reconcile::{Controller, Cx, EventNote, Plan, Watch, Write};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How soon to look again where an owner's cache lags behind.
const LAG: Duration = Duration::from_millis(500);
/// So many seconds after an object was made its owners' caches are not waited for any more.
const PATIENCE: i64 = 2;
/// How soon to look again at an owner of an unknown kind.
const UNKNOWN: Duration = Duration::from_secs(30);
/// Dependents dealt with in one plan.
const MAX_DEPENDENTS: usize = 500;

/// The controller. Its keys are `namespace`, `group/resource/name`.
pub(crate) struct GarbageCollector;

impl Controller for GarbageCollector {
    fn name(&self) -> &'static str {
        "generic-garbage-collector"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::only::<Namespace>()]
    }

    fn watches_everything(&self) -> bool {
        true
    }

    fn map_any(&self, view: View<'_>, resource: &Resource, change: &Change, keys: &mut Vec<Key>) {
        let Some(object) = change.object() else { return };
        let meta = object.meta();
        if change.new.is_some() && (!meta.owners().is_empty() || is_waiting(meta)) {
            keys.push(key(resource, meta));
        }
        if change.new.is_none() || is_waiting(meta) {
            keys.extend(dependents(view, meta.uid()).map(|(r, o)| key(r, o.meta())));
        }
        // An owner that waits for its dependents wants to know that one went or let go of it.
        for state in [&change.old, &change.new].into_iter().flatten() {
            keys.extend(state.meta().owners().iter().filter_map(|r| waiting_owner(view, state.meta(), r)));
        }
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let mut parts = cx.key.name.splitn(3, '/');
        let (Some(group), Some(resource), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Plan::done();
        };
        let slot = cx.view.slots().find(|s| s.resource.group == group && s.resource.resource == resource);
        let at = Key::new(&cx.key.namespace, name);
        match slot.and_then(|s| Some((s, s.cache.get(&at)?))) {
            Some((slot, object)) => plan(cx, slot, &**object),
            None => Plan::done(),
        }
    }

    fn concurrency(&self) -> usize {
        20
    }
}

fn key(resource: &Resource, meta: &ObjectMeta) -> Key {
    Key::new(meta.namespace(), &format!("{}/{}/{}", resource.group, resource.resource, meta.name()))
}

/// Whether the object is going, but not before something became of its dependents.
fn is_waiting(meta: &ObjectMeta) -> bool {
    let held = meta.has_finalizer(names::FINALIZER_FOREGROUND) || meta.has_finalizer(names::FINALIZER_ORPHAN);
    meta.is_deleting() && held
}

fn is_foreground(meta: &ObjectMeta) -> bool {
    meta.is_deleting() && meta.has_finalizer(names::FINALIZER_FOREGROUND)
}

/// Everything that names `uid` as an owner.
fn dependents<'a>(view: View<'a>, uid: &'a str) -> impl Iterator<Item = (&'a Resource, &'a Arc<dyn Stored>)> {
    view.slots().flat_map(move |s| s.cache.owned_by(uid).map(move |o| (&s.resource, o)))
}

fn waiting_owner(view: View<'_>, of: &ObjectMeta, reference: &OwnerReference) -> Option<Key> {
    let slot = owner_slot(view, reference)?;
    let at = owner_key(slot, of, reference);
    let owner = slot.cache.get(&at)?.meta();
    is_waiting(owner).then(|| key(&slot.resource, owner))
}

fn owner_slot<'a>(view: View<'a>, reference: &OwnerReference) -> Option<&'a Slot> {
    let group = meta::gvk::parse_api_version(&reference.api_version).0;
    view.slots().find(|s| s.resource.group == group && s.resource.kind == reference.kind)
}

fn owner_key(slot: &Slot, of: &ObjectMeta, reference: &OwnerReference) -> Key {
    Key::new(if slot.resource.namespaced { of.namespace() } else { "" }, &reference.name)
}

/// What is known of an owner.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    /// It is there and stays.
    Solid,
    /// It is there, and waits for its dependents to go.
    Waiting,
    /// It is gone.
    Gone,
    /// Its cache can't tell yet.
    Unsure,
    /// Nothing is known of its kind.
    Unknown,
}

fn plan(cx: &Cx<'_>, slot: &Slot, object: &dyn Stored) -> Plan {
    let (view, meta) = (cx.view, object.meta());
    if meta.is_deleting() {
        if meta.has_finalizer(names::FINALIZER_ORPHAN) {
            return orphan(view, slot, meta);
        }
        if is_foreground(meta) {
            return foreground(view, slot, meta);
        }
        return Plan::done();
    }
    let owners: Vec<(Owner, &OwnerReference)> =
        meta.owners().iter().map(|r| (classify(view, meta, r), r)).collect();
    let any = |state: Owner| owners.iter().any(|(o, _)| *o == state);
    if let Some((_, unsure)) = owners.iter().find(|(o, _)| *o == Owner::Unsure) {
        // A quiet cache may lag behind until its next bookmark: that is too long.
        let young = cx.now.as_second() - meta.created() < PATIENCE;
        let slot = owner_slot(view, unsure).filter(|_| !young);
        return slot.map_or(Plan::later(LAG), |slot| Plan::after_refresh(slot.resource.clone()));
    }
    let stale: Vec<&str> = owners
        .iter()
        .filter(|(o, _)| matches!(o, Owner::Gone | Owner::Waiting))
        .map(|(_, r)| r.uid.as_str())
        .collect();
    if stale.is_empty() {
        return if any(Owner::Unknown) { Plan::later(UNKNOWN) } else { Plan::done() };
    }
    if any(Owner::Solid) || any(Owner::Unknown) {
        return Plan::one(drop_owners(&slot.resource, meta, &stale));
    }
    if any(Owner::Waiting) && dependents(view, meta.uid()).any(|(_, o)| is_foreground(o.meta())) {
        // Its owner may wait for one that waits for its own dependents, and that circle ends here.
        if let Some(write) = hold_no_owner_back(&slot.resource, meta) {
            return Plan::one(write);
        }
    }
    let has_dependents = dependents(view, meta.uid()).next().is_some();
    let propagation = if any(Owner::Waiting) && has_dependents {
        Propagation::Foreground
    } else if meta.has_finalizer(names::FINALIZER_ORPHAN) {
        Propagation::Orphan
    } else if meta.has_finalizer(names::FINALIZER_FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    };
    // Exactly this state of the object: it may have been adopted in the meantime.
    let preconditions =
        Preconditions { uid: meta.uid.clone(), resource_version: meta.resource_version.clone() };
    let options = DeleteOptions { preconditions, propagation: Some(propagation), grace: None };
    let mut plan = Plan::one(Write::any(Op::Delete(options), &slot.resource, meta, Vec::new()));
    plan.events.extend(owners.iter().filter_map(|(_, r)| elsewhere(view, slot, meta, r)));
    plan
}

/// Tells of an owner that is there, but in another namespace, where it can't own anything of this one.
fn elsewhere(view: View<'_>, of: &Slot, meta: &ObjectMeta, r: &OwnerReference) -> Option<EventNote> {
    let slot = owner_slot(view, r).filter(|s| s.resource.namespaced)?;
    slot.cache.iter().find(|(at, o)| o.meta().uid() == r.uid && &*at.namespace != meta.namespace())?;
    let (version, namespace) = (&r.api_version, meta.namespace());
    let (kind, name, uid) = (&r.kind, &r.name, &r.uid);
    let owner = format!("[{version}/{kind}, namespace: {namespace}, name: {name}, uid: {uid}]");
    let regarding = ObjectReference {
        api_version: Some(of.resource.api_version()),
        kind: Some(of.resource.kind.to_string()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        ..ObjectReference::default()
    };
    Some(EventNote {
        regarding,
        warning: true,
        reason: "OwnerRefInvalidNamespace".to_owned(),
        message: format!("ownerRef {owner} does not exist in namespace {namespace:?}"),
    })
}

fn classify(view: View<'_>, of: &ObjectMeta, reference: &OwnerReference) -> Owner {
    let Some(slot) = owner_slot(view, reference) else { return Owner::Unknown };
    if slot.resource.namespaced && of.namespace().is_empty() {
        // A cluster-wide object can't have an owner in a namespace; upstream leaves it alone too.
        return Owner::Unknown;
    }
    match slot.cache.get(&owner_key(slot, of, reference)) {
        Some(owner) if owner.meta().uid() == reference.uid => {
            if is_foreground(owner.meta()) {
                Owner::Waiting
            } else {
                Owner::Solid
            }
        }
        _ if slot.cache.saw_deleted(&reference.uid) || slot.cache.revision() >= of.revision() => Owner::Gone,
        _ => Owner::Unsure,
    }
}

/// Takes the owners with these UIDs off an object.
fn drop_owners(resource: &Resource, meta: &ObjectMeta, uids: &[&str]) -> Write {
    let kept: Vec<&OwnerReference> =
        meta.owners().iter().filter(|r| !uids.contains(&r.uid.as_str())).collect();
    let patch = json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version,
        "ownerReferences": if kept.is_empty() { Value::Null } else { json!(kept) }}});
    Write::any(Op::Patch(PatchKind::Merge, ""), resource, meta, patch.to_string().into())
}

/// Lets the owners go before this object; none where they may already.
fn hold_no_owner_back(resource: &Resource, meta: &ObjectMeta) -> Option<Write> {
    let mut owners = meta.owners().to_vec();
    let blocking = owners.iter_mut().filter(|r| r.block_owner_deletion == Some(true));
    let count = blocking.map(|r| r.block_owner_deletion = Some(false)).count();
    let patch = json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version,
        "ownerReferences": owners}});
    (count > 0).then(|| Write::any(Op::Patch(PatchKind::Merge, ""), resource, meta, patch.to_string().into()))
}

/// Lets go of the dependents, and then of the object.
fn orphan(view: View<'_>, slot: &Slot, meta: &ObjectMeta) -> Plan {
    let mut plan = Plan::default();
    for (resource, dependent) in dependents(view, meta.uid()).take(MAX_DEPENDENTS) {
        plan.writes.push(drop_owners(resource, dependent.meta(), &[meta.uid()]));
    }
    if plan.writes.is_empty() {
        plan.writes.push(drop_finalizer(&slot.resource, meta, names::FINALIZER_ORPHAN));
    } else {
        plan.requeue(LAG);
    }
    plan
}

/// Lets go of the object once no dependent holds it back. The dependents are keys of their own.
fn foreground(view: View<'_>, slot: &Slot, meta: &ObjectMeta) -> Plan {
    let blocks = |o: &Arc<dyn Stored>| {
        o.meta().owners().iter().any(|r| r.uid == meta.uid() && r.block_owner_deletion == Some(true))
    };
    if dependents(view, meta.uid()).any(|(_, o)| blocks(o)) {
        return Plan::done();
    }
    Plan::one(drop_finalizer(&slot.resource, meta, names::FINALIZER_FOREGROUND))
}

fn drop_finalizer(resource: &Resource, meta: &ObjectMeta, finalizer: &str) -> Write {
    let kept: Vec<&String> = meta.finalizers().iter().filter(|f| *f != finalizer).collect();
    let patch = json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version,
        "finalizers": if kept.is_empty() { Value::Null } else { json!(kept) }}});
    Write::any(Op::Patch(PatchKind::Merge, ""), resource, meta, patch.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use expect_test::{Expect, expect};

    fn set(extra: Value) -> Value {
        let mut meta = json!({"name": "web", "resourceVersion": "5"});
        meta.as_object_mut().expect("a map").extend(extra.as_object().expect("a map").clone());
        json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": meta})
    }

    fn pod(owners: &[&str]) -> Value {
        let owners: Vec<Value> = owners
            .iter()
            .map(|o| {
                json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": o, "uid": format!("{o}-uid"),
                    "blockOwnerDeletion": true})
            })
            .collect();
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "resourceVersion": "7", "ownerReferences": owners}})
    }

    fn check(scene: &Scene, key: &str, expect: Expect) {
        expect.assert_eq(&scene.show(&GarbageCollector, key));
    }

    #[test]
    fn dependents_follow_their_owner() {
        let mut scene = Scene::new([set(json!({})), pod(&["web"])]);
        check(&scene, "x//pods/p", expect![[""]]);
        scene.remove(set(json!({})));
        check(
            &scene,
            "x//pods/p",
            expect![[r#"
            delete pods x/p
        "#]],
        );
        // Nobody saw the owner, but its cache is older than the pod: perhaps it comes yet.
        check(
            &Scene::new([pod(&["other"])]),
            "x//pods/p",
            expect![[r#"
                again in 1 s
            "#]],
        );
        // One owner is left: the other is taken off.
        let mut scene = Scene::new([set(json!({})), pod(&["web", "gone"])]);
        let mut other = set(json!({"resourceVersion": "9"}));
        other["metadata"]["name"] = "later".into();
        scene.put(other);
        check(
            &scene,
            "x//pods/p",
            expect![[r#"
            patch pods x/p {"metadata":{"ownerReferences":[{"apiVersion":"apps/v1","blockOwnerDeletion":true,"kind":"ReplicaSet","name":"web","uid":"web-uid"}],"resourceVersion":"7","uid":"p-uid"}}
        "#]],
        );
    }

    #[test]
    fn a_quiet_cache_of_owners_is_not_waited_for() {
        let mut old = pod(&["other"]);
        old["metadata"]["creationTimestamp"] = "2025-12-31T23:59:50Z".into();
        let refreshed = |pod: Value| Scene::new([pod]).plan(&GarbageCollector, "x//pods/p").refresh;
        assert_eq!(refreshed(old.clone()).map(|r| r.to_string()).as_deref(), Some("replicasets.apps"));
        old["metadata"]["creationTimestamp"] = "2025-12-31T23:59:59Z".into();
        assert!(refreshed(old).is_none());
    }

    #[test]
    fn foreground_waits_and_orphan_lets_go() {
        let going = |finalizer: &str| {
            set(json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [finalizer]}))
        };
        let scene = Scene::new([going("foregroundDeletion"), pod(&["web"])]);
        check(&scene, "x/apps/replicasets/web", expect![[""]]);
        check(
            &scene,
            "x//pods/p",
            expect![[r#"
            delete pods x/p
        "#]],
        );
        check(
            &Scene::new([going("foregroundDeletion")]),
            "x/apps/replicasets/web",
            expect![[r#"
            patch replicasets.apps x/web {"metadata":{"finalizers":null,"resourceVersion":"5","uid":"web-uid"}}
        "#]],
        );
        check(
            &Scene::new([going("orphan"), pod(&["web"])]),
            "x/apps/replicasets/web",
            expect![[r#"
            patch pods x/p {"metadata":{"ownerReferences":null,"resourceVersion":"7","uid":"p-uid"}}
            again in 0 s
        "#]],
        );
        check(
            &Scene::new([going("orphan")]),
            "x/apps/replicasets/web",
            expect![[r#"
            patch replicasets.apps x/web {"metadata":{"finalizers":null,"resourceVersion":"5","uid":"web-uid"}}
        "#]],
        );
    }

    #[test]
    fn an_owner_in_another_namespace_owns_nothing() {
        let mut owner = set(json!({"namespace": "y"}));
        owner["metadata"]["resourceVersion"] = "9".into();
        check(
            &Scene::new([owner, pod(&["web"])]),
            "x//pods/p",
            expect![[r#"
                delete pods x/p
                event Warning OwnerRefInvalidNamespace Pod/p ownerRef [apps/v1/ReplicaSet, namespace: x, name: web, uid: web-uid] does not exist in namespace "x"
            "#]],
        );
    }

    #[test]
    fn a_circle_of_owners_is_broken() {
        let owner = |name: &str, of: &str, deleting: bool| {
            let mut v = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "uid": format!("{name}-uid"),
                "resourceVersion": "7", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": of,
                    "uid": format!("{of}-uid"), "blockOwnerDeletion": true}]}});
            if deleting {
                v["metadata"]["deletionTimestamp"] = "2025-12-31T23:00:00Z".into();
                v["metadata"]["finalizers"] = json!(["foregroundDeletion"]);
            }
            v
        };
        let scene = Scene::new([owner("a", "c", true), owner("b", "a", true), owner("c", "b", false)]);
        check(
            &scene,
            "x//pods/c",
            expect![[r#"
            patch pods x/c {"metadata":{"ownerReferences":[{"apiVersion":"v1","blockOwnerDeletion":false,"kind":"Pod","name":"b","uid":"b-uid"}],"resourceVersion":"7","uid":"c-uid"}}
        "#]],
        );
    }
}

//! Empties a namespace that is to go, and lets it go (`pkg/controller/namespace/deletion`): pods first, then
//! everything else, then the finalizer.

use api::core::v1::Event;
use api::core::v1::{Namespace, NamespaceCondition, NamespaceStatus, Pod};
use api::{Kind, MetaExt, names};
use client::{Change, Key, Resource, View};
use jiff::Timestamp;
use reconcile::plan::Op;
use reconcile::{Controller, Cx, Plan, Watch, Write};
use std::collections::BTreeMap;
use std::time::Duration;

/// How soon to look again while something remains.
const RETRY: Duration = Duration::from_secs(5);

/// The controller.
pub(crate) struct Namespaces;

impl Controller for Namespaces {
    fn name(&self) -> &'static str {
        "namespace-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::own::<Namespace>()]
    }

    fn watches_everything(&self) -> bool {
        true
    }

    fn map_any(&self, view: View<'_>, _: &Resource, change: &Change, keys: &mut Vec<Key>) {
        let Some(object) = change.old.as_ref().filter(|_| change.new.is_none()) else { return };
        let namespace = object.meta().namespace();
        if view.get::<Namespace>("", namespace).is_some_and(|ns| ns.is_deleting()) {
            keys.push(Key::new("", namespace));
        }
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let Some(namespace) = cx.view.at::<Namespace>(cx.key).filter(|ns| ns.is_deleting()) else {
            return Plan::done();
        };
        let finalizers = namespace.spec.as_ref().and_then(|s| s.finalizers.as_ref());
        if !finalizers.is_some_and(|all| all.iter().any(|f| f == names::FINALIZER_KUBERNETES)) {
            return Plan::done();
        }
        if !cx.view.is_complete() {
            // Some resource isn't known yet; it may have objects there.
            return Plan::later(RETRY);
        }
        plan(cx, namespace)
    }
}

/// What is left of one resource.
#[derive(Default)]
struct Left {
    count: usize,
    /// Those whose deletion nobody has asked for yet.
    untouched: usize,
}

fn plan(cx: &Cx<'_>, namespace: &Namespace) -> Plan {
    let name = namespace.name();
    let (mut left, mut finalizers) = (BTreeMap::new(), BTreeMap::<String, usize>::new());
    for slot in cx.view.slots().filter(|s| s.resource.namespaced) {
        for (_, object) in slot.cache.in_namespace(name) {
            let meta = object.meta();
            let entry: &mut (Resource, Left) = left
                .entry(slot.resource.to_string())
                .or_insert_with(|| (slot.resource.clone(), Left::default()));
            entry.1.count += 1;
            entry.1.untouched += usize::from(!meta.is_deleting());
            for finalizer in meta.finalizers() {
                *finalizers.entry(finalizer.clone()).or_default() += 1;
            }
        }
    }
    if left.is_empty() {
        return finalize(cx.view, namespace);
    }
    let pods_left = left.contains_key(Pod::INFO.resource);
    let due =
        left.values().filter(|(r, l)| l.untouched > 0 && (!pods_left || r.resource == Pod::INFO.resource));
    let mut plan = Plan::later(RETRY);
    plan.writes = due.map(|(r, _)| Write::collection(Op::DeleteCollection, r, name)).collect();
    let status = status(namespace, &left, &finalizers, cx.now);
    if namespace.status.as_ref() != Some(&status) {
        let (metadata, spec) = (namespace.metadata.clone(), namespace.spec.clone());
        plan.writes.push(Write::update_status(&Namespace { metadata, spec, status: Some(status) }));
    }
    plan
}

/// As far as we know nothing is left: make sure, then let go.
fn finalize(view: View<'_>, namespace: &Namespace) -> Plan {
    let name = namespace.name();
    let events = Resource::of::<Event>();
    let resources = view.slots().map(|s| &s.resource).filter(|r| r.namespaced);
    let mut plan = Plan::one(Write::collection(Op::DeleteCollection, &events, name));
    plan.writes.extend(resources.map(|r| Write::collection(Op::EnsureEmpty, r, name)));
    let mut namespace = namespace.clone();
    if let Some(finalizers) = namespace.spec.as_mut().and_then(|s| s.finalizers.as_mut()) {
        finalizers.retain(|f| f != names::FINALIZER_KUBERNETES);
    }
    plan.writes.push(Write::update_sub(&namespace, "finalize"));
    plan
}

/// The conditions that tell people what a namespace waits for.
fn status(
    namespace: &Namespace,
    left: &BTreeMap<String, (Resource, Left)>,
    finalizers: &BTreeMap<String, usize>,
    now: Timestamp,
) -> NamespaceStatus {
    let mut status = namespace.status.clone().unwrap_or_default();
    let counts = left.values();
    let remaining =
        counts.map(|(r, l)| format!("{}.{} has {} resource instances", r.resource, r.group, l.count));
    let remaining = format!("Some resources are remaining: {}", joined(remaining));
    let counts = finalizers.iter().map(|(f, n)| format!("{f} in {n} resource instances"));
    let kept = format!("Some content in the namespace has finalizers remaining: {}", joined(counts));
    let fine = |ok: bool| if ok { "False" } else { "True" };
    let finalized = if finalizers.is_empty() {
        ("NamespaceFinalizersRemaining", fine(true), "ContentHasNoFinalizers", OK_FINALIZERS.to_owned())
    } else {
        ("NamespaceFinalizersRemaining", fine(false), "SomeFinalizersRemain", kept)
    };
    let all = [
        ("NamespaceDeletionDiscoveryFailure", fine(true), "ResourcesDiscovered", OK_DISCOVERY.to_owned()),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            fine(true),
            "ParsedGroupVersions",
            OK_PARSING.to_owned(),
        ),
        ("NamespaceDeletionContentFailure", fine(true), "ContentDeleted", OK_CONTENT.to_owned()),
        ("NamespaceContentRemaining", fine(false), "SomeResourcesRemain", remaining),
        finalized,
    ];
    for (kind, state, reason, message) in all {
        put(&mut status, kind, state, reason, message, now);
    }
    status
}

const OK_DISCOVERY: &str = "All resources successfully discovered";
const OK_PARSING: &str = "All legacy kube types successfully parsed";
const OK_CONTENT: &str = "All content successfully deleted, may be waiting on finalization";
const OK_FINALIZERS: &str = "All content-preserving finalizers finished";

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

fn put(status: &mut NamespaceStatus, kind: &str, state: &str, reason: &str, message: String, now: Timestamp) {
    let all = status.conditions.get_or_insert_default();
    let at = all.iter().position(|c| c.type_ == kind);
    let since =
        at.map(|i| &all[i]).filter(|c| c.status == state).and_then(|c| c.last_transition_time.clone());
    let condition = NamespaceCondition {
        type_: kind.to_owned(),
        status: state.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: since.or_else(|| Some(api::time(now))),
    };
    match at {
        Some(i) => all[i] = condition,
        None => all.push(condition),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use expect_test::expect;
    use serde_json::{Value, json};

    fn namespace() -> Value {
        json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "x", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Terminating"}})
    }

    fn object(kind: &str, name: &str) -> Value {
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "x"}})
    }

    #[test]
    fn pods_go_first_and_then_the_rest() {
        let mut scene = Scene::new([namespace(), object("Pod", "p"), object("ConfigMap", "c")]);
        scene.discovered();
        expect![[r#"
            deletecollection pods x/
            update/status namespaces x {"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"All resources successfully discovered","reason":"ResourcesDiscovered","status":"False","type":"NamespaceDeletionDiscoveryFailure"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"All legacy kube types successfully parsed","reason":"ParsedGroupVersions","status":"False","type":"NamespaceDeletionGroupVersionParsingFailure"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"All content successfully deleted, may be waiting on finalization","reason":"ContentDeleted","status":"False","type":"NamespaceDeletionContentFailure"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"Some resources are remaining: configmaps. has 1 resource instances, pods. has 1 resource instances","reason":"SomeResourcesRemain","status":"True","type":"NamespaceContentRemaining"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"All content-preserving finalizers finished","reason":"ContentHasNoFinalizers","status":"False","type":"NamespaceFinalizersRemaining"}],"phase":"Terminating"}
            again in 5 s
        "#]].assert_eq(&scene.show(&Namespaces, "x"));
        let mut kept = object("Secret", "s");
        kept["metadata"]["finalizers"] = json!(["example.com/hold"]);
        kept["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let mut scene = Scene::new([namespace(), object("ConfigMap", "c"), kept]);
        scene.discovered();
        expect![[r#"
            deletecollection configmaps x/
            update/status namespaces x {"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"All resources successfully discovered","reason":"ResourcesDiscovered","status":"False","type":"NamespaceDeletionDiscoveryFailure"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"All legacy kube types successfully parsed","reason":"ParsedGroupVersions","status":"False","type":"NamespaceDeletionGroupVersionParsingFailure"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"All content successfully deleted, may be waiting on finalization","reason":"ContentDeleted","status":"False","type":"NamespaceDeletionContentFailure"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"Some resources are remaining: configmaps. has 1 resource instances, secrets. has 1 resource instances","reason":"SomeResourcesRemain","status":"True","type":"NamespaceContentRemaining"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances","reason":"SomeFinalizersRemain","status":"True","type":"NamespaceFinalizersRemaining"}],"phase":"Terminating"}
            again in 5 s
        "#]].assert_eq(&scene.show(&Namespaces, "x"));
    }

    #[test]
    fn an_empty_namespace_goes_once_that_is_certain() {
        let mut scene = Scene::new([namespace()]);
        assert_eq!(scene.show(&Namespaces, "x"), "again in 5 s\n", "not everything is known yet");
        scene.discovered();
        let text = scene.show(&Namespaces, "x");
        assert!(text.starts_with("deletecollection events x/\nensure-empty"), "{text}");
        assert!(text.contains("ensure-empty pods x/\n"), "{text}");
        assert!(
            text.ends_with(
                "update/finalize namespaces x {\"metadata\":{\"deletionTimestamp\":\
            \"2026-01-01T00:00:00Z\"},\"spec\":{\"finalizers\":[]}}\n"
            ),
            "{text}"
        );
    }
}

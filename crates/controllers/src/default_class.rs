//! Gives a new cluster a default storage class, once: who deletes it doesn't get it back. That it was there is
//! remembered in a ConfigMap.

use crate::volumes::PROVISIONER;
use crate::volumes::removal::ANNOTATION_PLACE;
use api::core::v1::{ConfigMap, Namespace, Node};
use api::storage::v1::StorageClass;
use api::{MetaExt, ObjectMeta, names};
use client::Key;
use reconcile::{Controller, Cx, Plan, Watch, Write};
use std::collections::BTreeMap;

/// The class.
const CLASS: &str = "local";
/// The ConfigMap in `kube-system` that says what was given already, and the entry for the class.
const GIVEN: (&str, &str) = ("ironclad-defaults", "storageclass.local");

/// The controller; off where no node has a place for volumes.
pub(crate) struct DefaultClass {
    pub(crate) enabled: bool,
}

impl Controller for DefaultClass {
    fn name(&self) -> &'static str {
        "ironclad-defaults-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        let of_system = Watch::each::<Namespace>(|_, namespace, keys| {
            if namespace.name() == names::NAMESPACE_KUBE_SYSTEM {
                keys.push(Key::new("", CLASS));
            }
        });
        let of_map = Watch::each::<ConfigMap>(|_, map, keys| {
            if map.namespace() == names::NAMESPACE_KUBE_SYSTEM && map.name() == GIVEN.0 {
                keys.push(Key::new("", CLASS));
            }
        });
        let of_node = Watch::each::<Node>(|_, node, keys| {
            if node.annotation(ANNOTATION_PLACE).is_some() {
                keys.push(Key::new("", CLASS));
            }
        });
        vec![of_system, of_map, of_node, Watch::only::<StorageClass>()]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let system = names::NAMESPACE_KUBE_SYSTEM;
        let given = cx.view.get::<ConfigMap>(system, GIVEN.0);
        let done = given.is_some_and(|m| m.data.iter().flatten().any(|(key, _)| key == GIVEN.1));
        let place = |n: &Node| n.annotation(ANNOTATION_PLACE).is_some();
        let enabled = self.enabled || cx.view.all::<Node>().any(place);
        if !enabled || done || cx.view.get::<Namespace>("", system).is_none() {
            return Plan::done();
        }
        let mut plan = Plan::default();
        if cx.view.get::<StorageClass>("", CLASS).is_none() {
            plan.writes.push(Write::create(&class()));
        }
        // Written last: a crash in between repeats the first step, and finds it done.
        let mut map = given.cloned().unwrap_or_else(|| ConfigMap {
            metadata: ObjectMeta {
                name: Some(GIVEN.0.to_owned()),
                namespace: Some(system.to_owned()),
                ..ObjectMeta::default()
            },
            ..ConfigMap::default()
        });
        map.data.get_or_insert_default().insert(GIVEN.1.to_owned(), "given".to_owned());
        plan.writes.push(if given.is_some() { Write::update(&map) } else { Write::create(&map) });
        plan
    }
}

fn class() -> StorageClass {
    let annotation = (names::ANNOTATION_DEFAULT_STORAGE_CLASS.to_owned(), "true".to_owned());
    StorageClass {
        metadata: ObjectMeta {
            name: Some(CLASS.to_owned()),
            annotations: Some(BTreeMap::from([annotation])),
            ..ObjectMeta::default()
        },
        provisioner: PROVISIONER.to_owned(),
        reclaim_policy: Some("Delete".to_owned()),
        volume_binding_mode: Some("WaitForFirstConsumer".to_owned()),
        ..StorageClass::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn the_class_is_given_once() {
        let mut scene = Scene::new([
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}),
        ]);
        expect![[r#"
            create storageclasses.storage.k8s.io local {"metadata":{"annotations":{"storageclass.kubernetes.io/is-default-class":"true"}},"provisioner":"ironclad.local/hostpath","reclaimPolicy":"Delete","volumeBindingMode":"WaitForFirstConsumer"}
            create configmaps kube-system/ironclad-defaults {"data":{"storageclass.local":"given"},"metadata":{}}
        "#]].assert_eq(&scene.show(&DefaultClass { enabled: true }, "local"));
        assert_eq!(scene.show(&DefaultClass { enabled: false }, "local"), "");
        scene.put(json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": "local"}, "provisioner": "p"}));
        expect![[r#"
            create configmaps kube-system/ironclad-defaults {"data":{"storageclass.local":"given"},"metadata":{}}
        "#]].assert_eq(&scene.show(&DefaultClass { enabled: true }, "local"));
        scene.remove(json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
            "metadata": {"name": "local"}, "provisioner": "p"}));
        scene.put(json!({"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "ironclad-defaults", "namespace": "kube-system"},
            "data": {"storageclass.local": "given"}}));
        assert_eq!(scene.show(&DefaultClass { enabled: true }, "local"), "");
    }
}

//! Keeps a VolumeAttributesClass that is to go until no volume and no claim names it
//! (`pkg/controller/volume/vacprotection`).

use api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use api::storage::v1::VolumeAttributesClass;
use api::{MetaExt, names};
use client::{Key, View};
use reconcile::{Controller, Cx, Plan, Watch, Write};

/// The controller.
pub(crate) struct ClassProtection;

impl Controller for ClassProtection {
    fn name(&self) -> &'static str {
        "volumeattributesclass-protection-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![
            Watch::own::<VolumeAttributesClass>(),
            Watch::each::<PersistentVolume>(|_, v, keys| keys.extend(of_volume(v).map(key))),
            Watch::each::<PersistentVolumeClaim>(|_, c, keys| keys.extend(of_claim(c).map(key))),
        ]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let Some(class) = cx.view.at::<VolumeAttributesClass>(cx.key) else { return Plan::done() };
        let mut class = class.clone();
        match (class.is_deleting(), class.has_finalizer(names::FINALIZER_VAC_PROTECTION)) {
            (false, false) => class
                .metadata
                .finalizers
                .get_or_insert_default()
                .push(names::FINALIZER_VAC_PROTECTION.to_owned()),
            (true, true) if !is_used(cx.view, class.name()) => class
                .metadata
                .finalizers
                .get_or_insert_default()
                .retain(|f| f != names::FINALIZER_VAC_PROTECTION),
            _ => return Plan::done(),
        }
        Plan::one(Write::update(&class))
    }
}

fn key(class: &str) -> Key {
    Key::new("", class)
}

fn of_volume(volume: &PersistentVolume) -> impl Iterator<Item = &str> {
    let spec = volume.spec.as_ref();
    spec.and_then(|s| s.volume_attributes_class_name.as_deref()).filter(|n| !n.is_empty()).into_iter()
}

/// What a claim asks for, has, and is on its way to.
fn of_claim(claim: &PersistentVolumeClaim) -> impl Iterator<Item = &str> {
    let asked = claim.spec.as_ref().and_then(|s| s.volume_attributes_class_name.as_deref());
    let status = claim.status.as_ref();
    let current = status.and_then(|s| s.current_volume_attributes_class_name.as_deref());
    let change = status.and_then(|s| s.modify_volume_status.as_ref());
    let target = change.and_then(|c| c.target_volume_attributes_class_name.as_deref());
    [asked, current, target].into_iter().flatten().filter(|n| !n.is_empty())
}

fn is_used(view: View<'_>, class: &str) -> bool {
    view.all::<PersistentVolume>().any(|v| of_volume(v).any(|n| n == class))
        || view.all::<PersistentVolumeClaim>().any(|c| of_claim(c).any(|n| n == class))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    fn check(finalizers: &[&str], deleted: bool, others: impl IntoIterator<Item = Value>, expect: Expect) {
        let deleted = deleted.then_some("2025-12-31T23:00:00Z");
        let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttributesClass", "driverName": "d",
            "metadata": {"name": "gold", "finalizers": finalizers, "deletionTimestamp": deleted}});
        let scene = Scene::new(std::iter::once(class).chain(others));
        expect.assert_eq(&scene.show(&ClassProtection, "gold"));
    }

    fn claim(asked: &str, target: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
            "spec": {"volumeAttributesClassName": asked},
            "status": {"modifyVolumeStatus": {"status": "InProgress", "targetVolumeAttributesClassName": target}}})
    }

    #[test]
    fn a_class_in_use_stays() {
        let ours = ["kubernetes.io/vac-protection"];
        check(&ours, true, [claim("gold", "")], expect![[""]]);
        check(&ours, true, [claim("silver", "gold")], expect![[""]]);
        let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"},
            "spec": {"volumeAttributesClassName": "gold"}});
        check(&ours, true, [volume], expect![[""]]);
        check(
            &ours,
            true,
            [claim("silver", "")],
            expect![[r#"
            update volumeattributesclasses.storage.k8s.io gold {"driverName":"d","metadata":{"deletionTimestamp":"2025-12-31T23:00:00Z","finalizers":[]}}
        "#]],
        );
        check(
            &[],
            false,
            [],
            expect![[r#"
            update volumeattributesclasses.storage.k8s.io gold {"driverName":"d","metadata":{"finalizers":["kubernetes.io/vac-protection"]}}
        "#]],
        );
    }
}

//! Keeps a volume that is to go until it is bound no longer (`pkg/controller/volume/pvprotection`).

use api::core::v1::PersistentVolume;
use api::names;
use reconcile::{Controller, Cx, Plan, Watch, Write};

/// The controller.
pub(crate) struct VolumeProtection;

impl Controller for VolumeProtection {
    fn name(&self) -> &'static str {
        "pv-protection-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::own::<PersistentVolume>()]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let Some(volume) = cx.view.at::<PersistentVolume>(cx.key) else { return Plan::done() };
        let bound = volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
        let mut volume = volume.clone();
        let finalizers = volume.metadata.finalizers.get_or_insert_default();
        let protected = finalizers.iter().any(|f| f == names::FINALIZER_PV_PROTECTION);
        match (volume.metadata.deletion_timestamp.is_some(), protected) {
            (false, false) => finalizers.push(names::FINALIZER_PV_PROTECTION.to_owned()),
            (true, true) if !bound => finalizers.retain(|f| f != names::FINALIZER_PV_PROTECTION),
            _ => return Plan::done(),
        }
        Plan::one(Write::update(&volume))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use expect_test::{Expect, expect};
    use serde_json::json;

    fn check(finalizers: &[&str], deleted: bool, phase: &str, expect: Expect) {
        let deleted = deleted.then_some("2025-12-31T23:00:00Z");
        let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": "v", "finalizers": finalizers, "deletionTimestamp": deleted},
            "status": {"phase": phase}});
        expect.assert_eq(&Scene::new([volume]).show(&VolumeProtection, "v"));
    }

    #[test]
    fn a_bound_volume_stays() {
        let ours = ["kubernetes.io/pv-protection", "other"];
        check(&ours, true, "Bound", expect![[""]]);
        check(
            &ours,
            true,
            "Released",
            expect![[r#"
            update persistentvolumes v {"metadata":{"deletionTimestamp":"2025-12-31T23:00:00Z","finalizers":["other"]}}
        "#]],
        );
        check(&ours, false, "Available", expect![[""]]);
        check(
            &[],
            false,
            "Available",
            expect![[r#"
            update persistentvolumes v {"metadata":{"finalizers":["kubernetes.io/pv-protection"]}}
        "#]],
        );
        check(&[], true, "Available", expect![[""]]);
    }
}

//! Keeps a claim that is to go until no pod uses it any more (`pkg/controller/volume/pvcprotection`).

use crate::claims::{claim_names, is_for_pod};
use crate::pods;
use api::core::v1::{PersistentVolumeClaim, Pod};
use api::{MetaExt, names};
use client::{Key, View};
use jiff::Timestamp;
use reconcile::{Controller, Cx, Plan, Watch, Write};
use std::time::Duration;

/// How long the pods' cache may lag behind the claims': in that time a pod may have been bound to a node
/// before the deletion that we see. (Upstream lists the pods anew instead.)
const LAG: Duration = Duration::from_secs(2);

/// The controller.
pub(crate) struct ClaimProtection;

impl Controller for ClaimProtection {
    fn name(&self) -> &'static str {
        "pvc-protection-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::each::<PersistentVolumeClaim>(key_of_claim), Watch::each::<Pod>(keys_of_pod)]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let Some(claim) = cx.view.at::<PersistentVolumeClaim>(cx.key) else { return Plan::done() };
        match (claim.is_deleting(), claim.has_finalizer(names::FINALIZER_PVC_PROTECTION)) {
            (false, false) => Plan::one(with_finalizer(claim)),
            (true, true) if is_used(cx.view, claim) => Plan::done(),
            (true, true) => let_go(cx, claim),
            _ => Plan::done(),
        }
    }
}

fn is_concerned(claim: &PersistentVolumeClaim) -> bool {
    claim.is_deleting() == claim.has_finalizer(names::FINALIZER_PVC_PROTECTION)
}

fn key_of_claim(_: View<'_>, claim: &PersistentVolumeClaim, keys: &mut Vec<Key>) {
    if is_concerned(claim) {
        keys.push(Key::of(claim));
    }
}

fn keys_of_pod(view: View<'_>, pod: &Pod, keys: &mut Vec<Key>) {
    for (name, _) in claim_names(pod) {
        let claim = view.get::<PersistentVolumeClaim>(pod.namespace(), &name);
        keys.extend(claim.filter(|c| is_concerned(c)).map(|c| Key::of(c)));
    }
}

/// Only pods with a node count: no agent starts a pod whose claim is being deleted.
fn is_used(view: View<'_>, claim: &PersistentVolumeClaim) -> bool {
    let uses = |pod: &Pod| {
        claim_names(pod).any(|(name, ephemeral)| {
            name == claim.name() && (!ephemeral || (!is_shut_down(pod) && is_for_pod(claim, pod)))
        })
    };
    view.list::<Pod>(claim.namespace()).any(|pod| !pods::node(pod).is_empty() && uses(pod))
}

/// Its agent is done with it, or it was deleted by force; what remains of it may wait for this very claim.
fn is_shut_down(pod: &Pod) -> bool {
    pod.is_deleting() && pod.metadata.deletion_grace_period_seconds == Some(0)
}

fn let_go(cx: &Cx<'_>, claim: &PersistentVolumeClaim) -> Plan {
    let current = cx.view.cache::<Pod>().is_some_and(|pods| pods.revision() >= claim.revision());
    let asked = claim.metadata.deletion_timestamp.as_ref().map_or(Timestamp::MIN, |t| t.0);
    if !current && asked + LAG > cx.now {
        return Plan::later(LAG);
    }
    let mut claim = claim.clone();
    claim.metadata.finalizers.get_or_insert_default().retain(|f| f != names::FINALIZER_PVC_PROTECTION);
    Plan::one(Write::update(&claim))
}

fn with_finalizer(claim: &PersistentVolumeClaim) -> Write {
    let mut claim = claim.clone();
    let finalizers = claim.metadata.finalizers.get_or_insert_default();
    finalizers.push(names::FINALIZER_PVC_PROTECTION.to_owned());
    Write::update(&claim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    fn claim(finalizers: &[&str], deleted: &str) -> Value {
        let mut claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "finalizers": finalizers}});
        if !deleted.is_empty() {
            claim["metadata"]["deletionTimestamp"] = deleted.into();
        }
        claim
    }

    fn pod(node: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
            "spec": {"nodeName": node, "containers": [],
                "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}})
    }

    fn check(objects: impl IntoIterator<Item = Value>, expect: Expect) {
        expect.assert_eq(&Scene::new(objects).show(&ClaimProtection, "x/data"));
    }

    const FINALIZER: &[&str] = &["kubernetes.io/pvc-protection", "other"];

    #[test]
    fn a_claim_in_use_stays() {
        check([claim(FINALIZER, "2025-12-31T23:00:00Z"), pod("n1")], expect![[""]]);
        check(
            [claim(FINALIZER, "2025-12-31T23:00:00Z"), pod("")],
            expect![[r#"
            update persistentvolumeclaims x/data {"metadata":{"deletionTimestamp":"2025-12-31T23:00:00Z","finalizers":["other"]}}
        "#]],
        );
        check(
            [claim(FINALIZER, "2025-12-31T23:00:00Z")],
            expect![[r#"
            update persistentvolumeclaims x/data {"metadata":{"deletionTimestamp":"2025-12-31T23:00:00Z","finalizers":["other"]}}
        "#]],
        );
        check([claim(FINALIZER, "")], expect![[""]]);
        check(
            [claim(&[], "")],
            expect![[r#"
            update persistentvolumeclaims x/data {"metadata":{"finalizers":["kubernetes.io/pvc-protection"]}}
        "#]],
        );
        check([claim(&[], "2025-12-31T23:00:00Z")], expect![[""]]);
    }

    #[test]
    fn pods_that_may_be_unknown_yet_are_waited_for() {
        let mut fresh = claim(FINALIZER, "2025-12-31T23:59:59Z");
        fresh["metadata"]["resourceVersion"] = "7".into();
        check(
            [fresh.clone()],
            expect![[r#"
            again in 2 s
        "#]],
        );
        fresh["metadata"]["deletionTimestamp"] = "2025-12-31T23:59:58Z".into();
        check(
            [fresh],
            expect![[r#"
            update persistentvolumeclaims x/data {"metadata":{"deletionTimestamp":"2025-12-31T23:59:58Z","finalizers":["other"]}}
        "#]],
        );
    }

    #[test]
    fn an_ephemeral_claim_goes_with_its_pod() {
        let mut owned = claim(FINALIZER, "2025-12-31T23:00:00Z");
        owned["metadata"]["name"] = "p-v".into();
        owned["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "p-uid", "controller": true}]);
        let mut user = pod("n1");
        user["spec"]["volumes"] = json!([{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]);
        let mut scene = Scene::new([owned, user.clone()]);
        assert_eq!(scene.show(&ClaimProtection, "x/p-v"), "");
        user["metadata"]["deletionTimestamp"] = "2025-12-31T23:00:00Z".into();
        user["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        scene.put(user);
        assert!(scene.show(&ClaimProtection, "x/p-v").starts_with("update persistentvolumeclaims x/p-v"));
    }
}

//! Makes the claims of pods' ephemeral volumes (`pkg/controller/volume/ephemeral`).

use crate::claims::{claim_names, ephemeral_name, is_for_pod};
use api::core::v1::{PersistentVolumeClaim, Pod};
use api::{MetaExt, ObjectMeta};
use client::{Key, View};
use reconcile::{Controller, Cx, EventNote, Plan, Watch, Write};
use std::time::Duration;

/// How soon to look again while another claim has the name.
const RETRY: Duration = Duration::from_secs(60);

/// The controller.
pub(crate) struct EphemeralVolumes;

impl Controller for EphemeralVolumes {
    fn name(&self) -> &'static str {
        "ephemeral-volume-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::each::<Pod>(key_of_pod), Watch::each::<PersistentVolumeClaim>(keys_of_claim)]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let pod = cx.view.at::<Pod>(cx.key).filter(|p| !p.is_deleting());
        pod.map(|pod| plan(cx.view, pod)).unwrap_or_default()
    }
}

fn key_of_pod(_: View<'_>, pod: &Pod, keys: &mut Vec<Key>) {
    if !pod.is_deleting() && claim_names(pod).any(|(_, ephemeral)| ephemeral) {
        keys.push(Key::of(pod));
    }
}

/// A claim that is gone may have stood in the way of a pod, or be missed by it.
fn keys_of_claim(view: View<'_>, claim: &PersistentVolumeClaim, keys: &mut Vec<Key>) {
    if view.get::<PersistentVolumeClaim>(claim.namespace(), claim.name()).is_none() {
        let uses = |pod: &&Pod| claim_names(pod).any(|(name, ephemeral)| ephemeral && name == claim.name());
        keys.extend(view.list::<Pod>(claim.namespace()).filter(uses).map(|pod| Key::of(pod)));
    }
}

/// The first claim that can't be had ends it, as upstream.
fn plan(view: View<'_>, pod: &Pod) -> Plan {
    let mut plan = Plan::default();
    for volume in pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()) {
        let Some(template) = volume.ephemeral.as_ref().and_then(|e| e.volume_claim_template.as_ref()) else {
            continue;
        };
        let name = ephemeral_name(pod, &volume.name);
        match view.get::<PersistentVolumeClaim>(pod.namespace(), &name) {
            Some(claim) if is_for_pod(claim, pod) => {}
            Some(_) => {
                let (namespace, pod_name) = (pod.namespace(), pod.name());
                let message = format!(
                    "ephemeral volume {}: PVC {namespace}/{name} was not created for pod {namespace}/{pod_name} \
                     (pod is not owner)",
                    volume.name
                );
                plan.events.push(EventNote::warning(pod, "FailedBinding", message));
                plan.requeue(RETRY);
                return plan;
            }
            None => {
                let meta = template.metadata.clone().unwrap_or_default();
                let claim = PersistentVolumeClaim {
                    metadata: ObjectMeta {
                        name: Some(name.clone()),
                        namespace: pod.metadata.namespace.clone(),
                        labels: meta.labels,
                        annotations: meta.annotations,
                        owner_references: Some(vec![api::kinds::controller_ref(pod)]),
                        ..ObjectMeta::default()
                    },
                    spec: Some(template.spec.clone()),
                    status: None,
                };
                let message = format!("ephemeral volume {}: create PVC {name}: {{}}", volume.name);
                let failed = EventNote::warning(pod, "FailedBinding", message);
                plan.writes.push(Write::create(&claim).or(failed));
            }
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    fn pod() -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [], "volumes": [
            {"name": "a", "ephemeral": {"volumeClaimTemplate": {"metadata": {"labels": {"k": "v"}},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}}},
            {"name": "b", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}},
            {"name": "c", "persistentVolumeClaim": {"claimName": "c"}}]}})
    }

    fn claim(owner: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "p-a", "ownerReferences": [
            {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": owner, "controller": true}]}})
    }

    fn check(objects: impl IntoIterator<Item = Value>, expect: Expect) {
        expect.assert_eq(&Scene::new(objects).show(&EphemeralVolumes, "x/p"));
    }

    #[test]
    fn claims_are_made_for_the_pod_alone() {
        check(
            [pod()],
            expect![[r#"
            create persistentvolumeclaims x/p-a {"metadata":{"labels":{"k":"v"},"ownerReferences":["Pod/p"]},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}}
              or: Warning FailedBinding Pod/p ephemeral volume a: create PVC p-a: {}
            create persistentvolumeclaims x/p-b {"metadata":{"ownerReferences":["Pod/p"]},"spec":{}}
              or: Warning FailedBinding Pod/p ephemeral volume b: create PVC p-b: {}
        "#]],
        );
        check(
            [pod(), claim("p-uid")],
            expect![[r#"
            create persistentvolumeclaims x/p-b {"metadata":{"ownerReferences":["Pod/p"]},"spec":{}}
              or: Warning FailedBinding Pod/p ephemeral volume b: create PVC p-b: {}
        "#]],
        );
        check(
            [pod(), claim("other")],
            expect![[r#"
            event Warning FailedBinding Pod/p ephemeral volume a: PVC x/p-a was not created for pod x/p (pod is not owner)
            again in 60 s
        "#]],
        );
        let mut going = pod();
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        check([going], expect![[""]]);
    }
}

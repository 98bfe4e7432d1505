//! Keeps claims that pods use and volumes that claims use from going
//! (`pkg/controller/volume/pvcprotection`, `pvprotection`).

use super::claim::claims_of;
use crate::pods;
use api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use api::{Kind, MetaExt, names};
use client::Key;
use reconcile::{Controller, Cx, Plan, Watch, Write};
use serde_json::{Value, json};

/// Protects claims.
pub(crate) struct ClaimProtection;

impl Controller for ClaimProtection {
    fn name(&self) -> &'static str {
        "pvc-protection-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        let of_pod = Watch::each::<Pod>(|_, pod, keys| {
            if pod.is_deleting() || pods::is_terminal(pod) {
                keys.extend(claims_of(pod).iter().map(|name| Key::new(pod.namespace(), name)));
            }
        });
        vec![Watch::own::<PersistentVolumeClaim>(), of_pod]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let Some(claim) = cx.view.at::<PersistentVolumeClaim>(cx.key) else { return Plan::done() };
        let uses = |p: &Pod| {
            !pods::is_terminal(p)
                && !pods::node(p).is_empty()
                && claims_of(p).iter().any(|c| c == claim.name())
        };
        let finalizer = names::FINALIZER_PVC_PROTECTION;
        protect(claim, finalizer, || cx.view.list::<Pod>(claim.namespace()).any(uses))
    }
}

/// Protects volumes.
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
        protect(volume, names::FINALIZER_PV_PROTECTION, || bound)
    }
}

/// Adds the finalizer to what lives, takes it off what goes and is used no more.
fn protect<K: Kind>(object: &K, finalizer: &str, is_used: impl FnOnce() -> bool) -> Plan {
    let mut finalizers = object.finalizers().to_vec();
    match (object.is_deleting(), object.has_finalizer(finalizer)) {
        (false, false) => finalizers.push(finalizer.to_owned()),
        (true, true) if !is_used() => finalizers.retain(|f| f != finalizer),
        _ => return Plan::done(),
    }
    let finalizers = if finalizers.is_empty() { Value::Null } else { json!(finalizers) };
    let version = &object.meta().resource_version;
    let meta = json!({"uid": object.uid(), "resourceVersion": version, "finalizers": finalizers});
    Plan::one(Write::merge(object, &json!({"metadata": meta})))
}

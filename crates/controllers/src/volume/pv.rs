//! The phase of a volume, and what becomes of it when its claim is gone (`syncVolume`).

use super::{PROVISIONER, claim_ref};
use api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeStatus};
use api::{MetaExt, names};
use client::Key;
use reconcile::{Controller, Cx, EventNote, Plan, Watch, Write};
use std::time::Duration;

/// How soon to look again where the cache of claims lags behind.
const LAG: Duration = Duration::from_secs(1);

/// The controller.
pub(crate) struct Volumes;

impl Controller for Volumes {
    fn name(&self) -> &'static str {
        "persistentvolume-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        let of_claim = Watch::each::<PersistentVolumeClaim>(|view, claim, keys| {
            let named = claim.spec.as_ref().and_then(|s| s.volume_name.as_deref());
            keys.extend(named.filter(|n| !n.is_empty()).map(|n| Key::new("", n)));
            let meant = view.all::<PersistentVolume>().filter(|v| super::is_for(v, claim));
            keys.extend(meant.map(|v| Key::of(v)));
        });
        vec![Watch::own::<PersistentVolume>(), of_claim]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        match cx.view.at::<PersistentVolume>(cx.key) {
            Some(volume) => plan(cx, volume),
            None => Plan::done(),
        }
    }
}

fn plan(cx: &Cx<'_>, volume: &PersistentVolume) -> Plan {
    let Some(reference) = claim_ref(volume).filter(|r| r.uid.as_ref().is_some_and(|u| !u.is_empty())) else {
        return phase(cx, volume, "Available");
    };
    let text = |v: &Option<String>| v.clone().unwrap_or_default();
    let key = Key::new(&text(&reference.namespace), &text(&reference.name));
    let claim = cx.view.at::<PersistentVolumeClaim>(&key).filter(|c| c.metadata.uid == reference.uid);
    match claim {
        Some(claim) => {
            let named = claim.spec.as_ref().and_then(|s| s.volume_name.as_deref()).unwrap_or_default();
            match named {
                name if name == volume.name() => phase(cx, volume, "Bound"),
                // The claim will name it soon.
                "" => Plan::done(),
                _ => unclaimed(cx, volume),
            }
        }
        None => {
            let claims = cx.view.cache::<PersistentVolumeClaim>();
            let uid = text(&reference.uid);
            let known = claims.is_some_and(|c| c.revision() >= volume.revision() || c.saw_deleted(&uid));
            if known { unclaimed(cx, volume) } else { Plan::later(LAG) }
        }
    }
}

/// Its claim is gone, or has another volume.
fn unclaimed(cx: &Cx<'_>, volume: &PersistentVolume) -> Plan {
    let policy = volume.spec.as_ref().and_then(|s| s.persistent_volume_reclaim_policy.as_deref());
    let ours = volume.annotation(names::ANNOTATION_PV_PROVISIONED_BY) == Some(PROVISIONER);
    let mut plan = phase(cx, volume, "Released");
    if !plan.writes.is_empty() || volume.is_deleting() {
        return plan;
    }
    if policy == Some("Delete") && ours {
        let failed = EventNote::warning(volume, "VolumeFailedDelete", "{}");
        plan.writes.push(Write::delete(volume).or(failed));
    }
    plan
}

fn phase(cx: &Cx<'_>, volume: &PersistentVolume, phase: &str) -> Plan {
    let old = volume.status.clone().unwrap_or_default();
    if old.phase.as_deref() == Some(phase) {
        return Plan::done();
    }
    let status = PersistentVolumeStatus {
        phase: Some(phase.to_owned()),
        message: None,
        reason: None,
        last_phase_transition_time: Some(api::time(cx.now)),
    };
    let (metadata, spec) = (volume.metadata.clone(), volume.spec.clone());
    Plan::one(Write::update_status(&PersistentVolume { metadata, spec, status: Some(status) }))
}

//! The end of a pod: containers in their order, the sandbox, the volumes, the API object, and what is left
//! (`syncTerminatingPod`, `syncTerminatedPod`; order of sidecars: KEP-753).

use super::actions::KillReason;
use super::machine::Round;
use super::ops::Op;
use super::podspec;

/// The least grace in seconds: containers get a moment even when there is no time.
pub const MIN_GRACE: i64 = 2;

/// Plans a pod that is to end. Returns whether nothing of it runs any more.
pub(crate) fn plan(round: &mut Round<'_>) -> bool {
    round.take_down(KillReason::Other)
}

/// Whether a container's turn to stop has come: sidecars go after the containers, the last one first.
pub(crate) fn has_turn(round: &Round<'_>, name: &str) -> bool {
    let init = podspec::init_containers(round.pod);
    let Some(place) = init.iter().position(|c| c.name == name && podspec::is_sidecar(c)) else { return true };
    if !round.is_terminating() && round.local.observed.alive().any(|o| is_kept(round, &o.id)) {
        // One sidecar is restarted, the pod goes on.
        return true;
    }
    let later = |other: &str| match init.iter().position(|c| c.name == other) {
        Some(i) => i > place,
        None => true,
    };
    !round.local.observed.alive().any(|o| o.name != name && later(&o.name))
}

fn is_kept(round: &Round<'_>, id: &str) -> bool {
    !round.local.kills.contains_key(id)
}

/// What remains once nothing runs: volumes, the API object, and after that the rest.
pub(crate) fn finish(round: &mut Round<'_>) {
    let now = round.now;
    if !round.local.volumes.busy && round.local.unmount.begin(now, &mut round.plan.requeue) {
        round.plan.ops.push(Op::Unmount);
    }
    if !round.local.unmount.done {
        return;
    }
    if !round.local.removed {
        let delete = podspec::is_deleting(round.pod);
        if delete && round.local.delete.begin(now, &mut round.plan.requeue) {
            round.plan.ops.push(Op::DeletePod);
        }
        return;
    }
    let containers: Vec<String> = round.local.observed.containers.iter().map(|c| c.id.clone()).collect();
    let sandboxes: Vec<String> = round.local.observed.sandboxes.iter().map(|s| s.id.clone()).collect();
    for id in &containers {
        if round.claim(id) {
            round.plan.ops.push(Op::RemoveContainer { id: id.clone() });
        }
    }
    if !containers.is_empty() {
        return;
    }
    for id in &sandboxes {
        if round.claim(id) {
            round.plan.ops.push(Op::RemoveSandbox { id: id.clone() });
        }
    }
    if sandboxes.is_empty() && round.local.clear.begin(now, &mut round.plan.requeue) {
        round.plan.ops.push(Op::Clear);
    }
    round.plan.finished = round.local.clear.done;
}

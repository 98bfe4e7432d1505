//! Changing the CPU and memory of a container while it runs (KEP-1287).

use super::actions::{Kill, KillReason};
use super::machine::Round;
use super::observe::{Observed, State};
use super::ops::Op;
use super::{podspec, resources};
use k8s_openapi::api::core::v1::Container;

/// What a container may use, as text that can be compared: CPU request and limit, memory request and limit.
pub fn amounts(c: &Container) -> String {
    let r = c.resources.as_ref();
    let (requests, limits) = (r.and_then(|r| r.requests.as_ref()), r.and_then(|r| r.limits.as_ref()));
    let cpu = (resources::milli(requests, "cpu"), resources::milli(limits, "cpu"));
    let memory = (resources::value(requests, "memory"), resources::value(limits, "memory"));
    format!("{}/{} {}/{}", cpu.0, cpu.1, memory.0, memory.1)
}

/// Whether a change from `have` to `want` needs a restart, as the container's `resizePolicy` says.
fn needs_restart(c: &Container, have: &str, want: &str) -> bool {
    let policies = c.resize_policy.as_deref().unwrap_or_default();
    let names = ["cpu", "memory"].into_iter().zip(have.split(' ').zip(want.split(' ')));
    names.filter(|(_, (h, w))| h != w).any(|(name, _)| {
        policies.iter().any(|p| p.resource_name == name && p.restart_policy == "RestartContainer")
    })
}

/// Asks for the changes of resources that are due.
pub(crate) fn plan(round: &mut Round<'_>) {
    let running: Vec<Observed> = {
        let local = &round.local;
        let settled = |o: &&Observed| {
            o.state == State::Running
                && !o.amounts.is_empty()
                && !local.starting.contains(&o.name)
                && !local.kills.contains_key(&o.id)
        };
        local.observed.containers.iter().filter(settled).cloned().collect()
    };
    for o in running {
        let Some((c, _)) = podspec::find_container(round.pod, &o.name) else { continue };
        let want = amounts(&c);
        let have = round.local.resized.get(&o.id).unwrap_or(&o.amounts).clone();
        if have == want {
            continue;
        }
        if needs_restart(&c, &have, &want) {
            let message = format!("Container {} resize requires restart", o.name);
            let kill = Kill { id: o.id.clone(), name: o.name.clone(), message, reason: KillReason::Other };
            round.begin_kill(&kill);
            round.advance_kills();
        } else if round.claim(&o.id) {
            round.plan.ops.push(Op::Resize { id: o.id.clone(), container: o.name.clone() });
        }
    }
}

//! Changing the CPU and memory of a container while it runs (KEP-1287).

use super::actions::{Kill, KillReason};
use super::machine::Round;
use super::observe::{Observed, State};
use super::ops::Op;
use super::{podspec, resources};
use k8s_openapi::api::core::v1::Container;
use std::collections::BTreeSet;

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

/// Running containers that are to have other amounts than they have: what they have, and their specs.
fn due(round: &Round<'_>) -> Vec<(Observed, String, Container)> {
    let one = |o: &Observed| {
        let (c, _) = podspec::find_container(round.pod, &o.name)?;
        let have = round.local.resized.get(&o.id).unwrap_or(&o.amounts).clone();
        (!have.is_empty() && have != amounts(&c)).then(|| (o.clone(), have, c))
    };
    let all = round.local.observed.containers.iter().filter(|o| o.state == State::Running);
    all.filter_map(one).collect()
}

/// The identifiers of running containers that are to have other amounts than they have.
pub(crate) fn pending(round: &Round<'_>) -> BTreeSet<String> {
    due(round).into_iter().map(|(o, ..)| o.id).collect()
}

/// Asks for the changes of resources that are due.
pub(crate) fn plan(round: &mut Round<'_>) {
    for (o, have, c) in due(round) {
        if round.local.starting.contains(&o.name) || round.local.kills.contains_key(&o.id) {
            continue;
        }
        if needs_restart(&c, &have, &amounts(&c)) {
            let message = format!("Container {} resize requires restart", o.name);
            let kill = Kill { id: o.id.clone(), name: o.name.clone(), message, reason: KillReason::Other };
            round.begin_kill(&kill);
            round.advance_kills();
        } else if round.claim(&o.id) {
            round.plan.ops.push(Op::Resize { id: o.id.clone(), container: o.name.clone() });
        }
    }
}

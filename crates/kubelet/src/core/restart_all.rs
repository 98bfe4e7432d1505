//! Starting a whole pod over in its sandbox, when a container ends in a way for which its rules say
//! `RestartAllContainers` (KEP-5532, `getContainersToReset` of `pkg/kubelet/kuberuntime`).
//!
//! All containers are stopped without grace and removed, those that asked for it last: what runs tells how far it is,
//! also to an agent that was killed meanwhile. A pod without containers starts from its first init container.

use super::actions::{Kill, KillReason};
use super::machine::{Round, crash_key, finished};
use super::observe::{Observed, PodObservation, State};
use super::ops::Op;
use super::podspec::Role;
use super::{podspec, restart};
use k8s_openapi::api::core::v1::{Container, Pod};

/// The condition of a pod that starts over (`GenerateAllContainersRestartingCondition`).
pub const CONDITION: &str = "AllContainersRestarting";
/// Its reason and message while that is so.
pub const STARTED: (&str, &str) =
    ("RestartAllContainersStarted", "container exited with restart policy rule");

fn all(pod: &Pod) -> impl Iterator<Item = &Container> {
    podspec::init_containers(pod).iter().chain(podspec::containers(pod))
}

/// The containers that ended so that all are to start over.
fn sources<'a>(
    pod: &'a Pod,
    observed: &'a PodObservation,
) -> impl Iterator<Item = (&'a Container, &'a Observed)> {
    let ended = |c: &'a Container| {
        let o = observed.container(&c.name).filter(|o| o.state == State::Exited)?;
        restart::restarts_all(c, o.exit_code).then_some((c, o))
    };
    all(pod).filter_map(ended)
}

/// Whether some container's rules may start the pod over.
pub fn is_possible(pod: &Pod) -> bool {
    let mut rules = all(pod).flat_map(|c| c.restart_policy_rules.iter().flatten());
    rules.any(|rule| rule.action == "RestartAllContainers")
}

/// Whether the pod is starting over: from the end of a container until the first one ran anew. `begun`: it was before.
pub fn is_under_way(pod: &Pod, observed: &PodObservation, begun: bool) -> bool {
    let ran = |o: &Observed| o.state >= State::Running && all(pod).any(|c| c.name == o.name);
    is_due(pod, observed) || (begun && !observed.containers.iter().any(ran))
}

/// Whether the end that a container shows is one of before, and it runs again: all are about to be removed, or this one
/// was.
pub fn runs_again(pod: &Pod, observed: &PodObservation, name: &str) -> bool {
    is_due(pod, observed) || (is_possible(pod) && observed.container(name).is_none())
}

/// Whether a container ended for which it is to start over.
pub fn is_due(pod: &Pod, observed: &PodObservation) -> bool {
    sources(pod, observed).next().is_some()
}

/// Takes the next step of starting over. Returns whether the pod is doing so: nothing else is done for it then.
pub(crate) fn plan(round: &mut Round<'_>) -> bool {
    let observed = round.local.observed.clone();
    let sources: Vec<(&Container, &Observed)> = sources(round.pod, &observed).collect();
    if sources.is_empty() || observed.ready_sandbox().is_none() {
        return false;
    }
    for (c, o) in &sources {
        let role = podspec::find_container(round.pod, &c.name).map_or(Role::Regular, |f| f.1);
        // One that is on its way out has done its waiting.
        if !round.local.busy.contains(&o.id) && round.in_crash_backoff(c, role, Some(o)) {
            return true;
        }
    }
    let own = |o: &&Observed| all(round.pod).any(|c| c.name == o.name);
    let alive: Vec<&Observed> = observed.alive().filter(own).collect();
    for o in &alive {
        let (id, name) = (o.id.clone(), o.name.clone());
        round.begin_kill(&Kill { id, name, message: "killing".to_owned(), reason: KillReason::RestartAll });
    }
    round.advance_kills();
    if !alive.is_empty() || !round.local.starting.is_empty() {
        return true;
    }
    let is_source = |o: &&Observed| sources.iter().any(|(_, s)| s.id == o.id);
    let (last, first): (Vec<&Observed>, Vec<&Observed>) =
        observed.containers.iter().filter(own).partition(is_source);
    let turn = if first.is_empty() { last } else { first };
    for o in turn {
        if !round.claim(&o.id) {
            continue;
        }
        if let Some((c, _)) = sources.iter().find(|(_, s)| s.id == o.id) {
            round.local.crash.next(&crash_key(c), finished(o), round.now);
        }
        round.plan.ops.push(Op::RemoveContainer { id: o.id.clone() });
    }
    true
}

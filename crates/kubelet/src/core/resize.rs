//! Changing the CPU and memory of a container while it runs (KEP-1287).

use super::actions::{Kill, KillReason};
use super::machine::Round;
use super::observe::{Observed, State};
use super::ops::{Note, Op};
use super::{podspec, resources};
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The condition of a pod whose new amounts wait for room.
pub const PENDING: &str = "PodResizePending";
/// The condition of a pod that is being given new amounts.
pub const IN_PROGRESS: &str = "PodResizeInProgress";

fn all(pod: &Pod) -> impl Iterator<Item = &Container> {
    podspec::init_containers(pod).iter().chain(podspec::containers(pod))
}

/// Whether containers of the two states of a pod may use different amounts.
pub fn differs(a: &Pod, b: &Pod) -> bool {
    all(a).map(amounts).ne(all(b).map(amounts))
}

/// The pod with the resources that `of` tells of its containers by name.
fn with_resources(pod: &Pod, of: impl Fn(&str) -> Option<ResourceRequirements>) -> Pod {
    let mut out = pod.clone();
    if let Some(spec) = &mut out.spec {
        for c in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
            c.resources = of(&c.name).or_else(|| c.resources.take());
        }
    }
    out
}

/// `wanted` with the amounts that were granted to `granted`: the node has no room for more.
pub fn held_back(wanted: &Pod, granted: &Pod) -> Pod {
    with_resources(wanted, |name| all(granted).find(|c| c.name == name)?.resources.clone())
}

/// The pod as the agent before this one had granted it, which the status tells if new amounts waited then.
pub fn as_granted(pod: &Pod) -> Option<Pod> {
    let status = podspec::status(pod);
    status.conditions.iter().flatten().find(|c| c.type_ == PENDING)?;
    let of = |name: &str| {
        let lists = [&status.container_statuses, &status.init_container_statuses];
        lists.into_iter().flatten().flatten().find(|s| s.name == name)?.resources.clone()
    };
    Some(with_resources(pod, of))
}

/// What events of a change say: all that the pod asks for, and why it waits (`podResourceSummary`).
pub fn summary(pod: &Pod, error: &str) -> String {
    let one = |c: &Container| json!({"name": c.name, "resources": c.resources.clone().unwrap_or_default()});
    let list = |l: &[Container]| Value::Array(l.iter().map(one).collect());
    let mut out = serde_json::Map::new();
    if !podspec::init_containers(pod).is_empty() {
        out.insert("initContainers".to_owned(), list(podspec::init_containers(pod)));
    }
    out.insert("containers".to_owned(), list(podspec::containers(pod)));
    out.insert("generation".to_owned(), pod.metadata.generation.unwrap_or(0).into());
    if !error.is_empty() {
        out.insert("error".to_owned(), error.into());
    }
    Value::Object(out).to_string()
}

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

/// Tells, once, that all containers have what they were to have.
pub(crate) fn tell_end(round: &mut Round<'_>, changing: &BTreeSet<String>) {
    if !changing.is_empty() {
        round.local.was_resizing = true;
        return;
    }
    let up =
        |c: &Container| round.local.observed.container(&c.name).is_some_and(|o| o.state == State::Running);
    if round.local.was_resizing && podspec::containers(round.pod).iter().all(up) {
        round.local.was_resizing = false;
        let message = format!("Pod resize completed: {}", summary(round.pod, ""));
        round.plan.notes.push(Note::normal("ResizeCompleted", message));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(cpu: &str) -> Pod {
        let c = json!({"name": "c", "resources": {"requests": {"cpu": cpu}}});
        serde_json::from_value(json!({"metadata": {"generation": 3}, "spec": {"containers": [c]}})).unwrap()
    }

    #[test]
    fn what_waits_for_room_leaves_the_pod_as_it_was_granted() {
        let (granted, wanted) = (pod("100m"), pod("4"));
        assert!(differs(&granted, &wanted) && !differs(&granted, &pod("0.1")));
        assert!(!differs(&held_back(&wanted, &granted), &granted));
        let mut after = wanted.clone();
        assert_eq!(as_granted(&after), None);
        after.status = serde_json::from_value(json!({
            "conditions": [{"type": PENDING, "status": "True"}],
            "containerStatuses": [{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "resources": {"requests": {"cpu": "100m"}}}]}))
        .unwrap();
        assert!(!differs(&as_granted(&after).unwrap(), &granted));
        assert_eq!(
            summary(&wanted, "no room"),
            r#"{"containers":[{"name":"c","resources":{"requests":{"cpu":"4"}}}],"error":"no room","generation":3}"#
        );
    }
}

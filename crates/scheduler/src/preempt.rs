//! Preemption: which pods of lower priority would have to go for this one to fit
//! (`pkg/scheduler/framework/preemption`).

use crate::decide::{Preemption, filter, histogram};
use crate::node::NodeInfo;
use crate::plugins::{Cycle, Rejection};
use crate::pod::PodInfo;
use api::MetaExt;
use client::Key;
use std::cmp::Reverse;
use std::sync::Arc;

const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

/// What upstream's plugin for devices says first of every pod without resource claims.
const NO_CLAIMS: &str = "no new claims to deallocate";

/// What is told where no node needs to be looked at.
pub(crate) fn not_helpful(nodes: usize) -> String {
    format!("{NO_CLAIMS}, preemption: 0/{nodes} nodes are available: {nodes} {NOT_HELPFUL}.")
}

/// One node with the pods that would have to go.
struct Candidate<'a> {
    node: &'a NodeInfo,
    victims: Vec<Arc<PodInfo>>,
    violations: usize,
}

/// The best node to make room on, and what is told about the search.
pub(crate) fn find(
    cycle: &Cycle<'_>,
    rejected: &[(&NodeInfo, Vec<Rejection>)],
    budget: &dyn Fn(&Key) -> bool,
) -> (Option<Preemption>, String) {
    if cycle.pod.spec().preemption_policy.as_deref() == Some("Never") {
        return (None, format!("{NO_CLAIMS}, preemption: not eligible due to preemptionPolicy=Never."));
    }
    if victims_are_leaving(cycle) {
        return (
            None,
            format!("{NO_CLAIMS}, preemption: not eligible due to a terminating pod on the nominated node."),
        );
    }
    let (mut candidates, mut reasons) = (Vec::new(), Vec::new());
    for (node, why) in rejected {
        if !why.iter().all(|r| r.preemptible) {
            reasons.push(NOT_HELPFUL);
        } else if let Some(candidate) = candidate(cycle, node, budget) {
            candidates.push(candidate);
        } else {
            reasons.push(NO_VICTIMS);
        }
    }
    let (nodes, why) = (rejected.len(), histogram(reasons.into_iter()));
    let told = format!("{NO_CLAIMS}, preemption: 0/{nodes} nodes are available: {why}.");
    let best = candidates.into_iter().min_by_key(rank);
    let found = best.map(|c| Preemption { node: c.node.name.clone(), victims: c.victims });
    let told = if found.is_some() { String::new() } else { told };
    (found, told)
}

/// Whether a pod of lower priority is already on its way out of the node that this one is nominated for.
fn victims_are_leaving(cycle: &Cycle<'_>) -> bool {
    let nominated = cycle.pod.pod.status.as_ref().and_then(|s| s.nominated_node_name.as_deref());
    let Some(node) = nominated.and_then(|n| cycle.snapshot.node(n)) else { return false };
    node.pods.values().any(|p| p.pod.is_deleting() && p.priority() < cycle.pod.priority())
}

/// Fewest violated budgets, lowest highest priority, lowest sum, fewest pods, latest start.
fn rank(c: &Candidate<'_>) -> (usize, i32, i64, usize, Reverse<i64>) {
    let highest = c.victims.iter().map(|v| v.priority()).max().unwrap_or(i32::MIN);
    let sum = c.victims.iter().map(|v| i64::from(v.priority())).sum();
    let top = c.victims.iter().filter(|v| v.priority() == highest);
    let earliest = top.map(|v| v.pod.created()).min().unwrap_or(0);
    (c.violations, highest, sum, c.victims.len(), Reverse(earliest))
}

/// Removes every pod of lower priority; if the pod fits then, puts back as many as it can, the most important first.
fn candidate<'a>(
    cycle: &Cycle<'_>,
    node: &'a NodeInfo,
    budget: &dyn Fn(&Key) -> bool,
) -> Option<Candidate<'a>> {
    let lower = |p: &&Arc<PodInfo>| p.priority() < cycle.pod.priority();
    let mut victims: Vec<Arc<PodInfo>> = node.pods.values().filter(lower).cloned().collect();
    if victims.is_empty() || !fits(cycle, node, &victims) {
        return None;
    }
    // Those whose budget would be violated are put back first, then by importance.
    victims.sort_by_key(|v| (budget(&v.key), Reverse(v.priority()), v.pod.created()));
    let mut gone = victims.clone();
    for victim in &victims {
        let kept: Vec<Arc<PodInfo>> = gone.iter().filter(|g| g.key != victim.key).cloned().collect();
        if fits(cycle, node, &kept) {
            gone = kept;
        }
    }
    let violations = gone.iter().filter(|v| !budget(&v.key)).count();
    (!gone.is_empty()).then_some(Candidate { node, victims: gone, violations })
}

fn fits(cycle: &Cycle<'_>, node: &NodeInfo, gone: &[Arc<PodInfo>]) -> bool {
    let left = node.without(gone);
    // What depends on pods of all nodes is counted anew without those that would go.
    let mut world = cycle.snapshot.clone();
    for pod in gone {
        world.remove_pod(&pod.key);
    }
    filter(&Cycle::new(cycle.pod, &world, cycle.claims), &left).is_ok()
}

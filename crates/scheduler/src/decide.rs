//! The decision: a pure function of what there is.

use crate::node::{NodeInfo, Snapshot};
use crate::plugins::{self, Claim, Cycle, Plugin, Rejection};
use crate::pod::PodInfo;
use crate::preempt;
use client::Key;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is to be done about a pod.
#[derive(Clone, Debug)]
pub enum Decision {
    /// Bind it to this node.
    Bind(String),
    /// It fits nowhere.
    Unschedulable {
        /// For the event and the condition, in upstream's words.
        message: String,
        /// Whom to remove, and from where, so that it fits.
        preemption: Option<Preemption>,
    },
}

/// Pods to remove from a node for the sake of one of higher priority.
#[derive(Clone, Debug)]
pub struct Preemption {
    /// The node that the pod is nominated for.
    pub node: String,
    /// The pods to remove.
    pub victims: Vec<Arc<PodInfo>>,
}

/// Decides about one pod. Every node is asked, and every node that can take the pod is scored.
///
/// `budget` says whether removing a pod is covered by its disruption budget.
pub fn schedule(
    snapshot: &Snapshot,
    pod: &PodInfo,
    claims: &[Claim],
    budget: &dyn Fn(&Key) -> bool,
) -> Decision {
    let cycle = Cycle::new(pod, snapshot, claims);
    let total = snapshot.nodes().count();
    if total == 0 {
        return Decision::Unschedulable {
            message: "no nodes available to schedule pods".into(),
            preemption: None,
        };
    }
    for plugin in plugins::all() {
        if let Err(why) = plugin.pre_filter(&cycle) {
            let message = format!("0/{total} nodes are available: {why}. {}", preempt::not_helpful(total));
            return Decision::Unschedulable { message, preemption: None };
        }
    }
    let (mut fitting, mut rejected) = (Vec::new(), Vec::new());
    let only: Vec<_> =
        plugins::all().iter().filter_map(|p| Some((p.name(), p.only_nodes(&cycle)?))).collect();
    for node in snapshot.nodes() {
        match is_named(&only, node).and_then(|()| filter(&cycle, node)) {
            Ok(()) => fitting.push(node),
            Err(reasons) => rejected.push((node, reasons)),
        }
    }
    if let Some(best) = best(&cycle, &fitting) {
        return Decision::Bind(best.name.clone());
    }
    let why = histogram(rejected.iter().flat_map(|(_, reasons)| reasons.iter().map(|r| r.reason.as_str())));
    let (preemption, told) = preempt::find(&cycle, &rejected, budget);
    Decision::Unschedulable { message: format!("0/{total} nodes are available: {why}. {told}"), preemption }
}

/// Whether the node is among those that the rules name.
fn is_named(only: &[(&str, BTreeSet<&str>)], node: &NodeInfo) -> Result<(), Vec<Rejection>> {
    match only.iter().find(|(_, named)| !named.contains(node.name.as_str())) {
        Some((rule, _)) => {
            Err(vec![Rejection::for_good(&format!("node(s) didn't satisfy plugin(s) [{rule}]"))])
        }
        None => Ok(()),
    }
}

/// Whether a node can take the pod; if not, what the first rule that minds says.
pub(crate) fn filter(cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Vec<Rejection>> {
    plugins::all().iter().try_for_each(|p| p.filter(cycle, node))
}

/// `1 Insufficient cpu, 2 node(s) had untolerated taint(s)`: sorted as text, as upstream does.
pub(crate) fn histogram<'a>(reasons: impl Iterator<Item = &'a str>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_default() += 1;
    }
    let mut texts: Vec<String> = counts.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
    texts.sort();
    texts.join(", ")
}

fn best<'a>(cycle: &Cycle<'_>, nodes: &[&'a NodeInfo]) -> Option<&'a NodeInfo> {
    if let [only] = nodes {
        return Some(only);
    }
    let mut totals = vec![0; nodes.len()];
    for plugin in plugins::all().iter().filter(|p| p.weight() > 0) {
        let scores = scores(*plugin, cycle, nodes);
        for (total, score) in totals.iter_mut().zip(scores) {
            *total += score * plugin.weight();
        }
    }
    let highest = totals.iter().copied().max()?;
    let equals: Vec<&NodeInfo> =
        nodes.iter().zip(&totals).filter(|(_, t)| **t == highest).map(|(n, _)| *n).collect();
    // Equals share the pods; which one gets this pod depends on the pod alone, so a replay decides alike.
    let draw =
        cycle.pod.key.name.bytes().fold(7_usize, |h, b| h.wrapping_mul(31).wrapping_add(usize::from(b)));
    equals.get(draw % equals.len().max(1)).copied()
}

fn scores(plugin: &dyn Plugin, cycle: &Cycle<'_>, nodes: &[&NodeInfo]) -> Vec<i64> {
    let mut scores: Vec<i64> = nodes.iter().map(|n| plugin.score(cycle, n)).collect();
    plugin.normalize(&mut scores);
    scores
}

#[cfg(test)]
mod tests;

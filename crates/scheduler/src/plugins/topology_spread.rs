//! Spreads pods over zones, nodes or any other label (`topologySpreadConstraints`).

use super::{Cycle, MAX_SCORE, Plugin, Rejection};
use crate::node::{NodeInfo, Snapshot};
use crate::pod::PodInfo;
use crate::terms::{label_selector, node_selector_matches, tolerates};
use api::MetaExt;
use api::core::v1::TopologySpreadConstraint;
use meta::selector::{Operator, Requirement, Selector};
use std::collections::HashMap;

/// One constraint with the pods counted.
struct Counted {
    key: String,
    max_skew: i64,
    hard: bool,
    min_domains: i64,
    /// Whether the pod itself is one of those that are counted.
    counts_itself: bool,
    /// Matching pods by the label's value.
    domains: HashMap<String, i64>,
}

#[derive(Default)]
pub(super) struct State {
    constraints: Vec<Counted>,
}

impl State {
    pub(super) fn new(pod: &PodInfo, snapshot: &Snapshot) -> Self {
        let wanted = pod.spec().topology_spread_constraints.iter().flatten();
        Self { constraints: wanted.map(|c| count(c, pod, snapshot)).collect() }
    }
}

fn count(c: &TopologySpreadConstraint, pod: &PodInfo, snapshot: &Snapshot) -> Counted {
    let mut selector = label_selector(c.label_selector.as_ref());
    let keys = c.match_label_keys.iter().flatten().filter_map(|k| Some((k, pod.pod.labels().get(k)?)));
    let mut more: Vec<Requirement> =
        keys.filter_map(|(k, v)| Requirement::new(k, Operator::In, vec![v.clone()]).ok()).collect();
    if !more.is_empty() {
        more.extend(selector.requirements().iter().cloned());
        selector = Selector::from_requirements(more);
    }
    let mut domains: HashMap<String, i64> = HashMap::new();
    for node in snapshot.nodes().filter(|n| counted(c, pod, n)) {
        let Some(value) = node.labels.get(&c.topology_key) else { continue };
        let same = |p: &&std::sync::Arc<PodInfo>| {
            p.key.namespace == pod.key.namespace && !p.pod.is_deleting() && selector.matches(p.pod.labels())
        };
        let here = i64::try_from(node.pods.values().filter(same).count()).unwrap_or(i64::MAX);
        *domains.entry(value.clone()).or_default() += here;
    }
    Counted {
        key: c.topology_key.clone(),
        max_skew: i64::from(c.max_skew),
        hard: c.when_unsatisfiable == "DoNotSchedule",
        min_domains: i64::from(c.min_domains.unwrap_or(1)),
        counts_itself: selector.matches(pod.pod.labels()),
        domains,
    }
}

/// Whether a node's pods count (`nodeAffinityPolicy`, default Honor; `nodeTaintsPolicy`, default Ignore).
fn counted(c: &TopologySpreadConstraint, pod: &PodInfo, node: &NodeInfo) -> bool {
    let spec = pod.spec();
    if c.node_affinity_policy.as_deref() != Some("Ignore") {
        let selected = spec.node_selector.iter().flatten().all(|(k, v)| node.labels.get(k) == Some(v));
        let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
        let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
        if !selected || !required.is_none_or(|s| node_selector_matches(s, &node.name, &node.labels)) {
            return false;
        }
    }
    let hard = |effect: &str| matches!(effect, "NoSchedule" | "NoExecute");
    c.node_taints_policy.as_deref() != Some("Honor")
        || node.taints.iter().filter(|t| hard(&t.effect)).all(|t| tolerates(pod.tolerations(), t))
}

pub(super) struct PodTopologySpread;

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Vec<Rejection>> {
        for c in cycle.spread.constraints.iter().filter(|c| c.hard) {
            let Some(value) = node.labels.get(&c.key) else {
                let reason = "node(s) didn't match pod topology spread constraints (missing required label)";
                return Err(vec![Rejection::for_good(reason)]);
            };
            let domains = i64::try_from(c.domains.len()).unwrap_or(i64::MAX);
            let least =
                if domains < c.min_domains { 0 } else { c.domains.values().copied().min().unwrap_or(0) };
            let here = c.domains.get(value).copied().unwrap_or(0) + i64::from(c.counts_itself);
            if here - least > c.max_skew {
                return Err(vec![Rejection::new("node(s) didn't match pod topology spread constraints")]);
            }
        }
        Ok(())
    }

    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
        let soft = cycle.spread.constraints.iter().filter(|c| !c.hard);
        soft.map(|c| node.labels.get(&c.key).and_then(|v| c.domains.get(v)).copied().unwrap_or(0)).sum()
    }

    fn normalize(&self, scores: &mut [i64]) {
        let (low, high) =
            (scores.iter().copied().min().unwrap_or(0), scores.iter().copied().max().unwrap_or(0));
        for s in scores {
            *s = if high == 0 { MAX_SCORE } else { MAX_SCORE * (high + low - *s) / high };
        }
    }
}

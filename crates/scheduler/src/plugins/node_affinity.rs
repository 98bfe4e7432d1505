//! `nodeSelector` and node affinity.

use super::{Cycle, Plugin, Rejection, by_highest};
use crate::node::NodeInfo;
use crate::terms::{named_nodes, node_selector_matches, node_term_matches};
use api::core::v1::NodeAffinity as Terms;
use std::collections::BTreeSet;

pub(super) struct NodeAffinity;

fn terms<'a>(cycle: &'a Cycle<'_>) -> Option<&'a Terms> {
    cycle.pod.spec().affinity.as_ref()?.node_affinity.as_ref()
}

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn only_nodes<'a>(&self, cycle: &'a Cycle<'_>) -> Option<BTreeSet<&'a str>> {
        named_nodes(terms(cycle)?.required_during_scheduling_ignored_during_execution.as_ref()?)
    }

    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Vec<Rejection>> {
        let mut wanted = cycle.pod.spec().node_selector.iter().flatten();
        let selected = wanted.all(|(k, v)| node.labels.get(k) == Some(v));
        let required =
            terms(cycle).and_then(|t| t.required_during_scheduling_ignored_during_execution.as_ref());
        if selected && required.is_none_or(|s| node_selector_matches(s, &node.name, &node.labels)) {
            return Ok(());
        }
        Err(vec![Rejection::for_good("node(s) didn't match Pod's node affinity/selector")])
    }

    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
        let preferred =
            terms(cycle).and_then(|t| t.preferred_during_scheduling_ignored_during_execution.as_ref());
        let matching = preferred.into_iter().flatten().filter(|p| {
            let t = &p.preference;
            let empty = t.match_expressions.as_ref().is_none_or(Vec::is_empty)
                && t.match_fields.as_ref().is_none_or(Vec::is_empty);
            empty || node_term_matches(t, &node.name, &node.labels)
        });
        matching.map(|p| i64::from(p.weight)).sum()
    }

    fn normalize(&self, scores: &mut [i64]) {
        by_highest(scores, false);
    }
}

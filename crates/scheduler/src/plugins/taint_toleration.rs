//! Taints keep pods away that don't tolerate them; `PreferNoSchedule` only counts against the node.

use super::{Cycle, Plugin, Rejection, by_highest};
use crate::node::NodeInfo;
use crate::terms::tolerates;

pub(super) struct TaintToleration;

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Vec<Rejection>> {
        let mut hard = node.taints.iter().filter(|t| matches!(t.effect.as_str(), "NoSchedule" | "NoExecute"));
        match hard.find(|t| !tolerates(cycle.pod.tolerations(), t)) {
            None => Ok(()),
            Some(_) => Err(vec![Rejection::for_good("node(s) had untolerated taint(s)")]),
        }
    }

    fn weight(&self) -> i64 {
        3
    }

    fn score(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
        let soft = node.taints.iter().filter(|t| t.effect == "PreferNoSchedule");
        i64::try_from(soft.filter(|t| !tolerates(cycle.pod.tolerations(), t)).count()).unwrap_or(i64::MAX)
    }

    fn normalize(&self, scores: &mut [i64]) {
        by_highest(scores, true);
    }
}

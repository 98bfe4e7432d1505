//! The rules: one file each, one line each in [`all`].

use crate::node::{NodeInfo, Snapshot};
use crate::pod::PodInfo;
use std::collections::BTreeSet;

mod balanced_allocation;
mod image_locality;
mod inter_pod_affinity;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_unschedulable;
mod resources_fit;
mod taint_toleration;
mod topology_spread;
mod volume_binding;
mod volume_restrictions;

pub use volume_binding::{Claim, ClaimState, Delayed, volumes_on};

/// The best score of one plugin for one node, before its weight (`framework.MaxNodeScore`).
pub const MAX_SCORE: i64 = 100;

/// Why a node can't take the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Upstream's words.
    pub reason: String,
    /// Whether removing other pods might help.
    pub preemptible: bool,
}

impl Rejection {
    fn new(reason: &str) -> Self {
        Self { reason: reason.to_owned(), preemptible: true }
    }

    pub(crate) fn for_good(reason: &str) -> Self {
        Self { reason: reason.to_owned(), preemptible: false }
    }
}

/// What one decision is about.
pub struct Cycle<'a> {
    /// The pod.
    pub pod: &'a PodInfo,
    /// Everything there is.
    pub snapshot: &'a Snapshot,
    /// The claims that the pod mounts.
    pub claims: &'a [Claim],
    affinity: inter_pod_affinity::State,
    spread: topology_spread::State,
}

impl<'a> Cycle<'a> {
    /// Works out what is the same for all nodes.
    pub fn new(pod: &'a PodInfo, snapshot: &'a Snapshot, claims: &'a [Claim]) -> Self {
        let affinity = inter_pod_affinity::State::new(pod, snapshot);
        let spread = topology_spread::State::new(pod, snapshot);
        Self { pod, snapshot, claims, affinity, spread }
    }
}

/// One rule. What a plugin doesn't say, it doesn't mind.
pub trait Plugin: Sync {
    /// Upstream's name.
    fn name(&self) -> &'static str;

    /// Why the pod can't be scheduled anywhere for now, before any node is looked at.
    fn pre_filter(&self, _cycle: &Cycle<'_>) -> Result<(), String> {
        Ok(())
    }

    /// The only nodes that are worth being asked, if there are few (`PreFilterResult`).
    fn only_nodes<'a>(&self, _cycle: &'a Cycle<'_>) -> Option<BTreeSet<&'a str>> {
        None
    }

    /// Why this node can't take the pod.
    fn filter(&self, _cycle: &Cycle<'_>, _node: &NodeInfo) -> Result<(), Vec<Rejection>> {
        Ok(())
    }

    /// How much its score counts; 0 for a plugin that has none.
    fn weight(&self) -> i64 {
        0
    }

    /// How good this node is, in the plugin's own measure.
    fn score(&self, _cycle: &Cycle<'_>, _node: &NodeInfo) -> i64 {
        0
    }

    /// Brings the scores of all nodes into 0..=[`MAX_SCORE`].
    fn normalize(&self, _scores: &mut [i64]) {}
}

/// All rules, in the order in which a node is asked.
pub fn all() -> &'static [&'static dyn Plugin] {
    &[
        &node_unschedulable::NodeUnschedulable,
        &node_name::NodeName,
        &taint_toleration::TaintToleration,
        &node_affinity::NodeAffinity,
        &node_ports::NodePorts,
        &resources_fit::NodeResourcesFit,
        &volume_restrictions::VolumeRestrictions,
        &volume_binding::VolumeBinding,
        &topology_spread::PodTopologySpread,
        &inter_pod_affinity::InterPodAffinity,
        &balanced_allocation::BalancedAllocation,
        &image_locality::ImageLocality,
    ]
}

/// Stretches scores to 0..=[`MAX_SCORE`] by the highest; `reverse` where more is worse
/// (`helper.DefaultNormalizeScore`).
fn by_highest(scores: &mut [i64], reverse: bool) {
    let highest = scores.iter().copied().max().unwrap_or(0);
    for s in scores {
        let stretched = if highest == 0 { 0 } else { *s * MAX_SCORE / highest };
        *s = if reverse { MAX_SCORE - stretched } else { stretched };
    }
}

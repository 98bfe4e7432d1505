//! Pods that want to be near each other, or apart; what the running pods want counts too.

use super::{Cycle, MAX_SCORE, Plugin, Rejection};
use crate::node::{NodeInfo, Snapshot};
use crate::pod::PodInfo;
use std::collections::{HashMap, HashSet};

/// What it counts that a running pod must be near pods like this one (`hardPodAffinityWeight`).
const REQUIRED_WEIGHT: i64 = 1;

/// A place: a node label and its value.
type Place = (String, String);

/// What is the same for all nodes.
#[derive(Default)]
pub(super) struct State {
    /// For each required term of the pod: the places where a matching pod runs.
    near: Vec<HashSet<Place>>,
    /// Places where a pod runs that this one must not be near.
    apart: HashSet<Place>,
    /// Places that a running pod keeps this one out of.
    kept_out: HashSet<Place>,
    /// No pod anywhere matches the required terms, but this pod itself does: the first of its group.
    first: bool,
    /// What each place counts.
    preference: HashMap<Place, i64>,
}

impl State {
    pub(super) fn new(pod: &PodInfo, snapshot: &Snapshot) -> Self {
        let own = &pod.affinity;
        let mut state = Self { near: vec![HashSet::new(); own.near.len()], ..Self::default() };
        let wants_nothing = own.near.is_empty() && own.apart.is_empty() && own.preferred.is_empty();
        if wants_nothing && !snapshot.any_affinity() {
            return state;
        }
        for node in snapshot.nodes() {
            for other in node.pods.values() {
                state.see(pod, other, node, snapshot);
            }
        }
        let itself = |t: &crate::terms::PodTerm| matches(t, pod, snapshot);
        state.first = state.near.iter().all(HashSet::is_empty) && own.near.iter().all(itself);
        state
    }

    fn see(&mut self, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, snapshot: &Snapshot) {
        let own = &pod.affinity;
        let place = |key: &String| node.labels.get(key).map(|v| (key.clone(), v.clone()));
        // A pod is near only where it matches every required term (upstream's rule).
        if !own.near.is_empty() && own.near.iter().all(|t| matches(t, other, snapshot)) {
            for (term, places) in own.near.iter().zip(&mut self.near) {
                places.extend(place(&term.topology_key));
            }
        }
        let apart = own.apart.iter().filter(|t| matches(t, other, snapshot));
        self.apart.extend(apart.filter_map(|t| place(&t.topology_key)));
        let kept_out = other.affinity.apart.iter().filter(|t| matches(t, pod, snapshot));
        self.kept_out.extend(kept_out.filter_map(|t| place(&t.topology_key)));
        let mine = own.preferred.iter().filter(|t| matches(t, other, snapshot));
        let theirs = other.affinity.preferred.iter().filter(|t| matches(t, pod, snapshot));
        let required = other.affinity.near.iter().filter(|t| matches(t, pod, snapshot));
        let required = required.map(|t| (t, REQUIRED_WEIGHT));
        for (term, weight) in mine.chain(theirs).map(|t| (t, t.weight)).chain(required) {
            if let Some(p) = place(&term.topology_key) {
                *self.preference.entry(p).or_default() += weight;
            }
        }
    }
}

fn matches(term: &crate::terms::PodTerm, pod: &PodInfo, snapshot: &Snapshot) -> bool {
    use api::MetaExt;
    term.matches(&pod.key.namespace, pod.pod.labels(), &|n| snapshot.namespace_labels(n))
}

pub(super) struct InterPodAffinity;

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn filter(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), Vec<Rejection>> {
        let state = &cycle.affinity;
        let at = |key: &str| node.labels.get(key).map(|v| (key.to_owned(), v.clone()));
        let near = cycle.pod.affinity.near.iter().zip(&state.near);
        let satisfied = |(term, places): (&crate::terms::PodTerm, &HashSet<Place>)| {
            at(&term.topology_key).is_some_and(|p| state.first || places.contains(&p))
        };
        if !near.into_iter().all(satisfied) {
            return Err(vec![Rejection::for_good("node(s) didn't match pod affinity rules")]);
        }
        let here = |places: &HashSet<Place>| places.iter().any(|(k, v)| node.labels.get(k) == Some(v));
        if here(&state.apart) {
            return Err(vec![Rejection::new("node(s) didn't match pod anti-affinity rules")]);
        }
        if here(&state.kept_out) {
            return Err(vec![Rejection::new("node(s) didn't satisfy existing pods anti-affinity rules")]);
        }
        Ok(())
    }

    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
        let here = cycle.affinity.preference.iter().filter(|((k, v), _)| node.labels.get(k) == Some(v));
        here.map(|(_, weight)| weight).sum()
    }

    fn normalize(&self, scores: &mut [i64]) {
        let (low, high) =
            (scores.iter().copied().min().unwrap_or(0), scores.iter().copied().max().unwrap_or(0));
        for s in scores {
            *s = if high == low { 0 } else { MAX_SCORE * (*s - low) / (high - low) };
        }
    }
}

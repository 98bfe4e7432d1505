//! Keeps one pod on every node that is eligible (`pkg/controller/daemon`).

mod pod;
mod rolling;
mod status;

use crate::history::{History, Revisions, history};
use crate::ownership::claim;
use crate::placement::{admits, tolerates_node};
use crate::pods;
use crate::replicaset::{create_pod, delete_pod};
use crate::selectors::{owning_selector, selector};
use api::apps::v1::{ControllerRevision, DaemonSet};
use api::core::v1::{Node, Pod};
use api::{MetaExt, names};
use client::{Key, View};
use reconcile::controller::owner_key;
use reconcile::{Controller, Cx, EventNote, Memory, Plan, Watch, Write};
use std::collections::BTreeMap;
use std::time::Duration;
use stdx::Backoff;

/// Pods that one plan creates or deletes at the most (`BurstReplicas`).
const BURST: usize = 250;

/// How long a failed pod stays after the one before it on that node: one that fails at once must not be made again
/// without end.
const FAILED_PAUSE: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(15 * 60));

/// The controller.
pub(crate) struct DaemonSets;

impl Controller for DaemonSets {
    fn name(&self) -> &'static str {
        "daemonset-controller"
    }

    fn account(&self) -> &'static str {
        "daemon-set-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![
            Watch::own::<DaemonSet>(),
            Watch::each::<Pod>(keys_of_pod),
            Watch { kind: <Node as api::Kind>::INFO, map: Box::new(keys_of_node) },
            Watch::owned::<ControllerRevision, DaemonSet>(),
        ]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        match cx.view.at::<DaemonSet>(cx.key) {
            Some(set) => plan(cx, set),
            None => Plan { memory: Some(Memory::new()), ..Plan::default() },
        }
    }
}

fn keys_of_pod(view: View<'_>, pod: &Pod, keys: &mut Vec<Key>) {
    if pod.controller().is_some() {
        keys.extend(owner_key::<Pod, DaemonSet>(pod));
        return;
    }
    let matching = |s: &&DaemonSet| owning_selector(&s.spec.selector).matches(pod.labels());
    keys.extend(view.list::<DaemonSet>(pod.namespace()).filter(matching).map(|s| Key::of(s)));
}

/// Heartbeats of nodes concern nobody; a node that comes, goes or changes its labels or taints, all.
fn keys_of_node(view: View<'_>, change: &client::Change, keys: &mut Vec<Key>) {
    let node = |o: &Option<std::sync::Arc<dyn api::Stored>>| {
        let node = o.as_ref()?.as_any().downcast_ref::<Node>()?;
        let taints = node.spec.as_ref().and_then(|s| s.taints.clone());
        Some((node.labels().clone(), taints))
    };
    if node(&change.old) != node(&change.new) {
        keys.extend(view.all::<DaemonSet>().map(|set| Key::of(set)));
    }
}

fn plan(cx: &Cx<'_>, set: &DaemonSet) -> Plan {
    let matcher = owning_selector(&set.spec.selector);
    if selector(&set.spec.selector).is_empty() {
        let message = "This daemon set is selecting all pods. A non-empty selector is required.";
        let events = vec![EventNote::warning(set, "SelectingAll", message)];
        return Plan { events, ..Plan::default() };
    }
    let own = cx.view.controlled_by::<Pod>(set.uid());
    let orphans = cx.view.list::<Pod>(set.namespace()).filter(|p| p.controller().is_none());
    let claimed = claim(set, &matcher, own.chain(orphans));
    if !claimed.writes.is_empty() {
        return Plan { writes: claimed.writes, ..Plan::default() };
    }
    if set.is_deleting() {
        return Plan::done();
    }
    let collisions = set.status.as_ref().and_then(|s| s.collision_count);
    let label = names::LABEL_CONTROLLER_REVISION_HASH;
    let revisions = match history(cx.view, set, &set.spec.template, &matcher, collisions, label) {
        History::Known(revisions) => revisions,
        History::Write(writes) => return Plan { writes, ..Plan::default() },
        History::Collision => return bump_collisions(set),
    };
    Round::new(cx, set, &revisions, claimed.owned).finish(&revisions)
}

fn bump_collisions(set: &DaemonSet) -> Plan {
    let mut set = set.clone();
    let status = set.status.get_or_insert_default();
    status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
    Plan::one(Write::update_status(&set))
}

/// What a node is to a set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Eligible {
    /// It shall have a pod.
    Yes,
    /// It may keep a pod that is there.
    Keeps,
    /// It shall have none.
    No,
}

/// One look at one set.
struct Round<'a> {
    cx: &'a Cx<'a>,
    set: &'a DaemonSet,
    /// The hash that pods of the newest template bear.
    hash: &'a str,
    /// What each node is, and its pods of this set, the oldest first.
    nodes: BTreeMap<&'a str, (Eligible, Vec<&'a Pod>)>,
    creations: Vec<Write>,
    deletions: Vec<Write>,
    events: Vec<EventNote>,
    /// When a failed pod may be replaced.
    due: Option<Duration>,
    /// Failures by node.
    memory: Memory,
}

impl<'a> Round<'a> {
    fn new(cx: &'a Cx<'a>, set: &'a DaemonSet, revisions: &Revisions<'a>, owned: Vec<&'a Pod>) -> Self {
        let hash = revisions.newest.label(names::LABEL_CONTROLLER_REVISION_HASH).unwrap_or_default();
        let spec = pod::spec(set, "");
        let eligible = |node: &Node| {
            let admitted = admits(&spec, node);
            match (admitted, tolerates_node(&spec, node, &["NoSchedule", "NoExecute"])) {
                (true, true) => Eligible::Yes,
                (true, false) if tolerates_node(&spec, node, &["NoExecute"]) => Eligible::Keeps,
                _ => Eligible::No,
            }
        };
        let all = cx.view.all::<Node>();
        let mut nodes: BTreeMap<_, _> = all.map(|n| (n.name(), (eligible(n), Vec::new()))).collect();
        for pod in owned {
            // Pods of nodes that are gone are the pod collector's.
            if let Some((_, pods)) = nodes.get_mut(pod::target(pod)) {
                pods.push(pod);
            }
        }
        for (_, pods) in nodes.values_mut() {
            pods.sort_by_key(|p| (pods::node(p).is_empty(), p.created(), p.name().to_owned()));
        }
        let (creations, deletions, events, due) = Default::default();
        Self { cx, set, hash, nodes, creations, deletions, events, due, memory: cx.memory.clone() }
    }

    fn is_new(&self, pod: &Pod) -> bool {
        pod.label(names::LABEL_CONTROLLER_REVISION_HASH) == Some(self.hash)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        let min_ready = self.set.spec.min_ready_seconds.unwrap_or(0);
        !pod.is_deleting() && pods::is_available(pod, min_ready, self.cx.now)
    }

    fn finish(mut self, revisions: &Revisions<'a>) -> Plan {
        self.manage();
        if self.creations.is_empty() && self.deletions.is_empty() {
            self.roll();
        }
        let mut plan = Plan { events: std::mem::take(&mut self.events), ..Plan::default() };
        let status = self.status();
        if self.set.status.as_ref() != Some(&status) {
            let (metadata, spec) = (self.set.metadata.clone(), self.set.spec.clone());
            plan.writes.push(Write::update_status(&DaemonSet { metadata, spec, status: Some(status) }));
        }
        plan.writes.extend(self.creations.drain(..).take(BURST));
        plan.writes.extend(self.deletions.drain(..).take(BURST));
        let bears = |p: &Pod, r: &ControllerRevision| {
            let key = names::LABEL_CONTROLLER_REVISION_HASH;
            p.label(key).is_some() && p.label(key) == r.label(key)
        };
        let pods: Vec<&Pod> = self.nodes.values().flat_map(|(_, pods)| pods.iter().copied()).collect();
        let uses =
            |r: &ControllerRevision| r.name() == revisions.newest.name() || pods.iter().any(|p| bears(p, r));
        plan.writes.extend(revisions.surplus(self.set.spec.revision_history_limit, uses));
        let min_ready = self.set.spec.min_ready_seconds.unwrap_or(0);
        let wait = pods::next_available(pods.iter().copied(), min_ready, self.cx.now);
        plan.requeue_after = wait.map(|d| d + Duration::from_secs(1));
        self.due.into_iter().for_each(|due| plan.requeue(due));
        plan.memory = (self.memory != *self.cx.memory).then_some(self.memory);
        plan
    }

    /// One living pod on each eligible node, none elsewhere.
    fn manage(&mut self) {
        let nodes: Vec<_> = self.nodes.iter().map(|(n, (e, p))| (*n, *e, p.clone())).collect();
        for (node, eligible, pods) in nodes {
            match eligible {
                Eligible::Yes if pods.is_empty() => self.create(node),
                Eligible::Yes | Eligible::Keeps => self.thin_out(node, &pods),
                Eligible::No => pods.iter().filter(|p| !p.is_deleting()).for_each(|p| self.delete(p)),
            }
        }
    }

    fn create(&mut self, node: &str) {
        let pod = pod::pod(self.set, node, self.hash);
        self.creations.push(create_pod(self.set, &pod));
    }

    fn delete(&mut self, pod: &Pod) {
        self.deletions.push(delete_pod(self.set, pod));
    }

    /// Whether failures on the node are to be let rest; if not, this is one more.
    fn is_pausing(&mut self, node: &str) -> bool {
        let name = format!("{}/{node}", self.hash);
        let left = self.memory.pause(&name, self.cx.now, &FAILED_PAUSE);
        match left {
            Some(left) => self.due = Some(left.min(self.due.unwrap_or(left))),
            None => self.memory.failed(&name, self.cx.now, &FAILED_PAUSE),
        }
        left.is_some()
    }

    /// Of several pods of the same revision the oldest stays; pods that have ended go.
    fn thin_out(&mut self, node: &str, pods: &[&'a Pod]) {
        let (mut old, mut new) = (Vec::new(), Vec::new());
        for pod in pods.iter().filter(|p| !p.is_deleting()) {
            let (namespace, name) = (pod.namespace(), pod.name());
            match pods::phase(pod) {
                "Failed" if self.is_pausing(node) => {}
                "Failed" => {
                    let text = format!(
                        "Found failed daemon pod {namespace}/{name} on node {node}, will try to kill it"
                    );
                    self.events.push(EventNote::warning(self.set, "FailedDaemonPod", text));
                    self.delete(pod);
                }
                "Succeeded" => {
                    let text = format!(
                        "Found succeeded daemon pod {namespace}/{name} on node {node}, will try to delete it"
                    );
                    self.events.push(EventNote::normal(self.set, "SucceededDaemonPod", text));
                    self.delete(pod);
                }
                _ if self.is_new(pod) => new.push(*pod),
                _ => old.push(*pod),
            }
        }
        for extra in old.iter().skip(1).chain(new.iter().skip(1)) {
            self.delete(extra);
        }
        // An old and a new one may be side by side only as long as a surge is under way.
        if self.limits().0 == 0 && !new.is_empty() {
            old.iter().take(1).for_each(|p| self.delete(p));
        }
    }
}

#[cfg(test)]
mod tests;

//! Keeps numbered pods with names and volumes of their own (`pkg/controller/statefulset`).

mod identity;
mod status;

use crate::deployment::scaled;
use crate::history::{HASH, History, Revisions, history, template_of};
use crate::ownership::claim;
use crate::pods;
use crate::selectors::owning_selector;
use api::apps::v1::{ControllerRevision, StatefulSet};
use api::core::v1::{PersistentVolumeClaim, Pod};
use api::{MetaExt, names};
use client::{Key, View};
use jiff::Timestamp;
use reconcile::controller::owner_key;
use reconcile::{Controller, Cx, EventNote, Plan, Watch, Write};
use std::collections::BTreeMap;
use std::time::Duration;

/// The controller.
pub(crate) struct StatefulSets;

impl Controller for StatefulSets {
    fn name(&self) -> &'static str {
        "statefulset-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![
            Watch::own::<StatefulSet>(),
            Watch::each::<Pod>(keys_of_pod),
            Watch::each::<PersistentVolumeClaim>(keys_of_claim),
            Watch::owned::<ControllerRevision, StatefulSet>(),
        ]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        match cx.view.at::<StatefulSet>(cx.key) {
            Some(set) => plan(cx, set),
            None => Plan::done(),
        }
    }
}

fn keys_of_pod(view: View<'_>, pod: &Pod, keys: &mut Vec<Key>) {
    if pod.controller().is_some() {
        keys.extend(owner_key::<Pod, StatefulSet>(pod));
        return;
    }
    let matching = |s: &&StatefulSet| owning_selector(&s.spec.selector).matches(pod.labels());
    keys.extend(view.list::<StatefulSet>(pod.namespace()).filter(matching).map(|s| Key::of(s)));
}

/// A claim that goes may be one that a pod waits to have anew.
fn keys_of_claim(view: View<'_>, claim: &PersistentVolumeClaim, keys: &mut Vec<Key>) {
    if !claim.is_deleting() {
        return;
    }
    let has_claims = |s: &&StatefulSet| s.spec.volume_claim_templates.as_ref().is_some_and(|t| !t.is_empty());
    keys.extend(view.list::<StatefulSet>(claim.namespace()).filter(has_claims).map(|s| Key::of(s)));
}

fn plan(cx: &Cx<'_>, set: &StatefulSet) -> Plan {
    let selector = owning_selector(&set.spec.selector);
    let own = cx.view.controlled_by::<Pod>(set.uid());
    let orphans = cx.view.list::<Pod>(set.namespace()).filter(|p| p.controller().is_none());
    // Only pods with a name of ours can be ours.
    let named = own.chain(orphans).filter(|p| identity::ordinal(set, p).is_some());
    let claimed = claim(set, &selector, named);
    if !claimed.writes.is_empty() {
        return Plan { writes: claimed.writes, ..Plan::default() };
    }
    let collisions = set.status.as_ref().and_then(|s| s.collision_count).filter(|n| *n > 0);
    let revisions = match history(cx.view, set, &set.spec.template, &selector, collisions, HASH) {
        History::Known(revisions) => revisions,
        History::Write(_) | History::Collision if set.is_deleting() => return Plan::done(),
        History::Write(writes) => return Plan { writes, ..Plan::default() },
        History::Collision => return bump_collisions(set),
    };
    Round::new(cx, set, &revisions, claimed.owned).finish(&revisions)
}

fn bump_collisions(set: &StatefulSet) -> Plan {
    let mut set = set.clone();
    let status = set.status.get_or_insert_default();
    status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
    Plan::one(Write::update_status(&set))
}

/// One look at one set.
struct Round<'a> {
    cx: &'a Cx<'a>,
    set: &'a StatefulSet,
    /// The revision that the set comes from, and the one that it goes to.
    current: &'a ControllerRevision,
    update: &'a ControllerRevision,
    /// Its pods by ordinal: those that it shall have.
    replicas: BTreeMap<i32, &'a Pod>,
    /// And those that it shall not, the highest ordinal first.
    condemned: Vec<(i32, &'a Pod)>,
    writes: Vec<Write>,
}

/// Whether to go on with the next pod or to wait for this one.
#[derive(PartialEq, Eq)]
enum Next {
    Go,
    Wait,
}

impl<'a> Round<'a> {
    fn new(cx: &'a Cx<'a>, set: &'a StatefulSet, revisions: &Revisions<'a>, owned: Vec<&'a Pod>) -> Self {
        let update = revisions.newest;
        let named = set.status.as_ref().and_then(|s| s.current_revision.as_deref());
        let current = named.and_then(|name| revisions.named(name)).unwrap_or(update);
        let (mut replicas, mut condemned) = (BTreeMap::new(), Vec::new());
        for pod in owned {
            let Some(ordinal) = identity::ordinal(set, pod) else { continue };
            if range(set).contains(&ordinal) {
                replicas.insert(ordinal, pod);
            } else {
                condemned.push((ordinal, pod));
            }
        }
        condemned.sort_by_key(|(ordinal, _)| -ordinal);
        Self { cx, set, current, update, replicas, condemned, writes: Vec::new() }
    }

    fn finish(mut self, revisions: &Revisions<'a>) -> Plan {
        if !self.set.is_deleting() && self.scale() == Next::Go {
            self.roll();
        }
        let mut plan = Plan::default();
        let status = self.status();
        if self.set.status.as_ref() != Some(&status) {
            let (metadata, spec) = (self.set.metadata.clone(), self.set.spec.clone());
            plan.writes.push(Write::update_status(&StatefulSet { metadata, spec, status: Some(status) }));
        }
        plan.writes.append(&mut self.writes);
        plan.writes.extend(revisions.surplus(self.set.spec.revision_history_limit, |r| self.uses(r)));
        let wait = pods::next_available(self.replicas.values().copied(), self.min_ready(), self.cx.now);
        plan.requeue_after = wait.map(|d| d + Duration::from_secs(1));
        plan
    }

    fn uses(&self, revision: &ControllerRevision) -> bool {
        let pods = self.replicas.values().copied().chain(self.condemned.iter().map(|(_, p)| *p));
        let used = pods.filter_map(identity::revision).any(|name| name == revision.name());
        used || revision.name() == self.current.name() || revision.name() == self.update.name()
    }

    fn min_ready(&self) -> i32 {
        self.set.spec.min_ready_seconds.unwrap_or(0)
    }

    /// Whether one pod comes after the other.
    fn is_ordered(&self) -> bool {
        self.set.spec.pod_management_policy.as_deref() != Some("Parallel")
    }

    fn is_healthy(&self, pod: &Pod) -> bool {
        is_healthy(pod, self.min_ready(), self.cx.now)
    }

    /// Brings up what is missing, then takes down what is too much.
    fn scale(&mut self) -> Next {
        for ordinal in range(self.set) {
            if self.replica(ordinal) == Next::Wait && self.is_ordered() {
                return Next::Wait;
            }
        }
        for (ordinal, pod) in self.condemned.clone() {
            self.writes.extend(identity::retain_claims(self.cx.view, self.set, ordinal, pod, true));
        }
        for (_, pod) in self.condemned.clone() {
            if self.condemn(pod) == Next::Wait && self.is_ordered() {
                return Next::Wait;
            }
        }
        if self.writes.is_empty() { Next::Go } else { Next::Wait }
    }

    fn replica(&mut self, ordinal: i32) -> Next {
        let Some(pod) = self.replicas.get(&ordinal).copied() else {
            self.create(ordinal);
            return Next::Wait;
        };
        if pods::is_terminal(pod) {
            if !pod.is_deleting() {
                self.delete(pod);
            }
            return Next::Wait;
        }
        if pods::phase(pod) == "Pending" {
            self.create_claims(ordinal, pod.name());
        }
        if !self.is_healthy(pod) && self.is_ordered() {
            return Next::Wait;
        }
        self.writes.extend(identity::repair(self.set, ordinal, pod));
        self.writes.extend(identity::retain_claims(self.cx.view, self.set, ordinal, pod, false));
        Next::Go
    }

    fn create(&mut self, ordinal: i32) {
        let revision = if self.starts_at_current(ordinal) { self.current } else { self.update };
        let template = template_of(revision).unwrap_or_else(|| self.set.spec.template.clone());
        let pod = identity::pod(self.set, &template, revision.name(), ordinal);
        if identity::has_stale_claim(self.cx.view, self.set, ordinal) {
            return;
        }
        self.create_claims(ordinal, pod.name());
        let (name, set) = (pod.name().to_owned(), self.set);
        let message = |end: &str| format!("Create Pod {name} in StatefulSet {} {end}", set.name());
        let write = Write::create(&pod)
            .ok(EventNote::normal(set, "SuccessfulCreate", message("successful")))
            .or(EventNote::warning(set, "FailedCreate", message("failed error: {}")));
        self.writes.push(write);
    }

    fn create_claims(&mut self, ordinal: i32, pod: &str) {
        for claim in identity::missing_claims(self.cx.view, self.set, ordinal) {
            let what = format!("Create Claim {} Pod {pod} in StatefulSet {}", claim.name(), self.set.name());
            let write = Write::create(&claim)
                .ok(EventNote::normal(self.set, "SuccessfulCreate", format!("{what} success")))
                .or(EventNote::warning(self.set, "FailedCreate", format!("{what} failed error: {{}}")));
            self.writes.push(write);
        }
    }

    fn delete(&mut self, pod: &Pod) {
        let (name, set) = (pod.name(), self.set);
        let message = |end: &str| format!("Delete Pod {name} in StatefulSet {} {end}", set.name());
        let write = Write::delete(pod)
            .ok(EventNote::normal(set, "SuccessfulDelete", message("successful")))
            .or(EventNote::warning(set, "FailedDelete", message("failed error: {}")));
        self.writes.push(write);
    }

    /// Whether a pod made now is still of the old revision: below the partition, or in the part of a rollout
    /// that hasn't come yet.
    fn starts_at_current(&self, ordinal: i32) -> bool {
        let strategy = self.set.spec.update_strategy.as_ref();
        let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
        let start = *range(self.set).start();
        match rolling {
            Some(rolling) => ordinal < start + rolling.partition.unwrap_or(0),
            None if strategy.and_then(|s| s.type_.as_deref()) == Some("OnDelete") => false,
            None => {
                let current = self.set.status.as_ref().and_then(|s| s.current_replicas).unwrap_or(0);
                ordinal < start + current
            }
        }
    }

    fn condemn(&mut self, pod: &Pod) -> Next {
        if pod.is_deleting() {
            return Next::Wait;
        }
        if self.is_ordered() && !self.is_healthy(pod) && self.first_unhealthy() != Some(pod.uid()) {
            return Next::Wait;
        }
        self.delete(pod);
        Next::Wait
    }

    fn first_unhealthy(&self) -> Option<&'a str> {
        let replicas = self.replicas.values().copied();
        let condemned = self.condemned.iter().rev().map(|(_, p)| *p);
        replicas.chain(condemned).find(|p| !self.is_healthy(p)).map(|p| p.uid())
    }

    /// Deletes pods of older revisions, the highest ordinal first.
    fn roll(&mut self) {
        let strategy = self.set.spec.update_strategy.as_ref();
        if strategy.and_then(|s| s.type_.as_deref()) == Some("OnDelete") {
            return;
        }
        let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
        let from = *range(self.set).start() + rolling.and_then(|r| r.partition).unwrap_or(0);
        let outdated: Vec<&Pod> = self.replicas.range(from..).rev().map(|(_, p)| *p).collect();
        match rolling.and_then(|r| r.max_unavailable.as_ref()) {
            None => self.roll_one(&outdated),
            Some(most) => {
                let total = self.set.spec.replicas.unwrap_or(1);
                self.roll_some(&outdated, scaled(Some(most), total, true).max(1));
            }
        }
    }

    /// One after the other: a pod of an older revision goes, however it is, once all above it are well.
    fn roll_one(&mut self, pods: &[&Pod]) {
        for pod in pods {
            if self.is_outdated(pod) {
                return self.delete(pod);
            }
            if !self.is_healthy(pod) {
                return;
            }
        }
    }

    /// As many at once as may be unavailable.
    fn roll_some(&mut self, pods: &[&Pod], most: i32) {
        let unhealthy = self.replicas.values().filter(|p| !self.is_healthy(p)).count();
        let room = usize::try_from(most).unwrap_or(1).saturating_sub(unhealthy);
        let outdated: Vec<&Pod> = pods.iter().copied().filter(|p| self.is_outdated(p)).collect();
        outdated.into_iter().take(room).for_each(|pod| self.delete(pod));
    }

    fn is_outdated(&self, pod: &Pod) -> bool {
        identity::revision(pod) != Some(self.update.name()) && !pod.is_deleting()
    }
}

/// The ordinals that the set shall have.
fn range(set: &StatefulSet) -> std::ops::RangeInclusive<i32> {
    let start = set.spec.ordinals.as_ref().and_then(|o| o.start).unwrap_or(0);
    start..=start + set.spec.replicas.unwrap_or(1) - 1
}

fn is_healthy(pod: &Pod, min_ready: i32, now: Timestamp) -> bool {
    pods::phase(pod) == "Running" && pods::is_available(pod, min_ready, now) && !pod.is_deleting()
}

/// The label by which pods tell their revision.
const REVISION: &str = names::LABEL_CONTROLLER_REVISION_HASH;

#[cfg(test)]
mod tests;

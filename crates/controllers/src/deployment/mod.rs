//! Rolls a Deployment out over ReplicaSets (`pkg/controller/deployment`).

mod conditions;
mod revision;
mod scale;
mod status;

use crate::ownership::claim;
use crate::selectors::owning_selector;
use crate::templates;
use api::apps::v1::{Deployment, ReplicaSet};
use api::core::v1::Pod;
use api::{IntOrString, MetaExt, names};
use client::{Key, View};
use reconcile::controller::owner_key;
use reconcile::{Controller, Cx, EventNote, Plan, Watch, Write};

/// The controller.
pub(crate) struct Deployments;

impl Controller for Deployments {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![
            Watch::own::<Deployment>(),
            Watch::each::<ReplicaSet>(keys_of_set),
            Watch::each::<Pod>(keys_of_pod),
        ]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        match cx.view.at::<Deployment>(cx.key) {
            Some(d) => plan(cx, d),
            None => Plan::done(),
        }
    }
}

fn keys_of_set(view: View<'_>, rs: &ReplicaSet, keys: &mut Vec<Key>) {
    if rs.controller().is_some() {
        keys.extend(owner_key::<ReplicaSet, Deployment>(rs));
        return;
    }
    let matching = |d: &&Deployment| owning_selector(&d.spec.selector).matches(rs.labels());
    keys.extend(view.list::<Deployment>(rs.namespace()).filter(matching).map(|d| Key::of(d)));
}

/// A pod matters only to a Deployment that waits for its old pods to be gone.
fn keys_of_pod(view: View<'_>, pod: &Pod, keys: &mut Vec<Key>) {
    let Some(set) = owner_key::<Pod, ReplicaSet>(pod) else { return };
    let Some(owner) = view.at::<ReplicaSet>(&set).and_then(owner_key::<ReplicaSet, Deployment>) else {
        return;
    };
    if view.at::<Deployment>(&owner).is_some_and(|d| !is_rolling(d)) {
        keys.push(owner);
    }
}

/// A ReplicaSet being worked on.
#[derive(Clone)]
struct Set {
    rs: ReplicaSet,
    /// What it was scaled from, if it is being scaled.
    scaled_from: Option<i32>,
    /// Whether it is to be written.
    dirty: bool,
}

impl Set {
    fn replicas(&self) -> i32 {
        self.rs.spec.replicas.unwrap_or(1)
    }

    fn status(&self) -> api::apps::v1::ReplicaSetStatus {
        self.rs.status.clone().unwrap_or_default()
    }

    fn available(&self) -> i32 {
        self.rs.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0)
    }
}

/// One look at one Deployment: its sets as they are and as they shall be.
struct Rollout<'a> {
    cx: &'a Cx<'a>,
    /// The Deployment, with the conditions that it shall have.
    d: Deployment,
    new: Option<Set>,
    /// By creation, the oldest first.
    old: Vec<Set>,
    /// Whether `new` does not exist yet.
    creating: bool,
    /// Sets to be deleted.
    deletions: Vec<Write>,
}

fn plan(cx: &Cx<'_>, d: &Deployment) -> Plan {
    let selector = owning_selector(&d.spec.selector);
    if crate::selectors::selector(&d.spec.selector).is_empty() {
        return selects_all(d);
    }
    let own = cx.view.controlled_by::<ReplicaSet>(d.uid());
    let orphans = cx.view.list::<ReplicaSet>(d.namespace()).filter(|rs| rs.controller().is_none());
    let claimed = claim(d, &selector, own.chain(orphans));
    if !claimed.writes.is_empty() {
        // The rest follows when the cache shows who owns what.
        return Plan { writes: claimed.writes, ..Plan::default() };
    }
    let mut rollout = Rollout::new(cx, d, claimed.owned);
    if d.is_deleting() {
        return rollout.finish(d, false);
    }
    rollout.note_pause();
    if d.spec.paused == Some(true) || rollout.is_scaling_event() {
        rollout.sync_revision();
        rollout.scale_proportionally();
        if d.spec.paused == Some(true) {
            rollout.clean_up();
        }
        return rollout.finish(d, false);
    }
    let collided = if is_rolling(d) { rollout.roll() } else { rollout.recreate() };
    match collided {
        Ok(()) => rollout.finish(d, true),
        Err(Collision) => bump_collisions(d),
    }
}

/// The name for the new set is taken by one with another template.
struct Collision;

fn bump_collisions(d: &Deployment) -> Plan {
    let mut d = d.clone();
    let status = d.status.get_or_insert_default();
    status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
    Plan::one(Write::update_status(&d))
}

fn selects_all(d: &Deployment) -> Plan {
    let mut plan = Plan::default();
    let message = "This deployment is selecting all pods. A non-empty selector is required.";
    let observed = d.status.as_ref().and_then(|s| s.observed_generation).unwrap_or(0);
    if observed < d.generation() {
        plan.events.push(EventNote::warning(d, "SelectingAll", message));
        let mut d = d.clone();
        d.status.get_or_insert_default().observed_generation = Some(d.generation());
        plan.writes.push(Write::update_status(&d));
    }
    plan
}

impl<'a> Rollout<'a> {
    fn new(cx: &'a Cx<'a>, d: &Deployment, mut owned: Vec<&ReplicaSet>) -> Self {
        owned.sort_by_key(|rs| (rs.created(), rs.name().to_owned()));
        let is_new = |rs: &&ReplicaSet| {
            rs.spec.template.as_ref().is_some_and(|t| templates::same(t, &d.spec.template))
        };
        let new_name = owned.iter().copied().find(|rs| is_new(rs)).map(|rs| rs.name().to_owned());
        let set = |rs: &ReplicaSet| Set { rs: rs.clone(), scaled_from: None, dirty: false };
        let (mut new, mut old) = (None, Vec::new());
        for rs in owned {
            if Some(rs.name()) == new_name.as_deref() {
                new = Some(set(rs));
            } else {
                old.push(set(rs));
            }
        }
        Self { cx, d: d.clone(), new, old, creating: false, deletions: Vec::new() }
    }

    /// What the Deployment asks for.
    fn wanted(&self) -> i32 {
        self.d.spec.replicas.unwrap_or(1)
    }

    fn all(&self) -> impl Iterator<Item = &Set> {
        self.old.iter().chain(self.new.as_ref())
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Set> {
        self.old.iter_mut().chain(self.new.as_mut())
    }

    fn total(&self) -> i32 {
        self.all().map(Set::replicas).sum()
    }

    /// The writes that make it so: sets first, then the status, then the revision.
    fn finish(mut self, before: &Deployment, rolling: bool) -> Plan {
        let status = if rolling { self.rollout_status() } else { self.basic_status() };
        let mut plan = Plan { requeue_after: self.progress_check(&status), ..Plan::default() };
        let d = &self.d;
        if let Some(new) = self.new.as_ref().filter(|_| self.creating) {
            plan.writes.push(creation(d, new));
        }
        let creating = self.creating;
        let existing = self.old.iter().chain(self.new.as_ref().filter(|_| !creating));
        plan.writes.extend(existing.filter(|s| s.dirty).map(|s| update(d, s)));
        plan.writes.append(&mut self.deletions);
        let revision =
            |d: &Deployment| d.annotation(names::ANNOTATION_DEPLOYMENT_REVISION).map(str::to_owned);
        // The revision goes with the status: written with the object, it would count as a change of what is wished.
        if before.status.as_ref() != Some(&status) || revision(&self.d) != revision(before) {
            let (metadata, spec) = (self.d.metadata.clone(), before.spec.clone());
            plan.writes.push(Write::update_status(&Deployment { metadata, spec, status: Some(status) }));
        }
        plan
    }
}

fn creation(d: &Deployment, new: &Set) -> Write {
    let name = new.rs.name();
    let failed = format!("Failed to create new replica set {name:?}: {{}}");
    let write = Write::create(&new.rs).or(EventNote::warning(d, "ReplicaSetCreateError", failed));
    if new.replicas() == 0 {
        return write;
    }
    let message = format!("Scaled up replica set {name} from 0 to {}", new.replicas());
    write.ok(EventNote::normal(d, "ScalingReplicaSet", message))
}

fn update(d: &Deployment, set: &Set) -> Write {
    let write = Write::update(&set.rs);
    let Some(from) = set.scaled_from else { return write };
    let (to, name) = (set.replicas(), set.rs.name());
    let direction = if from < to { "up" } else { "down" };
    let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
    write.ok(EventNote::normal(d, "ScalingReplicaSet", message))
}

/// Whether it replaces pods bit by bit and not all at once.
fn is_rolling(d: &Deployment) -> bool {
    d.spec.strategy.as_ref().and_then(|s| s.type_.as_deref()) != Some("Recreate")
}

/// Pods above and below the wanted number that a rollout may have (`ResolveFenceposts`).
fn fenceposts(d: &Deployment) -> (i32, i32) {
    if !is_rolling(d) {
        return (0, 0);
    }
    let wanted = d.spec.replicas.unwrap_or(1);
    let rolling = d.spec.strategy.as_ref().and_then(|s| s.rolling_update.as_ref());
    let surge = scaled(rolling.and_then(|r| r.max_surge.as_ref()), wanted, true);
    let unavailable = scaled(rolling.and_then(|r| r.max_unavailable.as_ref()), wanted, false);
    if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
}

/// A count, or a percentage of `total`; 0 where absent or unreadable.
pub(crate) fn scaled(value: Option<&IntOrString>, total: i32, round_up: bool) -> i32 {
    let value = match value {
        None => return 0,
        Some(IntOrString::Int(n)) => return *n,
        Some(IntOrString::String(s)) => meta::int_or_string::IntOrString::String(s.clone()),
    };
    let part = value.scaled(i64::from(total), round_up).unwrap_or(0);
    i32::try_from(part).unwrap_or(i32::MAX)
}

fn max_surge(d: &Deployment) -> i32 {
    fenceposts(d).0
}

fn max_unavailable(d: &Deployment) -> i32 {
    let wanted = d.spec.replicas.unwrap_or(1);
    if !is_rolling(d) || wanted == 0 { 0 } else { fenceposts(d).1.min(wanted) }
}

#[cfg(test)]
mod tests;

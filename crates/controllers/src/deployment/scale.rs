//! How many replicas each ReplicaSet of a Deployment shall have (`rolling.go`, `recreate.go`, `sync.go`).

use super::revision::{revision_of, set_replicas_annotations};
use super::{Collision, Rollout, Set, is_rolling, max_surge, max_unavailable, status};
use crate::pods;
use api::apps::v1::Deployment;
use api::core::v1::Pod;
use api::{MetaExt, names};
use reconcile::Write;
use std::cmp::Reverse;

/// Scales `set`, if that changes anything; tells whether it did.
fn scale(d: &Deployment, set: &mut Set, to: i32) -> bool {
    let from = set.replicas();
    if from == to {
        return false;
    }
    set.rs.spec.replicas = Some(to);
    set_replicas_annotations(d, &mut set.rs);
    set.scaled_from = Some(set.scaled_from.unwrap_or(from));
    set.dirty = true;
    true
}

impl Rollout<'_> {
    /// One step of a rolling update: up if that may be, else down.
    pub(super) fn roll(&mut self) -> Result<(), Collision> {
        self.ensure_new()?;
        if self.creating || self.scale_new() || self.scale_old() {
            return Ok(());
        }
        self.clean_up_when_complete();
        Ok(())
    }

    fn clean_up_when_complete(&mut self) {
        if self.d.status.as_ref().is_some_and(|s| status::is_complete(&self.d, s)) {
            self.clean_up();
        }
    }

    /// How many replicas the new set, which has `now`, may have (`NewRSNewReplicas`).
    pub(super) fn replicas_of_new(&self, now: i32) -> i32 {
        let wanted = self.wanted();
        if !is_rolling(&self.d) {
            return wanted;
        }
        let room = wanted + max_surge(&self.d) - self.total();
        if room <= 0 { now } else { now + room.min(wanted - now) }
    }

    fn scale_new(&mut self) -> bool {
        let Some(now) = self.new.as_ref().map(Set::replicas) else { return false };
        let wanted = self.wanted();
        let to = if now > wanted { wanted } else { self.replicas_of_new(now) };
        match &mut self.new {
            Some(new) => scale(&self.d, new, to),
            None => false,
        }
    }

    fn scale_old(&mut self) -> bool {
        if self.old.iter().map(Set::replicas).sum::<i32>() == 0 {
            return false;
        }
        let min_available = self.wanted() - max_unavailable(&self.d);
        let new_unavailable = self.new.as_ref().map_or(0, |s| s.replicas() - s.available());
        let room = self.total() - min_available - new_unavailable;
        if room <= 0 {
            return false;
        }
        let unhealthy = self.drop_unhealthy(room);
        self.scale_down_old(min_available) || unhealthy
    }

    /// Replicas of old sets that aren't available anyway go first.
    fn drop_unhealthy(&mut self, most: i32) -> bool {
        let mut dropped = 0;
        for set in &mut self.old {
            let unhealthy = (set.replicas() - set.available()).max(0).min(most - dropped);
            if unhealthy > 0 {
                let to = set.replicas() - unhealthy;
                scale(&self.d, set, to);
                dropped += unhealthy;
            }
        }
        dropped > 0
    }

    fn scale_down_old(&mut self, min_available: i32) -> bool {
        let available: i32 = self.all().map(Set::available).sum();
        let (most, mut dropped) = (available - min_available, 0);
        for set in &mut self.old {
            let count = set.replicas().min(most - dropped);
            if count > 0 {
                let to = set.replicas() - count;
                scale(&self.d, set, to);
                dropped += count;
            }
        }
        dropped > 0
    }

    /// One step of a rollout that stops all old pods before it starts new ones.
    pub(super) fn recreate(&mut self) -> Result<(), Collision> {
        self.sync_revision();
        let mut scaled = false;
        for set in &mut self.old {
            scaled |= scale(&self.d, set, 0);
        }
        if scaled || self.old_pods_run() {
            return Ok(());
        }
        if self.new.is_none() {
            return self.ensure_new();
        }
        let wanted = self.wanted();
        if let Some(new) = &mut self.new {
            scale(&self.d, new, wanted);
        }
        self.clean_up_when_complete();
        Ok(())
    }

    fn old_pods_run(&self) -> bool {
        let counted = self.old.iter().any(|s| s.status().replicas > 0);
        let view = self.cx.view;
        let runs = |s: &Set| view.controlled_by::<Pod>(s.rs.uid()).any(|pod| !pods::is_terminal(pod));
        counted || self.old.iter().any(runs)
    }

    /// Whether the Deployment was scaled since its sets were.
    pub(super) fn is_scaling_event(&self) -> bool {
        let desired = |s: &Set| -> Option<i32> {
            s.rs.annotation(names::ANNOTATION_DEPLOYMENT_DESIRED_REPLICAS)?.parse().ok()
        };
        let wanted = self.wanted();
        self.all().filter(|s| s.replicas() > 0).any(|s| desired(s).is_some_and(|n| n != wanted))
    }

    /// Spreads the Deployment's new size over its sets, in proportion.
    pub(super) fn scale_proportionally(&mut self) {
        let wanted = self.wanted();
        let active = self.all().filter(|s| s.replicas() > 0).count();
        if active <= 1 {
            if let Some(set) = active_or_latest(self.old.iter_mut().chain(self.new.as_mut())) {
                scale(&self.d, set, wanted);
            }
        } else if self.is_saturated() {
            for set in &mut self.old {
                scale(&self.d, set, 0);
            }
        } else if is_rolling(&self.d) {
            self.spread();
        }
    }

    fn is_saturated(&self) -> bool {
        let wanted = self.wanted();
        self.new.as_ref().is_some_and(|new| {
            let desired = new.rs.annotation(names::ANNOTATION_DEPLOYMENT_DESIRED_REPLICAS);
            new.replicas() == wanted
                && desired == Some(wanted.to_string().as_str())
                && new.available() == wanted
        })
    }

    fn spread(&mut self) {
        let wanted = self.wanted();
        let allowed = if wanted > 0 { wanted + max_surge(&self.d) } else { 0 };
        let to_add = allowed - self.total();
        let d = self.d.clone();
        let mut sets: Vec<&mut Set> = self.all_mut().filter(|s| s.replicas() > 0).collect();
        // The largest first; of equals the newer when growing, the older when shrinking.
        sets.sort_by_key(|s| {
            let age = s.rs.created();
            (Reverse(s.replicas()), if to_add > 0 { -age } else { age }, s.rs.name().to_owned())
        });
        let (mut sizes, mut added) = (Vec::new(), 0);
        for set in &sets {
            let part = proportion(&d, set, to_add, added);
            sizes.push(set.replicas() + part);
            added += part;
        }
        if let Some(first) = sizes.first_mut() {
            *first = (*first + to_add - added).max(0);
        }
        for (set, size) in sets.into_iter().zip(sizes) {
            if !scale(&d, set, size) {
                set.dirty |= set_replicas_annotations(&d, &mut set.rs);
            }
        }
    }

    /// Deletes the oldest sets beyond the history that is to be kept.
    pub(super) fn clean_up(&mut self) {
        let Some(limit) = self.d.spec.revision_history_limit.filter(|n| *n != i32::MAX) else { return };
        let mut sets: Vec<&Set> = self.old.iter().filter(|s| !s.rs.is_deleting()).collect();
        let surplus = sets.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        sets.sort_by_key(|s| revision_of(&s.rs));
        let idle = |s: &&&Set| {
            let status = s.status();
            let observed = status.observed_generation.unwrap_or(0) >= s.rs.generation();
            status.replicas == 0 && s.replicas() == 0 && observed
        };
        self.deletions = sets.iter().take(surplus).filter(idle).map(|s| Write::delete(&s.rs)).collect();
    }
}

/// The only set that has replicas; if none has, the new one, or else the youngest.
fn active_or_latest<'a>(sets: impl Iterator<Item = &'a mut Set>) -> Option<&'a mut Set> {
    let mut all: Vec<&mut Set> = sets.collect();
    let at = all.iter().position(|s| s.replicas() > 0).or(all.len().checked_sub(1))?;
    Some(all.swap_remove(at))
}

/// The part of a change that falls on one set (`GetReplicaSetProportion`).
fn proportion(d: &Deployment, set: &Set, to_add: i32, added: i32) -> i32 {
    if set.replicas() == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let (fraction, allowed) = (fraction(d, set), to_add - added);
    if to_add > 0 { fraction.min(allowed) } else { fraction.max(allowed) }
}

fn fraction(d: &Deployment, set: &Set) -> i32 {
    let wanted = d.spec.replicas.unwrap_or(1);
    if wanted == 0 {
        return -set.replicas();
    }
    let noted = set.rs.annotation(names::ANNOTATION_DEPLOYMENT_MAX_REPLICAS).and_then(|n| n.parse().ok());
    let current = d.status.as_ref().and_then(|s| s.replicas).unwrap_or(0);
    let before = noted.filter(|n: &i32| *n > 0).unwrap_or(current);
    if before == 0 {
        return 0;
    }
    let size = f64::from(set.replicas()) * f64::from(wanted + max_surge(d)) / f64::from(before);
    size.round() as i32 - set.replicas()
}

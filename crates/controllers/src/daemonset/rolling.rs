//! Replaces daemon pods of older templates (`daemon/update.go`).

use super::{Eligible, Round};
use crate::deployment::scaled;
use crate::pods;
use api::core::v1::Pod;

/// The pods of one node, old and new.
struct Pair<'a> {
    node: &'a str,
    /// Whether the node shall have a pod; others may keep one.
    wanted: bool,
    old: Option<&'a Pod>,
    new: Option<&'a Pod>,
}

impl<'a> Round<'a> {
    /// How many nodes may have two pods, and how many none that is available.
    pub(super) fn limits(&self) -> (usize, usize) {
        let strategy = self.set.spec.update_strategy.as_ref();
        let rolling = strategy.and_then(|s| s.rolling_update.as_ref());
        let wanted = self.nodes.values().filter(|(e, _)| *e == Eligible::Yes).count();
        let total = i32::try_from(wanted).unwrap_or(i32::MAX);
        let part = |v| usize::try_from(scaled(v, total, true)).unwrap_or(0);
        let surge = part(rolling.and_then(|r| r.max_surge.as_ref()));
        let unavailable = rolling.and_then(|r| r.max_unavailable.as_ref());
        let unavailable = if unavailable.is_none() { 1 } else { part(unavailable) };
        if surge == 0 && unavailable == 0 { (0, 1) } else { (surge, unavailable) }
    }

    /// One step of a rolling update.
    pub(super) fn roll(&mut self) {
        let strategy = self.set.spec.update_strategy.as_ref();
        if strategy.and_then(|s| s.type_.as_deref()) == Some("OnDelete") {
            return;
        }
        let pairs: Vec<Pair<'a>> = self.pairs();
        let (surge, unavailable) = self.limits();
        if surge == 0 { self.replace(&pairs, unavailable) } else { self.surge(&pairs, surge) }
    }

    fn pairs(&self) -> Vec<Pair<'a>> {
        let nodes = self.nodes.iter().filter(|(_, (e, _))| *e != Eligible::No);
        let pairs = nodes.map(|(node, (eligible, all))| {
            let mut living = all.iter().copied().filter(|p| pods::is_active(p));
            let new = living.clone().find(|p| self.is_new(p));
            let wanted = *eligible == Eligible::Yes;
            Pair { node, wanted, old: living.find(|p| !self.is_new(p)), new }
        });
        pairs.collect()
    }

    /// Deletes old pods: those that aren't available anyway, and of the others as many as may be missing.
    fn replace(&mut self, pairs: &[Pair<'a>], most: usize) {
        let mut missing = 0;
        let (mut broken, mut fine) = (Vec::new(), Vec::new());
        for pair in pairs {
            match (pair.old, pair.new) {
                (_, Some(new)) => missing += usize::from(!self.is_available(new)),
                (None, None) => missing += usize::from(pair.wanted),
                (Some(old), None) if self.is_available(old) => fine.push(old),
                (Some(old), None) => {
                    missing += 1;
                    broken.push(old);
                }
            }
        }
        let room = most.saturating_sub(missing);
        for pod in broken.into_iter().chain(fine.into_iter().take(room)) {
            self.delete(pod);
        }
    }

    /// Creates new pods beside old ones, and deletes an old one when its successor is available.
    fn surge(&mut self, pairs: &[Pair<'a>], most: usize) {
        let mut beside = 0;
        let (mut replaced, mut broken, mut fine) = (Vec::new(), Vec::new(), Vec::new());
        for pair in pairs {
            match (pair.old, pair.new) {
                (Some(old), Some(new)) if self.is_available(new) => replaced.push(old),
                (Some(_), Some(_)) => beside += 1,
                (Some(old), None) if self.is_available(old) => fine.push(pair.node),
                (Some(_), None) => broken.push(pair.node),
                (None, _) => {}
            }
        }
        let room = most.saturating_sub(beside);
        // A node whose old pod is broken loses nothing by a new one.
        for node in broken.into_iter().chain(fine.into_iter().take(room)) {
            self.create(node);
        }
        for pod in replaced {
            self.delete(pod);
        }
    }
}

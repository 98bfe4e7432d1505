//! Which pods a job starts and stops (`manageJob`).

use super::conditions::{self, SUSPENDED};
use super::{Round, is_tracked, pod, release};
use crate::pods;
use crate::replicaset::{create_pod, delete_pod, sort_for_deletion, to_i32};
use api::MetaExt;
use api::core::v1::Pod;
use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

/// Pods that one plan starts or stops at the most (`MaxPodCreateDeletePerSync`).
const BURST: usize = 500;
/// The pause after the first failure, doubled by each further one, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

impl<'a> Round<'a> {
    /// Stops every pod: the job is over.
    pub(super) fn delete_active(&mut self) {
        let active: Vec<&Pod> = self.active().collect();
        active.into_iter().take(BURST).for_each(|p| self.delete(p));
    }

    fn delete(&mut self, pod: &'a Pod) {
        self.deleted.push(pod.uid());
        self.pod_writes.push(delete_pod(self.job, pod));
    }

    /// Stops pods that are too many: their end is nobody's failure, and so they are let go of before (`deleteJobPods`).
    fn dismiss(&mut self, pods: impl Iterator<Item = &'a Pod>) {
        let pods: Vec<&Pod> = pods.take(BURST).collect();
        self.pod_writes.extend(pods.iter().filter(|p| is_tracked(p)).map(|p| release(p)));
        pods.into_iter().for_each(|p| self.delete(p));
    }

    /// Stops what is too much; if nothing is, starts what is missing.
    pub(super) fn manage(&mut self) {
        if self.is_suspended() {
            let active: Vec<&Pod> = self.active().collect();
            return self.dismiss(active.into_iter());
        }
        let surplus = self.surplus();
        if !surplus.is_empty() {
            return self.dismiss(surplus.into_iter());
        }
        let going = |p: &&&Pod| p.is_deleting() && !pods::is_terminal(p);
        let waiting = if self.replaces_failed_only() { self.pods.iter().filter(going).count() } else { 0 };
        let missing = self.wanted() - to_i32(self.active().count() + waiting);
        let missing = usize::try_from(missing).unwrap_or(0).min(BURST);
        if missing == 0 {
            return;
        }
        if let Some(wait) = self.backoff() {
            return self.plan.requeue(wait);
        }
        if self.is_indexed() {
            for index in self.pending_indexes(missing) {
                let pod = pod::indexed(self.job, &self.spec, index, self.failures_of(index));
                self.pod_writes.push(create_pod(self.job, &pod));
            }
        } else {
            let pod = pod::plain(self.job, &self.spec);
            self.pod_writes.extend((0..missing).map(|_| create_pod(self.job, &pod)));
        }
    }

    /// How many pods shall be active.
    fn wanted(&self) -> i32 {
        let parallelism = self.spec.parallelism.unwrap_or(1);
        match self.completions() {
            None if self.succeeded_count() > 0 => to_i32(self.active().count()),
            None => parallelism,
            Some(completions) => (completions - self.succeeded_count()).clamp(0, parallelism.max(0)),
        }
    }

    /// Pods of indexes that need none, and then as many as are too many.
    fn surplus(&self) -> Vec<&'a Pod> {
        let mut active: Vec<&Pod> = self.active().collect();
        sort_for_deletion(&mut active, &HashMap::new(), self.cx.now);
        let mut surplus = Vec::new();
        if self.is_indexed() {
            let mut seen = BTreeSet::new();
            // The most valuable of an index stays.
            for pod in active.iter().rev() {
                let needed = pod::index(pod).is_some_and(|i| self.needs(i) && seen.insert(i));
                if !needed {
                    surplus.push(*pod);
                }
            }
        }
        let excess = usize::try_from(to_i32(active.len()) - self.wanted()).unwrap_or(0);
        let chosen: BTreeSet<&str> = surplus.iter().map(|p| p.uid()).collect();
        let others = active.into_iter().filter(|p| !chosen.contains(p.uid()));
        let more = excess.saturating_sub(surplus.len());
        surplus.extend(others.take(more));
        surplus
    }

    fn needs(&self, index: i32) -> bool {
        let in_range = self.completions().is_some_and(|end| index < end);
        in_range && !self.succeeded.contains(index) && !self.failed.contains(index)
    }

    /// The lowest indexes that have neither ended nor a pod.
    fn pending_indexes(&self, count: usize) -> Vec<i32> {
        let only_failed = self.replaces_failed_only();
        let holds = |p: &&&Pod| pods::is_active(p) || (only_failed && !pods::is_terminal(p));
        let taken: BTreeSet<i32> = self.pods.iter().filter(holds).filter_map(|p| pod::index(p)).collect();
        let all = 0..self.completions().unwrap_or(0);
        all.filter(|i| self.needs(*i) && !taken.contains(i)).take(count).collect()
    }

    /// How often the pods of an index have failed, where that has a limit.
    fn failures_of(&self, index: i32) -> Option<i32> {
        self.spec.backoff_limit_per_index?;
        let failed = self.pods.iter().filter(|p| pod::index(p) == Some(index) && self.is_failed(p));
        let counts = failed.map(|p| {
            let counts = self.verdict(p) != super::failure::Verdict::Ignore;
            pod::failures(p) + i32::from(counts)
        });
        Some(counts.max().unwrap_or(0))
    }

    /// How long to wait before pods that failed are replaced.
    fn backoff(&self) -> Option<Duration> {
        let (failures, last) = self.last_failure()?;
        let pause = BACKOFF.0.saturating_mul(1 << (failures - 1).min(10)).min(BACKOFF.1);
        let due = last + pause;
        Duration::try_from(due.duration_since(self.cx.now)).ok().filter(|d| !d.is_zero())
    }

    /// Notes that the job rests or goes on; what goes on starts its clock anew.
    pub(super) fn note_suspension(&mut self) {
        let now = self.cx.now;
        if self.is_suspended() {
            let news =
                conditions::put(&mut self.status, (SUSPENDED, "True"), "JobSuspended", "Job suspended", now);
            if news {
                self.status.start_time = None;
                self.tell(false, "Suspended", "Job suspended");
            }
        } else if conditions::is_true(&self.status, SUSPENDED) {
            conditions::put(&mut self.status, (SUSPENDED, "False"), "JobResumed", "Job resumed", now);
            self.status.start_time = Some(api::time(now));
            self.tell(false, "Resumed", "Job resumed");
        }
    }
}

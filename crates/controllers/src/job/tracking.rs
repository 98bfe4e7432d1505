//! Counting pods that have ended, each exactly once (`trackJobStatusAndRemoveFinalizers`).

use super::failure::Verdict;
use super::{Round, is_tracked, pod, release};
use crate::pods;
use crate::replicaset::to_i32;
use api::MetaExt;
use api::core::v1::Pod;
use reconcile::Write;

/// UIDs that stand in the status at the most (`MaxUncountedPods`).
const MAX_UNCOUNTED: usize = 500;

impl Round<'_> {
    /// Whether the end of `pod` is a failure: it failed, or it is going before it could succeed.
    pub(super) fn is_failed(&self, pod: &Pod) -> bool {
        match pods::phase(pod) {
            "Failed" => true,
            "Succeeded" => false,
            _ if self.replaces_failed_only() && !self.job.is_deleting() => false,
            _ => pod.is_deleting(),
        }
    }

    /// Turns UIDs whose pods bear our finalizer no longer into numbers, and notes pods that have ended.
    pub(super) fn track(&mut self) {
        let tracked: Vec<&Pod> = self.pods.iter().copied().filter(|p| is_tracked(p)).collect();
        self.fold(&tracked);
        let end = self.completions().unwrap_or(i32::MAX);
        self.succeeded.truncate(end);
        for pod in tracked {
            if self.uncounted() >= MAX_UNCOUNTED {
                break;
            }
            if pods::phase(pod) == "Succeeded" {
                self.note_success(pod, end);
            } else if self.is_failed(pod) {
                self.note_failure(pod, end);
            }
        }
        if self.is_indexed() {
            self.status.succeeded = Some(to_i32(self.succeeded.len())).filter(|n| *n > 0);
            self.status.completed_indexes = Some(self.succeeded.to_string()).filter(|t| !t.is_empty());
        }
        if self.spec.backoff_limit_per_index.is_some() {
            self.status.failed_indexes = Some(self.failed.to_string());
        }
    }

    fn fold(&mut self, tracked: &[&Pod]) {
        let held = |uid: &String| tracked.iter().any(|p| p.uid() == uid);
        let uncounted = self.status.uncounted_terminated_pods.get_or_insert_default();
        let count = |list: &mut Option<Vec<String>>, number: &mut Option<i32>| {
            let all = list.take().unwrap_or_default();
            let before = all.len();
            let kept: Vec<String> = all.into_iter().filter(held).collect();
            let counted = to_i32(before - kept.len());
            if counted > 0 {
                *number = Some(number.unwrap_or(0) + counted);
            }
            *list = (!kept.is_empty()).then_some(kept);
        };
        count(&mut uncounted.succeeded, &mut self.status.succeeded);
        count(&mut uncounted.failed, &mut self.status.failed);
    }

    fn uncounted(&self) -> usize {
        let len = |list: Option<&Vec<String>>| list.map_or(0, Vec::len);
        let all = self.status.uncounted_terminated_pods.as_ref();
        len(all.and_then(|u| u.succeeded.as_ref())) + len(all.and_then(|u| u.failed.as_ref()))
    }

    fn note_success(&mut self, pod: &Pod, end: i32) {
        if self.is_indexed() {
            // The index itself tells whether the pod was counted.
            if let Some(index) = pod::index(pod).filter(|i| *i < end) {
                self.succeeded.insert(index);
            }
            return;
        }
        let uncounted = self.status.uncounted_terminated_pods.get_or_insert_default();
        note(&mut uncounted.succeeded, pod.uid());
    }

    fn note_failure(&mut self, pod: &Pod, end: i32) {
        let verdict = self.verdict(pod);
        if self.is_indexed() {
            let Some(index) = pod::index(pod).filter(|i| *i < end) else { return };
            if let Some(limit) = self.spec.backoff_limit_per_index {
                let spent = verdict == Verdict::Count && pod::failures(pod) >= limit;
                if (spent || verdict == Verdict::FailIndex) && !self.succeeded.contains(index) {
                    self.failed.insert(index);
                }
            }
        }
        if verdict != Verdict::Ignore {
            let uncounted = self.status.uncounted_terminated_pods.get_or_insert_default();
            note(&mut uncounted.failed, pod.uid());
        }
    }

    /// Pods that have succeeded, counted or about to be.
    pub(super) fn succeeded_count(&self) -> i32 {
        let noted = self.status.uncounted_terminated_pods.as_ref().and_then(|u| u.succeeded.as_ref());
        self.status.succeeded.unwrap_or(0) + to_i32(noted.map_or(0, Vec::len))
    }

    /// Pods that have failed, counted or about to be.
    pub(super) fn failed_count(&self) -> i32 {
        let noted = self.status.uncounted_terminated_pods.as_ref().and_then(|u| u.failed.as_ref());
        self.status.failed.unwrap_or(0) + to_i32(noted.map_or(0, Vec::len))
    }

    /// Whether every end is a number.
    pub(super) fn is_settled(&self) -> bool {
        let ended = |p: &&Pod| is_tracked(p) && (pods::is_terminal(p) || self.is_failed(p));
        self.uncounted() == 0 && !self.pods.iter().copied().any(|p| ended(&p))
    }

    /// Takes our finalizer off pods whose end stands in the status, or that don't count.
    pub(super) fn releases(&self) -> Vec<Write> {
        let due = |p: &&&Pod| {
            let ended = pods::is_terminal(p) || self.is_failed(p);
            is_tracked(p) && ended && (self.is_noted(p) || self.uncounted() < MAX_UNCOUNTED)
        };
        self.pods.iter().filter(due).map(|p| release(p)).take(MAX_UNCOUNTED).collect()
    }

    fn is_noted(&self, pod: &Pod) -> bool {
        let all = self.status.uncounted_terminated_pods.as_ref();
        let lists = all.into_iter().flat_map(|u| [&u.succeeded, &u.failed]).flatten();
        lists.flatten().any(|uid| uid == pod.uid())
    }
}

fn note(list: &mut Option<Vec<String>>, uid: &str) {
    let all = list.get_or_insert_default();
    if !all.iter().any(|u| u == uid) {
        all.push(uid.to_owned());
    }
}

//! When a job has reached or missed what it is for (`syncJob`, `enactJobFinished`).

use super::Round;
use super::conditions::{self, FAILURE_TARGET, SUCCESS_CRITERIA};
use super::failure::Verdict;
use super::indexes::Indexes;
use crate::pods;
use crate::replicaset::to_i32;
use api::core::v1::Pod;
use std::time::Duration;

impl Round<'_> {
    /// Notes that the job is to end, if it is.
    pub(super) fn decide(&mut self) {
        if self.is_over() {
            return;
        }
        if let Some((reason, message)) = self.failure() {
            let cond = (FAILURE_TARGET, "True");
            conditions::put(&mut self.status, cond, reason, &message, self.cx.now);
        } else if let Some((reason, message)) = self.success() {
            let cond = (SUCCESS_CRITERIA, "True");
            conditions::put(&mut self.status, cond, reason, &message, self.cx.now);
        }
    }

    fn failure(&mut self) -> Option<(&'static str, String)> {
        let failed: Vec<&Pod> = self.pods.iter().copied().filter(|p| self.is_failed(p)).collect();
        let verdicts = failed.iter().map(|p| self.verdict(p));
        for verdict in verdicts.collect::<Vec<_>>() {
            if let Verdict::FailJob(message) = verdict {
                return Some(("PodFailurePolicy", message));
            }
        }
        let limit = self.spec.backoff_limit.unwrap_or(6);
        if self.failed_count() > limit || self.restarts_exceed(limit) {
            return Some(("BackoffLimitExceeded", "Job has reached the specified backoff limit".to_owned()));
        }
        if self.is_past_deadline() {
            return Some(("DeadlineExceeded", "Job was active longer than specified deadline".to_owned()));
        }
        self.failed_indexes()
    }

    fn failed_indexes(&self) -> Option<(&'static str, String)> {
        self.spec.backoff_limit_per_index?;
        let failed = to_i32(self.failed.len());
        if self.spec.max_failed_indexes.is_some_and(|most| failed > most) {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return Some(("MaxFailedIndexesExceeded", message.to_owned()));
        }
        let all = self.completions().unwrap_or(0);
        (failed > 0 && failed + to_i32(self.succeeded.len()) >= all)
            .then(|| ("FailedIndexes", "Job has failed indexes".to_owned()))
    }

    /// With `OnFailure` the restarts of containers count, not pods.
    fn restarts_exceed(&self, limit: i32) -> bool {
        let policy = self.spec.template.spec.as_ref().and_then(|s| s.restart_policy.as_deref());
        if policy != Some("OnFailure") {
            return false;
        }
        let restarts = |p: &Pod| -> i32 {
            let status = p.status.iter();
            let all =
                status.flat_map(|s| s.container_statuses.iter().chain(&s.init_container_statuses)).flatten();
            all.map(|c| c.restart_count).sum()
        };
        let sum: i32 = self.active().map(restarts).sum();
        if limit == 0 { sum > 0 } else { sum >= limit }
    }

    fn is_past_deadline(&mut self) -> bool {
        let (Some(seconds), false) = (self.spec.active_deadline_seconds, self.is_suspended()) else {
            return false;
        };
        let Some(start) = self.status.start_time.as_ref() else { return false };
        let deadline = start.0 + Duration::from_secs(seconds.unsigned_abs());
        if deadline > self.cx.now {
            let left = Duration::try_from(deadline.duration_since(self.cx.now));
            self.plan.requeue(left.unwrap_or(Duration::from_secs(1)));
            return false;
        }
        true
    }

    fn success(&self) -> Option<(&'static str, String)> {
        if let Some(message) = self.success_policy() {
            return Some(("SuccessPolicy", message));
        }
        let (succeeded, active) = (self.succeeded_count(), self.active().count());
        let reached = match self.completions() {
            // Any success will do, but those that still run may end.
            None => succeeded > 0 && active == 0,
            Some(wanted) => succeeded >= wanted && active == 0,
        };
        reached.then(|| ("CompletionsReached", "Reached expected number of succeeded pods".to_owned()))
    }

    fn success_policy(&self) -> Option<String> {
        let rules = &self.spec.success_policy.as_ref()?.rules;
        let met = |rule: &api::batch::v1::SuccessPolicyRule| {
            let named = rule.succeeded_indexes.as_deref().map(|text| Indexes::parse(Some(text)));
            let count = named.as_ref().map_or(self.succeeded.len(), |n| n.common(&self.succeeded));
            let wanted = rule.succeeded_count.map(|n| usize::try_from(n).unwrap_or(0));
            count >= wanted.or(named.map(|n| n.len())).unwrap_or(usize::MAX)
        };
        rules.iter().position(met).map(|i| format!("Matched rules at index {i}"))
    }

    /// Says that the job has ended, once all its pods have and are counted.
    pub(super) fn conclude(&mut self) {
        let settled = self.is_settled() && self.status.terminating.unwrap_or(0) == 0;
        if !self.is_over() || !settled || self.active().next().is_some() {
            return;
        }
        let now = self.cx.now;
        let text = |v: &Option<String>| v.clone().unwrap_or_default();
        if let Some(c) = conditions::find(&self.status, FAILURE_TARGET).filter(|c| c.status == "True") {
            let (reason, message) = (text(&c.reason), text(&c.message));
            conditions::put(&mut self.status, ("Failed", "True"), &reason, &message, now);
            self.tell(true, &reason, &message);
        } else if let Some(c) = conditions::find(&self.status, SUCCESS_CRITERIA) {
            let (reason, message) = (text(&c.reason), text(&c.message));
            conditions::put(&mut self.status, ("Complete", "True"), &reason, &message, now);
            self.status.completion_time = Some(api::time(now));
            if self.completions().is_some_and(|n| self.status.succeeded.unwrap_or(0) > n) {
                let message = "Too many succeeded pods running after completion count reached";
                self.tell(true, "TooManySucceededPods", message);
            }
            self.tell(false, "Completed", "Job completed");
        }
    }

    /// How many pods have failed since one succeeded, and when the last did.
    pub(super) fn last_failure(&self) -> Option<(u32, jiff::Timestamp)> {
        let ended = |p: &Pod| finish_time(p).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let with_phase =
            |phase: &'static str| self.pods.iter().copied().filter(move |p| pods::phase(p) == phase);
        let success = with_phase("Succeeded").map(ended).max();
        let failures: Vec<_> =
            with_phase("Failed").map(ended).filter(|at| success.is_none_or(|s| *at > s)).collect();
        let last = failures.iter().max()?;
        Some((u32::try_from(failures.len()).unwrap_or(u32::MAX), *last))
    }
}

/// When the last container of a pod ended.
fn finish_time(pod: &Pod) -> Option<jiff::Timestamp> {
    let status = pod.status.as_ref()?;
    let all = status.container_statuses.iter().flatten();
    let ends = all.filter_map(|c| Some(c.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0));
    let ready = pods::condition(pod, "Ready").and_then(|c| c.last_transition_time.as_ref()).map(|t| t.0);
    ends.max().or(ready)
}

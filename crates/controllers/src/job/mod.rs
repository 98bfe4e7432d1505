//! Runs pods until enough of them have succeeded (`pkg/controller/job`).
//!
//! No end of a pod is counted twice or missed: a pod bears a finalizer until its UID stands in the status
//! (`uncountedTerminatedPods`), and the UID becomes a number only when the finalizer is gone.

mod conditions;
mod failure;
mod finish;
mod indexes;
mod manage;
mod pod;
mod tracking;

use crate::ownership::claim;
use crate::pods;
use crate::replicaset::to_i32;
use crate::selectors::owning_selector;
use api::batch::v1::{Job, JobStatus};
use api::core::v1::Pod;
use api::{MetaExt, names};
use client::{Key, View};
use indexes::Indexes;
use reconcile::controller::owner_key;
use reconcile::{Controller, Cx, EventNote, Plan, Watch, Write};
use serde_json::{Value, json};

/// The controller.
pub(crate) struct Jobs;

impl Controller for Jobs {
    fn name(&self) -> &'static str {
        "job-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::own::<Job>(), Watch::each::<Pod>(keys_of_pod)]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let job = cx.view.at::<Job>(cx.key);
        let mut plan = match job {
            Some(job) if is_ours(job) => plan(cx, job),
            _ => Plan::done(),
        };
        plan.writes.extend(orphans(cx, job));
        plan
    }
}

fn keys_of_pod(view: View<'_>, pod: &Pod, keys: &mut Vec<Key>) {
    if pod.controller().is_some() {
        keys.extend(owner_key::<Pod, Job>(pod));
        return;
    }
    // One whose job let go of it must not wait for that job for ever.
    let job = pod.label(names::LABEL_JOB_NAME).filter(|_| is_tracked(pod));
    keys.extend(job.map(|name| Key::new(pod.namespace(), name)));
    let matching = |j: &&Job| {
        j.spec
            .as_ref()
            .and_then(|s| s.selector.as_ref())
            .is_some_and(|s| owning_selector(s).matches(pod.labels()))
    };
    keys.extend(view.list::<Job>(pod.namespace()).filter(matching).map(|j| Key::of(j)));
}

/// Whether the job is not another controller's.
fn is_ours(job: &Job) -> bool {
    let by = job.spec.as_ref().and_then(|s| s.managed_by.as_deref());
    by.is_none_or(|by| by == "kubernetes.io/job-controller")
}

/// Whether a job has come to its end, and with which condition (`IsJobFinished`).
pub(crate) fn finished(job: &Job) -> Option<&api::batch::v1::JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")
}

/// Frees the pods of jobs that are gone or finished from our finalizer.
fn orphans(cx: &Cx<'_>, job: Option<&Job>) -> Vec<Write> {
    // A job that has begun has no namesake's pods any more.
    if job.is_some_and(|j| finished(j).is_none() && j.status.as_ref().is_some_and(|s| s.start_time.is_some()))
    {
        return Vec::new();
    }
    let (namespace, name) = (&*cx.key.namespace, &*cx.key.name);
    let live = job.filter(|j| finished(j).is_none()).map(|j| j.uid());
    let of_name = |pod: &&Pod| {
        is_tracked(pod)
            && match pod.controller() {
                Some(o) => o.kind == "Job" && o.name == name && Some(o.uid.as_str()) != live,
                None => live.is_none() && pod.label(names::LABEL_JOB_NAME) == Some(name),
            }
    };
    cx.view.list::<Pod>(namespace).filter(of_name).map(release).collect()
}

fn is_tracked(pod: &Pod) -> bool {
    pod.has_finalizer(names::FINALIZER_JOB_TRACKING)
}

/// Takes our finalizer off a pod.
fn release(pod: &Pod) -> Write {
    let kept: Vec<&String> =
        pod.finalizers().iter().filter(|f| *f != names::FINALIZER_JOB_TRACKING).collect();
    let kept = if kept.is_empty() { Value::Null } else { json!(kept) };
    let meta =
        json!({"uid": pod.uid(), "resourceVersion": pod.metadata.resource_version, "finalizers": kept});
    Write::merge(pod, &json!({"metadata": meta}))
}

/// One look at one job.
struct Round<'a> {
    cx: &'a Cx<'a>,
    job: &'a Job,
    spec: api::batch::v1::JobSpec,
    pods: Vec<&'a Pod>,
    /// The status as it shall be.
    status: JobStatus,
    /// Indexes that have succeeded and that have failed for good; empty for jobs without indexes.
    succeeded: Indexes,
    failed: Indexes,
    plan: Plan,
    /// Creations and deletions of pods: they follow the status.
    pod_writes: Vec<Write>,
    /// Pods that this plan deletes.
    deleted: Vec<&'a str>,
}

fn plan(cx: &Cx<'_>, job: &Job) -> Plan {
    let Some(spec) = job.spec.clone() else { return Plan::done() };
    if finished(job).is_some() {
        return Plan::done();
    }
    let selector =
        spec.selector.as_ref().map(owning_selector).unwrap_or_else(meta::selector::Selector::nothing);
    let own = cx.view.controlled_by::<Pod>(job.uid());
    let orphans = cx.view.list::<Pod>(job.namespace()).filter(|p| p.controller().is_none());
    let claimed = claim(job, &selector, own.chain(orphans));
    if !claimed.writes.is_empty() {
        return Plan { writes: claimed.writes, ..Plan::default() };
    }
    Round::new(cx, job, spec, claimed.owned).go()
}

impl<'a> Round<'a> {
    fn new(cx: &'a Cx<'a>, job: &'a Job, spec: api::batch::v1::JobSpec, pods: Vec<&'a Pod>) -> Self {
        let status = job.status.clone().unwrap_or_default();
        let succeeded = Indexes::parse(status.completed_indexes.as_deref());
        let failed = Indexes::parse(status.failed_indexes.as_deref());
        let (plan, pod_writes, deleted) = (Plan::default(), Vec::new(), Vec::new());
        Self { cx, job, spec, pods, status, succeeded, failed, plan, pod_writes, deleted }
    }

    fn go(mut self) -> Plan {
        self.start();
        self.track();
        self.decide();
        if self.is_over() {
            self.delete_active();
        } else if !self.job.is_deleting() {
            self.manage();
            self.note_suspension();
        }
        self.count_pods();
        self.conclude();
        let mut plan = std::mem::take(&mut self.plan);
        if self.job.status.as_ref() != Some(&self.status) {
            let (metadata, spec) = (self.job.metadata.clone(), self.job.spec.clone());
            let job = Job { metadata, spec, status: Some(self.status.clone()) };
            plan.writes.push(Write::update_status(&job));
        }
        plan.writes.extend(self.releases());
        plan.writes.append(&mut self.pod_writes);
        plan
    }

    fn is_indexed(&self) -> bool {
        self.spec.completion_mode.as_deref() == Some("Indexed")
    }

    fn is_suspended(&self) -> bool {
        self.spec.suspend == Some(true)
    }

    /// Whether pods are replaced only when they have failed, not already when they are going.
    fn replaces_failed_only(&self) -> bool {
        self.spec.pod_replacement_policy.as_deref() == Some("Failed")
    }

    fn completions(&self) -> Option<i32> {
        self.spec.completions
    }

    /// Whether what it is for has been reached or missed, so that no pod shall run any more.
    fn is_over(&self) -> bool {
        conditions::is_true(&self.status, conditions::FAILURE_TARGET)
            || conditions::is_true(&self.status, conditions::SUCCESS_CRITERIA)
    }

    /// Pods that run or will, and that this plan doesn't delete.
    fn active(&self) -> impl Iterator<Item = &'a Pod> {
        self.pods.iter().copied().filter(|p| pods::is_active(p) && !self.deleted.contains(&p.uid()))
    }

    fn start(&mut self) {
        if self.status.start_time.is_none() && !self.is_suspended() {
            self.status.start_time = Some(api::time(self.cx.now));
        }
        self.status.uncounted_terminated_pods.get_or_insert_default();
    }

    fn count_pods(&mut self) {
        let active: Vec<&Pod> = self.active().collect();
        let going = |p: &&&Pod| !pods::is_terminal(p) && (p.is_deleting() || self.deleted.contains(&p.uid()));
        let terminating = self.pods.iter().filter(going).count();
        let ready = active.iter().filter(|p| pods::is_ready(p)).count();
        self.status.active = Some(to_i32(active.len())).filter(|n| *n > 0);
        self.status.ready = Some(to_i32(ready));
        self.status.terminating = Some(to_i32(terminating));
    }

    fn tell(&mut self, warning: bool, reason: &str, message: &str) {
        let note = if warning { EventNote::warning } else { EventNote::normal };
        self.plan.events.push(note(self.job, reason, message.to_owned()));
    }
}

#[cfg(test)]
mod tests;

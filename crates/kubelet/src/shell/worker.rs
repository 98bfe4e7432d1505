//! One task for each pod: hears what changes, plans, has ops carried out, and keeps the API's status true.
//! A panic in an op costs that op, a panic here costs one pod.

use super::context::now;
use super::{Context, PodHandle, agent, execute};
use crate::core::ops::Failure;
use crate::core::patch::status_patch;
use crate::core::{
    Local, Note, Op, Outcome, Plan, PodObservation, evict, next_ops, podspec, probing, resize,
};
use crate::volumes;
use client::{Api, Error, PatchKind};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until};

/// Messages that may wait for one worker.
const QUEUE: usize = 256;
/// How long a status that will soon be overtaken is held back: most pods run within it.
const SETTLE: Duration = Duration::from_millis(25);
/// The shortest and longest pause before a status is written again after a failure.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// How often it is looked whether there is room now for what a pod newly asks for.
const RESIZE_PERIOD: Duration = Duration::from_secs(3);
/// The shortest sleep between two plans of a pod to which nothing happens.
const TICK: Duration = Duration::from_millis(1);
/// The longest sleep.
const IDLE: Duration = Duration::from_secs(3600);

/// What a worker hears.
pub(crate) enum Message {
    /// The pod as the API has it now.
    Update(Arc<Pod>),
    /// The pod is gone from the API.
    Removed,
    /// What became of an op, or what the runtime tells.
    Outcome(Box<Outcome>),
    /// Something that the pod's volumes show has changed.
    Refresh,
    /// The node can't keep the pod: reason, message and grace in seconds.
    Evict(String, String, i64),
}

enum Done {
    Op(Box<Outcome>),
    Patched(Box<PodStatus>, Box<Result<Pod, Error>>),
    Refreshed(Result<(), String>),
}

struct Worker {
    ctx: Arc<Context>,
    uid: String,
    pod: Arc<Pod>,
    /// The pod as the API has it, while the node has no room for the amounts that it newly asks for.
    wanted: Option<Arc<Pod>>,
    local: Local,
    inbox: mpsc::Receiver<Message>,
    /// Keeps the inbox open when the handle is gone.
    sender: mpsc::Sender<Message>,
    tasks: JoinSet<Done>,
    running: HashMap<Id, Option<Op>>,
    known: PodStatus,
    known_revision: u64,
    sent: Option<PodStatus>,
    patching: bool,
    refreshing: bool,
    hold_until: Option<Instant>,
    retry: Duration,
    delete_waits: bool,
    refresh_at: Instant,
}

fn revision(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// Starts the worker of `pod`, of which the runtime has `observed`; none: it could not be asked, and the worker
/// asks before it does anything. `removed`: the API has no such pod. `verdict`: the node refuses it.
pub(crate) fn spawn(
    ctx: &Arc<Context>,
    pod: Arc<Pod>,
    observed: Option<PodObservation>,
    removed: bool,
    verdict: Option<(String, String, String)>,
) {
    let (sender, inbox) = mpsc::channel(QUEUE);
    let uid = podspec::uid(&pod).to_owned();
    let active =
        !removed && verdict.is_none() && !podspec::is_terminal(podspec::status(&pod).phase.as_deref());
    let unknown = observed.is_none();
    let mut local = Local::new(observed.unwrap_or_default());
    local.removed = removed;
    local.verdict = verdict;
    let observed = Arc::new(local.observed.clone());
    let handle = PodHandle { sender: sender.clone(), pod: pod.clone(), observed, active };
    ctx.pods().insert(uid.clone(), handle);
    let known = podspec::status(&pod).clone();
    let known_revision = revision(&pod);
    let (pod, wanted) = match resize::as_granted(&pod) {
        Some(granted) => (Arc::new(granted), Some(pod)),
        None => (pod, None),
    };
    let worker = Worker {
        ctx: ctx.clone(),
        uid: uid.clone(),
        known_revision,
        pod,
        wanted,
        local,
        inbox,
        sender,
        tasks: JoinSet::new(),
        running: HashMap::new(),
        known,
        sent: None,
        patching: false,
        refreshing: false,
        hold_until: None,
        retry: Duration::ZERO,
        delete_waits: false,
        refresh_at: Instant::now() + ctx.config.refresh_period,
    };
    let ctx = ctx.clone();
    tokio::spawn(async move {
        let end = tokio::spawn(worker.run(unknown)).await;
        if let Err(e) = end {
            tracing::error!(uid, "the pod's worker failed: {e}");
        }
        ctx.pods().remove(&uid);
        ctx.watched.forget(&uid);
        ctx.probes.forget(&uid);
    });
}

impl Worker {
    async fn run(mut self, unknown: bool) {
        let mut stop = self.ctx.stop.subscribe();
        if unknown {
            tokio::select! {
                () = self.find_out() => {}
                _ = stop.wait_for(|s| *s) => return,
            }
        }
        loop {
            let plan = next_ops(&self.pod, &mut self.local, &self.ctx.view, now());
            let (finished, requeue) = (plan.finished, plan.requeue);
            self.carry_out(plan);
            if finished {
                return;
            }
            let wake = self.wake_at(requeue);
            tokio::select! {
                message = self.inbox.recv() => {
                    if let Some(m) = message { self.hear(m) }
                    while let Ok(m) = self.inbox.try_recv() { self.hear(m) }
                }
                Some(done) = self.tasks.join_next_with_id() => {
                    self.joined(done);
                    while let Some(done) = self.tasks.try_join_next_with_id() { self.joined(done) }
                }
                () = sleep_until(wake) => {
                    self.refresh_volumes();
                    if let Some(wanted) = self.wanted.take() { self.accept(wanted) }
                }
                _ = stop.wait_for(|s| *s) => return,
            }
        }
    }

    /// Asks the runtime for the pod until it answers; then the node may still refuse the pod.
    async fn find_out(&mut self) {
        let mut pause = RETRY.0;
        let observed = loop {
            match self.ctx.observe_pod(&self.uid).await {
                Ok(o) => break o,
                Err(e) => {
                    tracing::debug!(
                        pod = podspec::full_name(&self.pod),
                        "the runtime does not tell of the pod: {e}"
                    );
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY.1);
        };
        let fresh = observed.sandboxes.is_empty();
        self.local = Local { removed: self.local.removed, ..Local::new(observed) };
        self.local.verdict =
            if fresh && !self.local.removed { agent::refuse(&self.ctx, &self.pod).await } else { None };
        if let Some(h) = self.ctx.pods().get_mut(&self.uid) {
            h.observed = Arc::new(self.local.observed.clone());
            h.active &= self.local.verdict.is_none();
        }
    }

    fn wake_at(&self, requeue: Option<Timestamp>) -> Instant {
        let start = Instant::now();
        let until = |t: Timestamp| {
            let d = t.duration_since(now());
            Duration::try_from(d).unwrap_or(Duration::ZERO).clamp(TICK, IDLE)
        };
        let planned = start + requeue.map_or(IDLE, until);
        let refresh = if self.has_refreshing_volumes() { self.refresh_at } else { start + IDLE };
        let held = self.hold_until.unwrap_or(start + IDLE);
        let resize = start + if self.wanted.is_some() { RESIZE_PERIOD } else { IDLE };
        planned.min(refresh).min(held).min(resize).max(start + TICK)
    }

    fn has_refreshing_volumes(&self) -> bool {
        volumes::refreshes(&self.pod)
            && !self.refreshing
            && self.local.volumes.done
            && self.running_normally()
    }

    fn running_normally(&self) -> bool {
        !self.local.removed && self.local.verdict.is_none() && !podspec::is_deleting(&self.pod)
    }

    fn refresh_volumes(&mut self) {
        if !self.has_refreshing_volumes() || Instant::now() < self.refresh_at {
            return;
        }
        self.refreshing = true;
        self.refresh_at = Instant::now() + self.ctx.config.refresh_period;
        let (ctx, pod) = (self.ctx.clone(), self.current());
        let task = async move { Done::Refreshed(volumes::refresh(&ctx, &pod).await) };
        let id = self.tasks.spawn(task).id();
        self.running.insert(id, None);
    }

    /// The pod with the status that this node last made.
    fn current(&self) -> Arc<Pod> {
        let mut pod = (*self.pod).clone();
        if let Some(s) = &self.local.status {
            pod.status = Some(s.clone());
        }
        Arc::new(pod)
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Update(pod) => {
                if revision(&pod) >= self.known_revision {
                    // Whoever else wrote the status, it is ours to put right, also if ours is as before: the node's
                    // controller says of pods on a silent node that they are not ready.
                    if revision(&pod) > self.known_revision && self.known != *podspec::status(&pod) {
                        self.sent = None;
                    }
                    self.known_revision = revision(&pod);
                    self.known = podspec::status(&pod).clone();
                }
                let moved = pod.metadata.labels != self.pod.metadata.labels
                    || pod.metadata.annotations != self.pod.metadata.annotations;
                if moved {
                    self.refresh_at = Instant::now();
                }
                self.accept(pod);
            }
            Message::Removed => self.local.removed = true,
            Message::Refresh => {
                self.refresh_at = Instant::now();
                // What was missing may have come.
                self.local.volumes.retry_at = None;
            }
            Message::Outcome(o) => self.take(*o),
            Message::Evict(reason, message, grace) => {
                evict::mark(self.local.status.get_or_insert_default(), &message, now());
                self.local.verdict.get_or_insert(("Failed".to_owned(), reason, message));
                self.local.grace_override = Some(grace);
            }
        }
    }

    /// Takes the pod as the API has it, but for amounts that the node has no room for.
    fn accept(&mut self, pod: Arc<Pod>) {
        let running = self.local.observed.alive().next().is_some() && !podspec::is_deleting(&pod);
        let changed = running && resize::differs(&self.pod, &pod);
        let why = if changed { agent::no_room(&self.ctx, &pod) } else { None };
        let Some(why) = why else {
            if changed {
                let message = format!("Pod resize started: {}", resize::summary(&pod, ""));
                self.ctx.teller.pod(&pod, Note::normal("ResizeStarted", message));
            }
            (self.pod, self.wanted, self.local.resize_waits) = (pod, None, None);
            return;
        };
        let told =
            self.local.resize_waits.is_some() && self.pod.metadata.generation == pod.metadata.generation;
        if !told {
            let message = format!("Pod resize Deferred: {}", resize::summary(&pod, &why));
            self.ctx.teller.pod(&pod, Note::warning("ResizeDeferred", message));
        }
        self.pod = Arc::new(resize::held_back(&pod, &self.pod));
        (self.wanted, self.local.resize_waits) = (Some(pod), Some(why));
    }

    fn take(&mut self, outcome: Outcome) {
        if let Outcome::Probed(id, name, kind, answer) = outcome {
            let note = probing::answer(&self.pod, &mut self.local, &id, &name, kind, &answer);
            note.into_iter().for_each(|n| self.ctx.teller.pod(&self.pod, n));
        } else {
            self.local.apply(outcome, now());
        }
    }

    fn joined(&mut self, done: Result<(Id, Done), tokio::task::JoinError>) {
        match done {
            Ok((id, done)) => {
                self.running.remove(&id);
                match done {
                    Done::Op(outcome) => {
                        self.warn(&outcome);
                        self.take(*outcome);
                    }
                    Done::Patched(status, answer) => self.patched(*status, *answer),
                    Done::Refreshed(answer) => self.refreshed(answer),
                }
            }
            Err(e) => {
                let op = self.running.remove(&e.id()).flatten();
                tracing::error!(pod = podspec::full_name(&self.pod), ?op, "a step of the pod failed: {e}");
                match op {
                    Some(op) => self.take(lost(op, &self.local)),
                    None => (self.patching, self.refreshing) = (false, false),
                }
            }
        }
    }

    fn refreshed(&mut self, answer: Result<(), String>) {
        self.refreshing = false;
        if let Err(e) = answer {
            self.refresh_at = self.refresh_at.min(Instant::now() + RETRY.1);
            self.ctx.teller.pod(&self.pod, Note::warning("FailedMount", e));
        }
    }

    /// Failures that only an event tells of.
    fn warn(&self, outcome: &Outcome) {
        let note = match outcome {
            Outcome::Mounted(Err(e)) => Note::warning("FailedMount", e.clone()),
            Outcome::Sandbox(Err(e)) => {
                Note::warning("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {e}"))
            }
            Outcome::Resized(_, Err(e)) => Note::warning("ResizeError", e.clone()),
            Outcome::Stopped(_, _, Err(e)) | Outcome::SandboxStopped(_, Err(e)) => {
                Note::warning("FailedKillPod", format!("error killing pod: {e}"))
            }
            _ => return,
        };
        self.ctx.teller.pod(&self.pod, note);
    }

    fn carry_out(&mut self, plan: Plan) {
        plan.notes.into_iter().for_each(|n| self.ctx.teller.pod(&self.pod, n));
        self.share(&plan.status);
        for op in plan.ops {
            if op == Op::DeletePod {
                self.delete_waits = true;
            } else {
                self.spawn_op(op);
            }
        }
        self.publish(plan.status);
    }

    fn spawn_op(&mut self, op: Op) {
        if op == Op::Mount {
            let shown = volumes::followed(&self.pod);
            self.ctx.watched.follow(&self.uid, &self.sender, shown);
        }
        let work = execute::run(self.ctx.clone(), self.current(), op.clone());
        let (name, step) = (podspec::name(&self.pod).to_owned(), op.clone());
        let task = async move {
            let start = Instant::now();
            let outcome = work.await;
            tracing::debug!(pod = name, ?step, took = ?start.elapsed(), "done");
            Done::Op(Box::new(outcome))
        };
        let id = self.tasks.spawn(task).id();
        self.running.insert(id, Some(op));
    }

    /// Lets the others see the pod.
    fn share(&self, status: &PodStatus) {
        if let Some(h) = self.ctx.pods().get_mut(&self.uid) {
            h.active = !podspec::is_terminal(status.phase.as_deref());
            if *h.observed != self.local.observed {
                h.observed = Arc::new(self.local.observed.clone());
            }
            self.ctx.endings.count(h.pod.status.as_ref(), status);
            if h.pod.status.as_ref() != Some(status) || !Arc::ptr_eq(&h.pod, &self.pod) {
                h.pod = self.current();
            }
        }
    }

    /// Writes the status if the API shows another one. One write at a time; the last state wins.
    fn publish(&mut self, status: PodStatus) {
        if self.patching || self.local.removed {
            return;
        }
        let patch = match self.sent.as_ref() == Some(&status) {
            true => None,
            false => status_patch(&self.uid, &self.known, &status),
        };
        let Some(patch) = patch else {
            self.hold_until = None;
            if std::mem::take(&mut self.delete_waits) {
                self.spawn_op(Op::DeletePod);
            }
            return;
        };
        if self.is_held(&status) {
            return;
        }
        self.patching = true;
        let api = Api::<Pod>::namespaced(&self.ctx.client, podspec::namespace(&self.pod));
        let name = podspec::name(&self.pod).to_owned();
        let task = async move {
            let answer = api.patch(&name, "status", PatchKind::Strategic, &patch).await;
            Done::Patched(Box::new(status), Box::new(answer))
        };
        let id = self.tasks.spawn(task).id();
        self.running.insert(id, None);
    }

    /// Holds back a status of a pod that is just starting: the next one comes soon.
    fn is_held(&mut self, status: &PodStatus) -> bool {
        let at = Instant::now();
        if let Some(until) = self.hold_until {
            if at < until && (self.retry > Duration::ZERO || is_starting(status)) {
                return true;
            }
            self.hold_until = None;
            return false;
        }
        if is_starting(status) && self.sent.is_none() {
            self.hold_until = Some(at + SETTLE);
            return true;
        }
        false
    }

    fn patched(&mut self, status: PodStatus, answer: Result<Pod, Error>) {
        self.patching = false;
        match answer {
            Ok(pod) => {
                self.retry = Duration::ZERO;
                self.sent = Some(status);
                if revision(&pod) >= self.known_revision {
                    self.known_revision = revision(&pod);
                    self.known = podspec::status(&pod).clone();
                }
            }
            Err(e) if e.is_not_found() || e.is_conflict() => {
                // Deleted, or another pod of this name: the watch tells.
                self.sent = Some(status);
                tracing::debug!(pod = podspec::full_name(&self.pod), "status not written: {e}");
            }
            Err(e) if e.is_final() => {
                // The same again would be refused again; the next state may not be.
                self.sent = Some(status);
                tracing::warn!(pod = podspec::full_name(&self.pod), "the API refuses the pod's status: {e}");
            }
            Err(e) => {
                tracing::debug!(pod = podspec::full_name(&self.pod), "status not written: {e}");
                self.retry = (self.retry * 2).clamp(RETRY.0, RETRY.1);
                self.hold_until = Some(Instant::now() + self.retry);
            }
        }
    }
}

/// Pending, and nothing to tell yet but that it is being made.
fn is_starting(s: &PodStatus) -> bool {
    let making = |r: Option<&str>| matches!(r, Some("ContainerCreating" | "PodInitializing"));
    let all = s.init_container_statuses.iter().flatten().chain(s.container_statuses.iter().flatten());
    s.phase.as_deref() == Some("Pending")
        && all.into_iter().all(|c| {
            let waiting = c.state.as_ref().and_then(|s| s.waiting.as_ref());
            waiting.is_some_and(|w| making(w.reason.as_deref()))
        })
}

/// What an op that panicked comes to.
fn lost(op: Op, local: &Local) -> Outcome {
    let why = || "internal error; see the node agent's log".to_owned();
    let failure = || Failure { reason: "RunContainerError", message: why() };
    match op {
        Op::Mount => Outcome::Mounted(Err(why())),
        Op::CreateSandbox { .. } => Outcome::Sandbox(Err(why())),
        Op::StopSandbox { id } => Outcome::SandboxStopped(id, Err(why())),
        Op::EnsureImage { container, .. } => {
            Outcome::Image(container, Err(Failure { reason: "ErrImagePull", message: why() }))
        }
        Op::Start { container, .. } => Outcome::Started(container, None, Err(failure())),
        Op::PreStop { id, .. } => Outcome::PreStopped(id),
        Op::Stop { id, .. } => {
            let seen = local.observed.by_id(&id).cloned();
            Outcome::Stopped(id, seen, Err(why()))
        }
        Op::RemoveContainer { id } => Outcome::ContainerRemoved(id, Err(why())),
        Op::RemoveSandbox { id } => Outcome::SandboxRemoved(id, Err(why())),
        Op::Resize { id, .. } => Outcome::Resized(id, Err(why())),
        Op::Probe { id, container, kind } => {
            Outcome::Probed(id, container, kind, crate::core::probe::Answer::Error(why()))
        }
        Op::Unmount => Outcome::Unmounted(Err(why())),
        Op::DeletePod => Outcome::Deleted(Err(why())),
        Op::Clear => Outcome::Cleared(Err(why())),
    }
}

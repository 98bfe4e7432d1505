//! What the node remembers of one pod between two plans, and how outcomes change it.

use super::backoff::Backoff;
use super::observe::{PodObservation, State};
use super::ops::{Failure, KillStage, KillState, Outcome, STILL_ABSENT};
use super::probe::{Kind, ProbeState};
use super::status::Waiting;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PodStatus;
use std::collections::{BTreeMap, BTreeSet};

/// First wait before a step that failed is tried again.
const RETRY_FIRST: SignedDuration = SignedDuration::from_secs(1);
/// Longest wait before a step that failed is tried again.
const RETRY_MAX: SignedDuration = SignedDuration::from_secs(10);
/// Longest wait before a container's configuration is tried again (a ConfigMap may have come).
const CONFIG_RETRY_MAX: SignedDuration = SignedDuration::from_secs(10);
/// How often it is looked whether an image that can't be pulled has come by another way.
pub(crate) const LOOK_PERIOD: SignedDuration = SignedDuration::from_secs(5);
/// How long `ErrImagePull` shows before `ImagePullBackOff`.
pub(crate) const PULL_ERROR_SHOWN: SignedDuration = SignedDuration::from_secs(5);

/// One step that is done once, and again after a failure.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Stage {
    pub busy: bool,
    pub done: bool,
    pub retry_at: Option<Timestamp>,
    delay: SignedDuration,
}

impl Stage {
    /// Whether to begin now. Notes the time to look again otherwise.
    pub(crate) fn begin(&mut self, now: Timestamp, requeue: &mut Option<Timestamp>) -> bool {
        if self.busy || self.done {
            return false;
        }
        if let Some(at) = self.retry_at.filter(|at| *at > now) {
            sooner(requeue, at);
            return false;
        }
        self.busy = true;
        true
    }

    pub(crate) fn end(&mut self, ok: bool, now: Timestamp) {
        self.busy = false;
        self.done = ok;
        if ok {
            (self.retry_at, self.delay) = (None, SignedDuration::ZERO);
        } else {
            self.delay = if self.delay.is_zero() { RETRY_FIRST } else { (self.delay * 2).min(RETRY_MAX) };
            self.retry_at = now.saturating_add(self.delay).ok();
        }
    }
}

/// The earlier of two times.
pub(crate) fn sooner(slot: &mut Option<Timestamp>, at: Timestamp) {
    *slot = Some(slot.map_or(at, |s| s.min(at)));
}

/// How far a container's image is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Image {
    Busy,
    Ready(String),
}

/// What the node remembers of one pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Local {
    /// What the runtime says.
    pub observed: PodObservation,
    /// The API object is gone.
    pub removed: bool,
    /// A phase decided elsewhere: phase, reason, message (rejection, deadline, eviction).
    pub verdict: Option<(String, String, String)>,
    /// A grace period shorter than the pod's own (eviction).
    pub grace_override: Option<i64>,
    /// The last status made.
    pub status: Option<PodStatus>,
    pub(crate) volumes: Stage,
    pub(crate) sandbox: Stage,
    pub(crate) unmount: Stage,
    pub(crate) delete: Stage,
    pub(crate) clear: Stage,
    pub(crate) images: BTreeMap<String, Image>,
    /// Names of containers whose start is under way.
    pub(crate) starting: BTreeSet<String>,
    pub(crate) waiting: BTreeMap<String, Waiting>,
    pub(crate) crash: Backoff,
    pub(crate) told_crash: BTreeMap<String, Timestamp>,
    pub(crate) pulls: Backoff,
    pub(crate) pull_errors: BTreeMap<String, PullError>,
    pub(crate) retry: BTreeMap<String, (Timestamp, SignedDuration)>,
    pub(crate) probes: BTreeMap<(String, Kind), ProbeState>,
    pub(crate) kills: BTreeMap<String, KillState>,
    pub(crate) busy: BTreeSet<String>,
    pub(crate) retry_remove: BTreeMap<String, Timestamp>,
    pub(crate) told_sandbox: Option<u32>,
    /// CPU and memory of containers that were resized, by the runtime's identifier.
    pub(crate) resized: BTreeMap<String, String>,
    pub(crate) was_running: bool,
    pub(crate) was_resizing: bool,
    /// Why the node can't give the pod yet what it newly asks for.
    pub resize_waits: Option<String>,
}

/// The last failed pull of a container's image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PullError {
    pub at: Timestamp,
    pub text: String,
    pub told: bool,
    /// When it was last looked whether the image has come by another way.
    pub looked: Timestamp,
}

/// The key of a pull's wait.
pub(crate) fn pull_key(container: &str) -> String {
    format!("pull/{container}")
}

impl Local {
    /// For a pod that the runtime may know already.
    pub fn new(observed: PodObservation) -> Self {
        let was_running = !observed.sandboxes.is_empty();
        Self { observed, was_running, ..Self::default() }
    }

    /// Whether the node has anything of the pod, or had before this agent started.
    pub fn was_running(&self) -> bool {
        self.was_running
    }

    /// Takes in what became of an op, or what the runtime tells.
    pub fn apply(&mut self, outcome: Outcome, now: Timestamp) {
        match outcome {
            Outcome::Mounted(r) => self.volumes.end(r.is_ok(), now),
            Outcome::Unmounted(r) => self.unmount.end(r.is_ok(), now),
            Outcome::Deleted(r) => self.delete.end(r.is_ok(), now),
            Outcome::Cleared(r) => self.clear.end(r.is_ok(), now),
            Outcome::Sandbox(r) => {
                self.sandbox.end(r.is_ok(), now);
                self.sandbox.done = false;
                if let Ok(s) = r {
                    self.observed.upsert_sandbox(s);
                }
            }
            Outcome::SandboxStopped(id, r) => self.sandbox_stopped(&id, r.is_ok(), now),
            Outcome::Image(name, r) => self.image(name, r, now),
            Outcome::Started(name, seen, r) => {
                self.starting.remove(&name);
                self.images.remove(&name);
                if let Some(o) = seen {
                    self.observed.upsert_container(o);
                }
                self.start_result(name, r, now);
            }
            Outcome::PreStopped(id) => {
                if let Some(k) = self.kills.get_mut(&id).filter(|k| k.stage == KillStage::Hook) {
                    k.stage = KillStage::Turn;
                }
            }
            Outcome::Stopped(id, seen, r) => self.stopped(&id, seen, r.is_ok(), now),
            Outcome::ContainerRemoved(id, r) => self.removed_from_runtime(&id, r.is_ok(), now),
            Outcome::SandboxRemoved(id, r) => {
                self.removed_from_runtime(&id, r.is_ok(), now);
                if r.is_ok() {
                    self.observed.remove_sandbox(&id);
                }
            }
            Outcome::Resized(id, r) => {
                self.busy.remove(&id);
                if let Ok(amounts) = r {
                    self.resized.insert(id, amounts);
                } else {
                    self.retry_remove.insert(id, now.saturating_add(RETRY_MAX).unwrap_or(now));
                }
            }
            Outcome::Probed(..) => {}
            Outcome::Seen(more) => {
                more.sandboxes.into_iter().for_each(|s| self.observed.upsert_sandbox(s));
                more.containers.into_iter().for_each(|c| self.observed.upsert_container(c));
            }
            Outcome::Relisted(all) => self.relisted(all),
            Outcome::Gone(id) => self.observed.remove_container(&id),
        }
        self.forget_the_dead();
    }

    fn relisted(&mut self, all: PodObservation) {
        // While a call is under way the list may have been made before its effect.
        if self.starting.is_empty() && !self.sandbox.busy {
            self.observed.containers.retain(|c| all.by_id(&c.id).is_some());
            self.observed.sandboxes.retain(|s| all.sandboxes.iter().any(|o| o.id == s.id));
        }
        all.sandboxes.into_iter().for_each(|s| self.observed.upsert_sandbox(s));
        all.containers.into_iter().for_each(|c| self.observed.upsert_container(c));
    }

    fn sandbox_stopped(&mut self, id: &str, ok: bool, now: Timestamp) {
        self.busy.remove(id);
        if !ok {
            self.retry_remove.insert(id.to_owned(), now.saturating_add(RETRY_FIRST).unwrap_or(now));
            return;
        }
        if let Some(s) = self.observed.sandboxes.iter_mut().find(|s| s.id == id) {
            s.ready = false;
        }
    }

    fn stopped(&mut self, id: &str, seen: Option<super::observe::Observed>, ok: bool, now: Timestamp) {
        if let Some(o) = seen {
            self.observed.upsert_container(o);
        }
        let alive =
            self.observed.by_id(id).is_some_and(|o| matches!(o.state, State::Running | State::Unknown));
        if let Some(k) = self.kills.get_mut(id).filter(|_| alive || !ok) {
            k.stage = KillStage::Retry(now.saturating_add(RETRY_FIRST).unwrap_or(now));
        }
    }

    fn removed_from_runtime(&mut self, id: &str, ok: bool, now: Timestamp) {
        self.busy.remove(id);
        if ok {
            self.observed.remove_container(id);
            self.retry_remove.remove(id);
        } else {
            self.retry_remove.insert(id.to_owned(), now.saturating_add(RETRY_MAX).unwrap_or(now));
        }
    }

    fn image(&mut self, name: String, result: Result<String, Failure>, now: Timestamp) {
        match result {
            Ok(reference) => {
                self.pull_errors.remove(&name);
                self.images.insert(name, Image::Ready(reference));
            }
            Err(f) if f.reason == STILL_ABSENT => drop(self.images.remove(&name)),
            Err(f) => {
                self.images.remove(&name);
                let pulled =
                    !matches!(f.reason, "ErrImageNeverPull" | "InvalidImageName" | "ImageInspectError");
                if pulled {
                    self.pulls.next(&pull_key(&name), now, now);
                    let text = format!("{}: {}", f.reason, f.message);
                    self.pull_errors
                        .insert(name.clone(), PullError { at: now, text, told: false, looked: now });
                } else {
                    self.delay(&name, now);
                }
                self.waiting.insert(name, Waiting { reason: f.reason.to_owned(), message: f.message });
            }
        }
    }

    fn start_result(&mut self, name: String, result: Result<(), Failure>, now: Timestamp) {
        match result {
            Ok(()) => {
                self.waiting.remove(&name);
                self.retry.remove(&name);
            }
            Err(f) => {
                self.delay(&name, now);
                self.waiting.insert(name, Waiting { reason: f.reason.to_owned(), message: f.message });
            }
        }
    }

    fn delay(&mut self, name: &str, now: Timestamp) {
        let before = self.retry.get(name).map_or(SignedDuration::ZERO, |r| r.1);
        let next = if before.is_zero() { RETRY_FIRST } else { (before * 2).min(CONFIG_RETRY_MAX) };
        self.retry.insert(name.to_owned(), (now.saturating_add(next).unwrap_or(now), next));
    }

    fn forget_the_dead(&mut self) {
        let Self { observed, kills, probes, resized, .. } = self;
        let alive =
            |id: &str| observed.by_id(id).is_some_and(|o| matches!(o.state, State::Running | State::Unknown));
        kills.retain(|id, _| alive(id));
        probes.retain(|(id, _), _| alive(id));
        resized.retain(|id, _| alive(id));
    }
}

//! One pod on one node: from what is asked for, what runs and what is remembered, what to do next
//! (`syncPod` and `syncTerminatingPod` of `pkg/kubelet/kubelet.go` as one pure function).

use super::actions::{self, Actions, Kill, KillReason, Start, Verdicts};
use super::backoff::go_duration;
use super::local::{Image, LOOK_PERIOD, Local, PULL_ERROR_SHOWN, pull_key, sooner};
use super::observe::{Observed, State};
use super::ops::{KillStage, KillState, LOOK_ONLY, Note, Op, Plan};
use super::podspec::{self, Role};
use super::probe::Kind;
use super::status::{self, Health, Waiting};
use super::{images, probing, resize, restart_all, termination};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use std::collections::BTreeMap;

/// Dead containers kept for each name beside the newest, for logs and `lastState`.
const DEAD_KEPT: usize = 1;

/// What the core must know of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// Addresses of the node, the primary one first.
    pub host_ips: Vec<String>,
    /// The runtime's name: the scheme of container identifiers.
    pub runtime_name: String,
}

/// One planning round.
pub(crate) struct Round<'a> {
    pub pod: &'a Pod,
    pub local: &'a mut Local,
    pub now: Timestamp,
    pub plan: Plan,
}

/// Hash of what may not change while a container runs: its name and image (`kubecontainer.HashContainer`).
pub fn container_hash(c: &Container) -> String {
    let text = [c.name.as_str(), "\0", c.image.as_deref().unwrap_or_default()].concat();
    let fnv = |h: u32, b: u8| (h ^ u32::from(b)).wrapping_mul(0x0100_0193);
    format!("{:x}", text.bytes().fold(0x811c_9dc5, fnv))
}

/// What a container's crashes are counted by. A container with another image or other resources is another one: what
/// it was before doesn't hold it back, so a restart for a resize is none for a crash (`GetBackoffKey` of
/// `pkg/kubelet/kuberuntime`).
pub(crate) fn crash_key(c: &Container) -> String {
    let resources = serde_json::to_string(&c.resources).unwrap_or_default();
    [c.name.as_str(), c.image.as_deref().unwrap_or_default(), &resources].join("/")
}

/// What to do next for `pod`, and the status to show. Call it again after each outcome, each change of the pod,
/// and at `requeue`.
pub fn next_ops(pod: &Pod, local: &mut Local, node: &NodeView, now: Timestamp) -> Plan {
    let mut round = Round { pod, local, now, plan: Plan::default() };
    round.deadline();
    let terminal = if round.is_terminating() { termination::plan(&mut round) } else { round.sync() };
    probing::plan(&mut round);
    round.status(node, terminal);
    if terminal {
        termination::finish(&mut round);
    }
    round.plan
}

impl Round<'_> {
    /// Asks to be called again at `at`.
    pub(crate) fn requeue(&mut self, at: Timestamp) {
        sooner(&mut self.plan.requeue, at);
    }

    fn old_status(&self) -> PodStatus {
        self.local.status.clone().unwrap_or_else(|| podspec::status(self.pod).clone())
    }

    /// Whether the pod is to end: deleted, gone, decided on, or already in a terminal phase.
    pub(crate) fn is_terminating(&self) -> bool {
        let known = self.local.status.as_ref().and_then(|s| s.phase.as_deref());
        podspec::is_deleting(self.pod)
            || self.local.removed
            || self.local.verdict.is_some()
            || podspec::is_terminal(podspec::status(self.pod).phase.as_deref())
            || podspec::is_terminal(known)
    }

    fn deadline(&mut self) {
        let Some(seconds) = podspec::spec(self.pod).active_deadline_seconds else { return };
        if self.local.verdict.is_some() {
            return;
        }
        let start = self.old_status().start_time.map_or(self.now, |t| t.0);
        let Ok(end) = start.saturating_add(SignedDuration::from_secs(seconds)) else { return };
        if end > self.now {
            return self.requeue(end);
        }
        if !self.is_terminating() {
            const MESSAGE: &str = "Pod was active on the node longer than the specified deadline";
            self.plan.notes.push(Note::normal("DeadlineExceeded", MESSAGE));
            self.local.verdict = Some(("Failed".into(), "DeadlineExceeded".into(), MESSAGE.into()));
        }
    }

    /// Plans a pod that is to run. Returns whether all of it has ended for good.
    fn sync(&mut self) -> bool {
        if self.local.volumes.begin(self.now, &mut self.plan.requeue) {
            self.plan.ops.push(Op::Mount);
        }
        if restart_all::plan(self) {
            return false;
        }
        let verdicts = probing::verdicts(self.local);
        let lookup = |id: &str| verdicts.get(id).copied().unwrap_or_else(Verdicts::default);
        let todo = actions::compute(self.pod, &self.local.observed, &lookup, &container_hash);
        if todo.kill_pod {
            let ended = todo.create_sandbox.is_none();
            let clean = self.take_down(KillReason::Other);
            if ended {
                return clean;
            }
            if !clean {
                return false;
            }
        }
        for kill in &todo.kill {
            self.begin_kill(kill);
        }
        self.advance_kills();
        self.create_sandbox(&todo);
        self.starts(&todo.start);
        resize::plan(self);
        self.collect_dead();
        false
    }

    /// Kills what is alive, then stops the sandbox. Returns whether both are done.
    pub(crate) fn take_down(&mut self, reason: KillReason) -> bool {
        let alive: Vec<(String, String)> =
            self.local.observed.alive().map(|o| (o.id.clone(), o.name.clone())).collect();
        for (id, name) in &alive {
            let message = format!("Stopping container {name}");
            self.begin_kill(&Kill { id: id.clone(), name: name.clone(), message, reason });
        }
        self.advance_kills();
        if !alive.is_empty() || !self.local.starting.is_empty() || self.local.sandbox.busy {
            return false;
        }
        let up: Vec<String> =
            self.local.observed.sandboxes.iter().filter(|s| s.ready).map(|s| s.id.clone()).collect();
        for id in &up {
            if self.claim(id) {
                self.plan.ops.push(Op::StopSandbox { id: id.clone() });
            }
        }
        up.is_empty()
    }

    /// Takes the one turn that there is for removing or stopping `id`.
    pub(crate) fn claim(&mut self, id: &str) -> bool {
        if let Some(at) = self.local.retry_remove.get(id).copied().filter(|at| *at > self.now) {
            self.requeue(at);
            return false;
        }
        self.local.busy.insert(id.to_owned())
    }

    fn grace(&self, kill: &Kill) -> i64 {
        let (c, _) = podspec::find_container(self.pod, &kill.name).unzip();
        let own = match kill.reason {
            KillReason::LivenessProbe => c.and_then(|c| c.liveness_probe?.termination_grace_period_seconds),
            KillReason::StartupProbe => c.and_then(|c| c.startup_probe?.termination_grace_period_seconds),
            KillReason::RestartAll => return 0,
            KillReason::Other => None,
        };
        let spec = podspec::spec(self.pod).termination_grace_period_seconds.unwrap_or(termination::MIN_GRACE);
        let base = match self.pod.metadata.deletion_grace_period_seconds {
            Some(seconds) => seconds,
            None => own.unwrap_or(spec),
        };
        self.local.grace_override.map_or(base, |o| o.min(base))
    }

    /// Begins to kill a container, once; a shorter grace replaces a longer one.
    pub(crate) fn begin_kill(&mut self, kill: &Kill) {
        let grace = self.grace(kill);
        if let Some(k) = self.local.kills.get_mut(&kill.id) {
            k.grace = k.grace.min(grace);
            return;
        }
        let (container, role) = podspec::find_container(self.pod, &kill.name)
            .unwrap_or_else(|| (Container::default(), Role::Regular));
        self.plan.notes.push(Note::normal("Killing", kill.message.clone()).of(role, &kill.name));
        let hook = container.lifecycle.as_ref().is_some_and(|l| l.pre_stop.is_some()) && grace > 0;
        if hook {
            let (id, name) = (kill.id.clone(), kill.name.clone());
            self.plan.ops.push(Op::PreStop { id, container: name, limit: grace });
        }
        let stage = if hook { KillStage::Hook } else { KillStage::Turn };
        let (name, reason) = (kill.name.clone(), kill.reason);
        let state = KillState { name, since: self.now, grace, stage, reason };
        self.local.kills.insert(kill.id.clone(), state);
    }

    /// Moves every container on its way out as far as it may go.
    pub(crate) fn advance_kills(&mut self) {
        let ids: Vec<String> = self.local.kills.keys().cloned().collect();
        for id in ids {
            let Some(k) = self.local.kills.get(&id).cloned() else { continue };
            let end = k.since.saturating_add(SignedDuration::from_secs(k.grace)).unwrap_or(Timestamp::MAX);
            let stage = match k.stage {
                KillStage::Hook if self.now < end => {
                    self.requeue(end);
                    continue;
                }
                KillStage::Retry(at) if self.now < at => {
                    self.requeue(at);
                    continue;
                }
                KillStage::Stopping(grace) if grace <= k.grace.max(termination::MIN_GRACE) => continue,
                KillStage::Turn if self.now < end && !termination::has_turn(self, &k.name) => {
                    self.requeue(end);
                    continue;
                }
                stage => stage,
            };
            let spent = self.now.duration_since(k.since).as_secs();
            let grace = match stage {
                KillStage::Stopping(_) => k.grace,
                _ => k.grace - spent,
            };
            let grace = grace.max(termination::MIN_GRACE);
            self.plan.ops.push(Op::Stop { id: id.clone(), grace });
            if let Some(k) = self.local.kills.get_mut(&id) {
                k.stage = KillStage::Stopping(grace);
            }
        }
    }

    fn create_sandbox(&mut self, todo: &Actions) {
        let Some(attempt) = todo.create_sandbox else { return };
        if attempt > 0 && self.local.told_sandbox != Some(attempt) {
            self.local.told_sandbox = Some(attempt);
            let message = "Pod sandbox changed, it will be killed and re-created.";
            self.plan.notes.push(Note::normal("SandboxChanged", message));
        }
        if self.local.sandbox.begin(self.now, &mut self.plan.requeue) {
            self.plan.ops.push(Op::CreateSandbox { attempt });
        }
    }

    fn starts(&mut self, list: &[Start]) {
        let mut initializing = false;
        for start in list {
            let Some((container, role)) = podspec::find_container(self.pod, &start.name) else { continue };
            let gone = self.start(&container, role);
            // A container that must end before the next begins holds back all after it.
            if !gone && (role == Role::Init || initializing) {
                break;
            }
            initializing |= role == Role::Init;
        }
    }

    /// Brings one container as near to its start as it may be. Returns whether it is under way.
    fn start(&mut self, c: &Container, role: Role) -> bool {
        let latest = self.local.observed.container(&c.name).cloned();
        if latest.as_ref().is_some_and(|o| self.local.kills.contains_key(&o.id)) {
            return false;
        }
        // Made and never started, by an agent that died in between or a runtime that failed: it makes way.
        if let Some(o) = latest.as_ref().filter(|o| o.state == State::Created) {
            if !self.local.starting.contains(&c.name) && self.claim(&o.id) {
                self.plan.ops.push(Op::RemoveContainer { id: o.id.clone() });
            }
            return self.local.starting.contains(&c.name);
        }
        // Its start is already counted as the last one: it would seem to wait for the next.
        if self.local.starting.contains(&c.name) {
            return true;
        }
        if self.in_crash_backoff(c, role, latest.as_ref()) {
            return false;
        }
        let waits = self.local.retry.get(&c.name).map(|r| r.0).filter(|at| *at > self.now);
        if let Some(at) = waits {
            self.requeue(at);
            return false;
        }
        let Some(image_ref) = self.image(c, role) else { return false };
        if !self.local.starting.is_empty() || !self.local.volumes.done {
            return self.local.starting.contains(&c.name);
        }
        let Some(sandbox) = self.local.observed.ready_sandbox() else { return false };
        let (sandbox, ips) = (sandbox.id.clone(), sandbox.ips.clone());
        let restart_count = self.restart_count(c, latest.as_ref());
        if let Some(o) = latest.filter(|o| o.state == State::Exited) {
            self.local.crash.next(&crash_key(c), finished(&o), self.now);
        }
        self.local.starting.insert(c.name.clone());
        let container = c.name.clone();
        self.plan.ops.push(Op::Start { container, role, restart_count, sandbox, ips, image_ref });
        true
    }

    fn restart_count(&self, c: &Container, latest: Option<&Observed>) -> u32 {
        if let Some(o) = latest {
            return o.restart_count + 1;
        }
        let s = self.old_status();
        let lists = [&s.container_statuses, &s.init_container_statuses, &s.ephemeral_container_statuses];
        let known = lists.into_iter().flatten().flatten().find(|s| s.name == c.name);
        let ran = known.filter(|s| status::has_run(s));
        ran.map_or(0, |s| u32::try_from(s.restart_count).unwrap_or(0) + 1)
    }

    pub(crate) fn in_crash_backoff(&mut self, c: &Container, role: Role, latest: Option<&Observed>) -> bool {
        let Some(o) = latest.filter(|o| o.state == State::Exited) else { return false };
        let key = crash_key(c);
        let Some(end) = self.local.crash.until(&key, finished(o), self.now) else { return false };
        let full = podspec::full_name(self.pod);
        let delay = go_duration(self.local.crash.delay(&key));
        let message = format!("back-off {delay} restarting failed container={} pod={full}", c.name);
        self.local.waiting.insert(c.name.clone(), Waiting { reason: "CrashLoopBackOff".into(), message });
        if self.local.told_crash.insert(c.name.clone(), end) != Some(end) {
            let text = format!("Back-off restarting failed container {} in pod {full}", c.name);
            self.plan.notes.push(Note::warning("BackOff", text).of(role, &c.name));
        }
        self.requeue(end);
        true
    }

    /// The runtime's reference of the container's image once it is on the node.
    fn image(&mut self, c: &Container, role: Role) -> Option<String> {
        match self.local.images.get(&c.name) {
            Some(Image::Ready(reference)) => return Some(reference.clone()),
            Some(Image::Busy) => return None,
            None => {}
        }
        if self.local.starting.contains(&c.name) {
            return None;
        }
        let image = c.image.clone().unwrap_or_default();
        let policy = c.image_pull_policy.clone().unwrap_or_else(|| images::default_policy(&image).to_owned());
        if let Some(end) = self.local.pulls.until_since_update(&pull_key(&c.name), self.now) {
            self.pull_waits(c, role, &image, end);
            if policy != "Always" {
                self.look_for_image(c, image);
            }
            return None;
        }
        self.local.images.insert(c.name.clone(), Image::Busy);
        self.plan.ops.push(Op::EnsureImage { container: c.name.clone(), image, policy });
        None
    }

    /// Between two pulls: the image may come by another way.
    fn look_for_image(&mut self, c: &Container, image: String) {
        let Some(error) = self.local.pull_errors.get_mut(&c.name) else { return };
        let at = error.looked.saturating_add(LOOK_PERIOD).unwrap_or(self.now);
        if at > self.now {
            return self.requeue(at);
        }
        error.looked = self.now;
        self.local.images.insert(c.name.clone(), Image::Busy);
        let (container, policy) = (c.name.clone(), LOOK_ONLY.to_owned());
        self.plan.ops.push(Op::EnsureImage { container, image, policy });
    }

    /// After a failed pull: shows the error for a moment, then that it waits.
    fn pull_waits(&mut self, c: &Container, role: Role, image: &str, end: Timestamp) {
        self.requeue(end);
        let Some(error) = self.local.pull_errors.get_mut(&c.name) else { return };
        let flip = error.at.saturating_add(PULL_ERROR_SHOWN).unwrap_or(self.now);
        if flip > self.now {
            return self.requeue(flip);
        }
        let text = format!("Back-off pulling image {image:?}");
        let message = format!("{text}: {}", error.text);
        if !std::mem::replace(&mut error.told, true) {
            self.plan.notes.push(Note::normal("BackOff", text).of(role, &c.name));
            self.plan.notes.push(Note::warning("Failed", "Error: ImagePullBackOff").of(role, &c.name));
        }
        self.local.waiting.insert(c.name.clone(), Waiting { reason: "ImagePullBackOff".into(), message });
    }

    /// Removes dead containers of which newer ones tell enough, and sandboxes that held only those.
    fn collect_dead(&mut self) {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let mut surplus = Vec::new();
        for o in &self.local.observed.containers {
            let n = seen.entry(o.name.as_str()).or_default();
            *n += 1;
            if *n > DEAD_KEPT + 1 && matches!(o.state, State::Exited | State::Created) {
                surplus.push(o.id.clone());
            }
        }
        for id in surplus {
            if self.claim(&id) {
                self.plan.ops.push(Op::RemoveContainer { id });
            }
        }
        let boxes = &self.local.observed.sandboxes;
        let holds = |from: i64, to: i64| {
            self.local.observed.containers.iter().any(|c| c.created_at >= from && c.created_at < to)
        };
        let empty: Vec<String> = boxes
            .windows(2)
            .filter(|w| !w[1].ready && !holds(w[1].created_at, w[0].created_at))
            .map(|w| w[1].id.clone())
            .collect();
        for id in empty {
            if self.claim(&id) {
                self.plan.ops.push(Op::RemoveSandbox { id });
            }
        }
    }

    fn health(&self) -> BTreeMap<String, Health> {
        let mut out: BTreeMap<String, Health> = BTreeMap::new();
        for ((id, kind), p) in &self.local.probes {
            let h = out.entry(id.clone()).or_insert(Health { started: true, ready: true });
            match kind {
                Kind::Startup => h.started = p.passing == Some(true),
                Kind::Readiness => h.ready = p.passing == Some(true),
                Kind::Liveness => {}
            }
        }
        out
    }

    fn status(&mut self, node: &NodeView, terminal: bool) {
        let old = self.old_status();
        let health = self.health();
        let resizing = resize::pending(self);
        resize::tell_end(self, &resizing);
        // A phase decided elsewhere shows only when nothing runs any more.
        let quiet = self.local.observed.alive().next().is_none() && self.local.starting.is_empty();
        let inputs = status::Inputs {
            pod: self.pod,
            observed: &self.local.observed,
            old: &old,
            waiting: &self.local.waiting,
            starting: &self.local.starting,
            resizing: &resizing,
            resize_waits: self.local.resize_waits.as_deref(),
            health: &health,
            volumes_ready: self.local.volumes.done || self.local.was_running(),
            terminal,
            verdict: self.local.verdict.as_ref().filter(|_| quiet),
            host_ips: &node.host_ips,
            runtime_name: &node.runtime_name,
            now: self.now,
        };
        let status = status::generate(&inputs);
        self.local.status = Some(status.clone());
        self.plan.status = status;
    }
}

/// When a container ended.
pub(crate) fn finished(o: &Observed) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(o.finished_at)).unwrap_or(Timestamp::UNIX_EPOCH)
}

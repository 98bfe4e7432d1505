//! What to do next for the containers of a pod, from its spec and what runs (`computePodActions` and
//! `computeInitContainerActions` of `pkg/kubelet/kuberuntime`).

use super::observe::{Observed, PodObservation, Sandbox, State};
use super::podspec::{self, Role};
use super::restart;
use k8s_openapi::api::core::v1::{Container, Pod};

/// Why a container is killed; decides its grace period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KillReason {
    /// The pod ends, or the definition changed.
    #[default]
    Other,
    /// Its startup probe failed.
    StartupProbe,
    /// Its liveness probe failed.
    LivenessProbe,
    /// Another container's end starts the pod over.
    RestartAll,
}

/// A container to be killed.
#[derive(Clone, Debug, PartialEq)]
pub struct Kill {
    /// The runtime's identifier.
    pub id: String,
    /// The container's name.
    pub name: String,
    /// The event's message.
    pub message: String,
    /// Why.
    pub reason: KillReason,
}

/// A container to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The container's name.
    pub name: String,
    /// Its part in the pod.
    pub role: Role,
}

/// What the probes of a running container say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Of the startup probe; none while it is open.
    pub startup: Option<bool>,
    /// Of the liveness probe; none while it is open.
    pub liveness: Option<bool>,
}

/// What to do next.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Actions {
    /// Stop everything and the sandbox.
    pub kill_pod: bool,
    /// Make a sandbox, as this attempt.
    pub create_sandbox: Option<u32>,
    /// In this order.
    pub start: Vec<Start>,
    /// In any order.
    pub kill: Vec<Kill>,
}

/// Whether the pod needs a new sandbox, and as which attempt (`runtimeutil.PodSandboxChanged`).
pub fn sandbox_changed(pod: &Pod, observed: &PodObservation) -> Option<u32> {
    let Some(newest) = observed.sandbox() else { return Some(0) };
    let ready = observed.sandboxes.iter().filter(|s| s.ready).count();
    let no_address = |s: &Sandbox| s.ips.is_empty() && !podspec::host_network(pod);
    let changed = ready > 1 || !newest.ready || no_address(newest);
    changed.then(|| newest.attempt + 1)
}

struct Planner<'a> {
    pod: &'a Pod,
    observed: &'a PodObservation,
    verdicts: &'a dyn Fn(&str) -> Verdicts,
    hash: &'a dyn Fn(&Container) -> String,
    out: Actions,
}

/// What to do next for a pod that is to run.
pub fn compute(
    pod: &Pod,
    observed: &PodObservation,
    verdicts: &dyn Fn(&str) -> Verdicts,
    hash: &dyn Fn(&Container) -> String,
) -> Actions {
    let mut p = Planner { pod, observed, verdicts, hash, out: Actions::default() };
    match sandbox_changed(pod, observed) {
        Some(attempt) => p.new_sandbox(attempt),
        None => p.keep_sandbox(),
    }
    p.out
}

fn start(c: &Container, role: Role) -> Start {
    Start { name: c.name.clone(), role }
}

impl Planner<'_> {
    fn new_sandbox(&mut self, attempt: u32) {
        self.out.kill_pod = true;
        let none_restart =
            podspec::containers(self.pod).iter().all(|c| restart::policy(self.pod, c) == "Never");
        if none_restart && attempt != 0 && !self.observed.containers.is_empty() {
            return;
        }
        let done = |c: &&Container| {
            let once = restart::policy(self.pod, c) == "OnFailure";
            let ended = |o: &Observed| o.state == State::Exited && o.exit_code == 0;
            once && self.observed.container(&c.name).is_some_and(ended)
        };
        let regular: Vec<Start> = podspec::containers(self.pod)
            .iter()
            .filter(|c| !done(c))
            .map(|c| start(c, Role::Regular))
            .collect();
        let created = |c: &Container| self.observed.container(&c.name).is_some();
        if regular.is_empty() && podspec::containers(self.pod).iter().any(created) {
            return;
        }
        self.out.create_sandbox = Some(attempt);
        self.out.start = match podspec::init_containers(self.pod).first() {
            Some(first) => vec![start(first, podspec::init_role(first))],
            None => regular,
        };
    }

    fn keep_sandbox(&mut self) {
        for e in podspec::ephemeral_containers(self.pod) {
            if self.observed.container(&e.name).is_none() {
                self.out.start.push(Start { name: e.name.clone(), role: Role::Ephemeral });
            }
        }
        let before = self.out.start.len();
        if !self.init_containers() || self.out.kill_pod {
            return;
        }
        let mut kept = 0;
        let mut started = 0;
        for c in podspec::containers(self.pod) {
            match self.regular(c) {
                Fate::Keep => kept += 1,
                Fate::Start => started += 1,
                Fate::Leave => {}
            }
        }
        if kept == 0 && started == 0 {
            self.out.kill_pod = true;
            self.out.start.truncate(before);
        }
    }

    fn regular(&mut self, c: &Container) -> Fate {
        let status = self.observed.container(&c.name);
        let Some(o) = status.filter(|o| o.state == State::Running) else {
            if !restart::should_start(self.pod, c, self.observed) {
                return Fate::Leave;
            }
            if let Some(o) = status.filter(|o| o.state == State::Unknown) {
                let message = "Container is in \"unknown\" state, try killing it before restart".to_owned();
                self.kill(o, message, KillReason::Other);
            }
            self.out.start.push(start(c, Role::Regular));
            return Fate::Start;
        };
        let verdicts = (self.verdicts)(&o.id);
        let mut again = restart::after_kill(self.pod, c);
        let (mut message, reason) = if self.changed(c, o) {
            again = true;
            (format!("Container {} definition changed", c.name), KillReason::Other)
        } else if verdicts.liveness == Some(false) {
            (format!("Container {} failed liveness probe", c.name), KillReason::LivenessProbe)
        } else if verdicts.startup == Some(false) {
            (format!("Container {} failed startup probe", c.name), KillReason::StartupProbe)
        } else {
            return Fate::Keep;
        };
        if again {
            message.push_str(", will be restarted");
            self.out.start.push(start(c, Role::Regular));
        }
        self.kill(o, message, reason);
        if again { Fate::Start } else { Fate::Leave }
    }

    fn changed(&self, c: &Container, o: &Observed) -> bool {
        !o.hash.is_empty() && o.hash != (self.hash)(c)
    }

    fn kill(&mut self, o: &Observed, message: String, reason: KillReason) {
        self.out.kill.push(Kill { id: o.id.clone(), name: o.name.clone(), message, reason });
    }

    /// Plans the init containers, the last one first; returns whether all of them have passed.
    fn init_containers(&mut self) -> bool {
        let list = podspec::init_containers(self.pod);
        if list.is_empty() {
            return true;
        }
        let began = |c: &Container| {
            self.observed
                .container(&c.name)
                .is_some_and(|o| matches!(o.state, State::Created | State::Running))
        };
        let mut previously = podspec::containers(self.pod).iter().any(began);
        let mut passed = previously;
        let mut starts = Vec::new();
        for (i, c) in list.iter().enumerate().rev() {
            let sidecar = podspec::is_sidecar(c);
            let Some(o) = self.observed.container(&c.name).filter(|o| self.observed.is_active(o)) else {
                if previously && sidecar {
                    starts.push(i);
                }
                continue;
            };
            if previously && !sidecar {
                continue;
            }
            match self.init_container(i, c, o, previously, &mut starts) {
                Init::Passed => passed |= i == list.len() - 1,
                Init::Waits => {}
                Init::Fatal => {
                    self.out.kill_pod = true;
                    return false;
                }
            }
            // Whatever stands before it has had its turn.
            previously = true;
        }
        if !previously {
            starts.push(0);
        }
        starts.reverse();
        starts.dedup();
        self.out.start.extend(starts.into_iter().map(|i| start(&list[i], podspec::init_role(&list[i]))));
        passed
    }

    fn init_container(
        &mut self,
        i: usize,
        c: &Container,
        o: &Observed,
        previously: bool,
        starts: &mut Vec<usize>,
    ) -> Init {
        let sidecar = podspec::is_sidecar(c);
        let last = podspec::init_containers(self.pod).len() - 1;
        match o.state {
            State::Created => {
                starts.push(i);
                Init::Waits
            }
            State::Running if !sidecar => Init::Waits,
            State::Running => self.running_sidecar(i, c, o, previously, starts),
            State::Exited if sidecar => {
                starts.push(i);
                Init::Waits
            }
            State::Exited if o.exit_code == 0 => {
                if i < last {
                    starts.push(i + 1);
                }
                Init::Passed
            }
            State::Exited if !restart::after_exit(self.pod, c, o.exit_code) => Init::Fatal,
            State::Exited => {
                starts.push(i);
                Init::Waits
            }
            State::Unknown if !sidecar && !restart::after_kill(self.pod, c) => Init::Fatal,
            State::Unknown => {
                let message =
                    "Init container is in \"unknown\" state, try killing it before restart".to_owned();
                self.kill(o, message, KillReason::Other);
                starts.push(i);
                Init::Waits
            }
        }
    }

    fn running_sidecar(
        &mut self,
        i: usize,
        c: &Container,
        o: &Observed,
        previously: bool,
        starts: &mut Vec<usize>,
    ) -> Init {
        let verdicts = (self.verdicts)(&o.id);
        if c.startup_probe.is_some() && verdicts.startup != Some(true) {
            if verdicts.startup == Some(false) {
                self.kill(
                    o,
                    format!("Init container {} failed startup probe", c.name),
                    KillReason::StartupProbe,
                );
                starts.push(i);
            }
            return Init::Waits;
        }
        if i + 1 < podspec::init_containers(self.pod).len() && !previously {
            starts.push(i + 1);
        }
        if self.changed(c, o) {
            self.kill(o, format!("Init container {} definition changed", c.name), KillReason::Other);
            starts.push(i);
        } else if verdicts.liveness == Some(false) {
            self.kill(
                o,
                format!("Init container {} failed liveness probe", c.name),
                KillReason::LivenessProbe,
            );
            starts.push(i);
        }
        Init::Passed
    }
}

enum Fate {
    Keep,
    Start,
    Leave,
}

enum Init {
    Passed,
    Waits,
    Fatal,
}

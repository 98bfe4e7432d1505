//! The status of a pod as the API shows it, from what the runtime says (`convertStatusToAPIStatus` and
//! `generateAPIPodStatus` of `pkg/kubelet/kubelet_pods.go`).

use super::conditions::{self, Facts};
use super::observe::{Observed, PodObservation, State};
use super::{phase, podspec, qos, restart, restart_all};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, ContainerUser, HostIP, LinuxContainerUser, Pod, PodIP, PodStatus, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::{BTreeMap, BTreeSet};

/// Exit code shown for a container of which nothing is known but that it is gone.
const EXIT_CODE_UNKNOWN: i32 = 137;

/// Why a container waits: the reason (a word such as `ErrImagePull`) and its message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// One word.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Started and ready, as the probes say, of one container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Past its startup probe.
    pub started: bool,
    /// Passes its readiness probe.
    pub ready: bool,
}

/// All that a status follows from.
pub struct Inputs<'a> {
    /// The pod as the API has it.
    pub pod: &'a Pod,
    /// What the runtime says.
    pub observed: &'a PodObservation,
    /// The last status that this node made, or the API's.
    pub old: &'a PodStatus,
    /// Containers that could not be started, by name.
    pub waiting: &'a BTreeMap<String, Waiting>,
    /// Names of containers whose start is under way (a `postStart` hook may still run).
    pub starting: &'a BTreeSet<String>,
    /// Identifiers of containers that do not have yet what the spec says of CPU and memory.
    pub resizing: &'a BTreeSet<String>,
    /// Why the node can't give them yet what they newly ask for.
    pub resize_waits: Option<&'a str>,
    /// What the probes say, by the runtime's identifier; absent means no probe stands in the way.
    pub health: &'a BTreeMap<String, Health>,
    /// Volumes are mounted.
    pub volumes_ready: bool,
    /// Nothing of the pod runs or will run any more.
    pub terminal: bool,
    /// A phase decided elsewhere (eviction, deadline, rejection): phase, reason, message.
    pub verdict: Option<&'a (String, String, String)>,
    /// Addresses of the node.
    pub host_ips: &'a [String],
    /// `containerd`, `ironclad`, ...: the scheme of container identifiers.
    pub runtime_name: &'a str,
    /// The present.
    pub now: Timestamp,
}

/// A time in nanoseconds since the epoch as the API writes it; none for 0.
pub fn time(nanos: i64) -> Option<Time> {
    if nanos <= 0 {
        return None;
    }
    Timestamp::from_second(nanos.div_euclid(1_000_000_000)).ok().map(Time)
}

fn text(s: &str) -> Option<String> {
    if s.is_empty() { None } else { Some(s.to_owned()) }
}

fn waiting_state(reason: &str, message: &str) -> ContainerState {
    let waiting = Some(ContainerStateWaiting { reason: text(reason), message: text(message) });
    ContainerState { waiting, ..ContainerState::default() }
}

fn terminated_state(t: ContainerStateTerminated) -> ContainerState {
    ContainerState { terminated: Some(t), ..ContainerState::default() }
}

fn is_running(s: &ContainerStatus) -> bool {
    s.state.as_ref().is_some_and(|s| s.running.is_some())
}

fn terminated(s: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    s.state.as_ref()?.terminated.as_ref()
}

fn last_terminated(s: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    s.last_state.as_ref()?.terminated.as_ref()
}

impl Inputs<'_> {
    fn visible(&self) -> impl Iterator<Item = &Observed> {
        self.observed
            .containers
            .iter()
            .filter(|c| !(c.state < State::Exited && self.starting.contains(&c.name)))
    }

    fn mounts(&self, c: &Container) -> Option<Vec<VolumeMountStatus>> {
        let mounts = c.volume_mounts.as_deref().unwrap_or_default();
        if mounts.is_empty() {
            return None;
        }
        let one = |m: &k8s_openapi::api::core::v1::VolumeMount| VolumeMountStatus {
            name: m.name.clone(),
            mount_path: m.mount_path.clone(),
            read_only: m.read_only.filter(|r| *r),
            recursive_read_only: (m.read_only == Some(true)).then(|| {
                match m.recursive_read_only.as_deref() {
                    Some("Enabled" | "IfPossible") => "Enabled".to_owned(),
                    _ => "Disabled".to_owned(),
                }
            }),
            ..VolumeMountStatus::default()
        };
        Some(mounts.iter().map(one).collect())
    }

    fn shown(&self, c: &Container, o: &Observed, old: Option<&ContainerStatus>) -> ContainerStatus {
        let id = format!("{}://{}", self.runtime_name, o.id);
        let mut s = ContainerStatus {
            name: o.name.clone(),
            restart_count: i32::try_from(o.restart_count).unwrap_or(i32::MAX),
            image: if o.image.is_empty() { c.image.clone().unwrap_or_default() } else { o.image.clone() },
            image_id: o.image_ref.clone(),
            container_id: Some(id.clone()),
            volume_mounts: self.mounts(c),
            resources: match self.resizing.contains(&o.id) {
                true => old.and_then(|s| s.resources.clone()),
                false => c.resources.clone(),
            },
            allocated_resources: c.resources.as_ref().and_then(|r| r.requests.clone()),
            user: o.user.as_ref().map(|(uid, gid, groups)| ContainerUser {
                linux: Some(LinuxContainerUser {
                    uid: *uid,
                    gid: *gid,
                    supplemental_groups: Some(groups.clone()).filter(|g| !g.is_empty()),
                }),
            }),
            ..ContainerStatus::default()
        };
        s.state = Some(match o.state {
            State::Running => ContainerState {
                running: Some(ContainerStateRunning { started_at: time(o.started_at) }),
                ..ContainerState::default()
            },
            State::Exited => terminated_state(ContainerStateTerminated {
                exit_code: o.exit_code,
                reason: text(&o.reason),
                message: text(&o.message),
                // What never started did so at the beginning of all time, as upstream's kubelet tells it.
                started_at: time(o.started_at).or(Some(Time(Timestamp::UNIX_EPOCH))),
                finished_at: time(o.finished_at),
                container_id: Some(id),
                ..ContainerStateTerminated::default()
            }),
            State::Unknown if old.is_some_and(is_running) => {
                s.restart_count = old.map_or(0, |o| o.restart_count) + 1;
                terminated_state(lost("The container could not be located when the pod was terminated"))
            }
            State::Created | State::Unknown => waiting_state("", ""),
        });
        s
    }

    /// What a container shows before the runtime knows it.
    fn blank(&self, c: &Container, old: Option<&ContainerStatus>) -> ContainerStatus {
        let reason = if podspec::init_containers(self.pod).is_empty() {
            "ContainerCreating"
        } else {
            "PodInitializing"
        };
        let mut s = ContainerStatus {
            name: c.name.clone(),
            image: c.image.clone().unwrap_or_default(),
            state: Some(waiting_state(reason, "")),
            volume_mounts: self.mounts(c),
            ..ContainerStatus::default()
        };
        let Some(old) = old else { return s };
        if terminated(old).is_some() {
            return old.clone();
        }
        s.restart_count = old.restart_count;
        s.last_state = old.last_state.clone();
        if is_running(old) && last_terminated(old).is_none() && self.observed.container(&c.name).is_none() {
            let gone = lost(
                "The container could not be located when the pod was deleted.  The container used to be Running",
            );
            s.last_state = Some(terminated_state(gone));
            s.restart_count += i32::from(!podspec::is_deleting(self.pod));
        }
        s
    }

    fn container(&self, c: &Container, old: &[ContainerStatus]) -> ContainerStatus {
        let old = old.iter().find(|o| o.name == c.name);
        let mut seen = self.visible().filter(|o| o.name == c.name);
        let Some(newest) = seen.next() else { return self.blank(c, old) };
        let mut s = self.shown(c, newest, old);
        s.last_state = match seen.next() {
            Some(before) => self.shown(c, before, None).state,
            None => old.and_then(|old| {
                let same = old.container_id == s.container_id;
                if same {
                    old.last_state.clone()
                } else {
                    // While it waited for its turn with nothing of it left, the end before was its last.
                    let ended = old.state.clone().filter(|s| s.terminated.is_some());
                    ended.or_else(|| old.last_state.clone().filter(|_| !is_running(old)))
                }
            }),
        };
        s.last_state = s.last_state.filter(|l| l.terminated.is_some());
        s
    }

    fn init_shortcut(&self, c: &Container, s: &mut ContainerStatus) -> bool {
        match self.observed.container(&c.name) {
            Some(o) => o.state == State::Exited && o.exit_code == 0 && !podspec::is_sidecar(c),
            None => {
                let regular = |o: &Observed| podspec::containers(self.pod).iter().any(|r| r.name == o.name);
                let passed = self.observed.containers.iter().any(regular);
                let waits = s.state.as_ref().is_some_and(|s| s.waiting.is_some());
                if passed && waits && !podspec::is_sidecar(c) {
                    s.state = Some(terminated_state(ContainerStateTerminated {
                        reason: Some("Completed".to_owned()),
                        message: Some(
                            "Unable to get init container status from container runtime and pod has been \
                             initialized, treat it as exited normally"
                                .to_owned(),
                        ),
                        ..ContainerStateTerminated::default()
                    }));
                    return true;
                }
                false
            }
        }
    }

    fn apply_waiting(&self, c: &Container, s: &mut ContainerStatus) {
        if !restart::should_start(self.pod, c, self.observed) {
            return;
        }
        let Some(w) = self.waiting.get(&c.name) else { return };
        if let Some(state) = s.state.take().filter(|s| s.terminated.is_some()) {
            s.last_state = Some(state);
        }
        s.state = Some(waiting_state(&w.reason, &w.message));
    }

    fn apply_health(&self, c: &Container, is_init: bool, s: &mut ContainerStatus) {
        let running = is_running(s);
        let id = s.container_id.as_deref().and_then(|id| id.split_once("://")).map(|(_, id)| id.to_owned());
        let health = id.and_then(|id| self.health.get(&id).copied());
        let health = health.unwrap_or(Health { started: true, ready: true });
        s.started = Some(running && health.started);
        s.ready = match is_init && !podspec::is_sidecar(c) {
            true => terminated(s).is_some_and(|t| t.exit_code == 0),
            false => running && health.started && health.ready,
        };
    }

    fn list(
        &self,
        specs: &[Container],
        old: Option<&Vec<ContainerStatus>>,
        is_init: bool,
    ) -> Vec<ContainerStatus> {
        let old = old.map(Vec::as_slice).unwrap_or_default();
        let one = |c: &Container| {
            let mut s = self.container(c, old);
            if !(is_init && self.init_shortcut(c, &mut s)) {
                self.apply_waiting(c, &mut s);
            }
            self.apply_health(c, is_init, &mut s);
            s
        };
        specs.iter().map(one).collect()
    }

    fn addresses(&self, s: &mut PodStatus) {
        let primary = self.host_ips.first().cloned();
        s.host_ips = Some(self.host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect());
        s.host_ip = primary.clone();
        let ips: Vec<String> = match podspec::host_network(self.pod) {
            true => self.host_ips.to_vec(),
            false => self.observed.sandbox().map(|s| s.ips.clone()).unwrap_or_default(),
        };
        if ips.is_empty() {
            s.pod_ip = self.old.pod_ip.clone().filter(|_| self.terminal);
            s.pod_ips = self.old.pod_ips.clone().filter(|_| self.terminal);
            return;
        }
        s.pod_ip = ips.first().cloned();
        s.pod_ips = Some(ips.into_iter().map(|ip| PodIP { ip }).collect());
    }

    /// Whether the pod starts over; none where no rule of it could make it.
    fn starting_over(&self) -> Option<bool> {
        let begun = self
            .old
            .conditions
            .iter()
            .flatten()
            .any(|c| c.type_ == restart_all::CONDITION && c.status == "True");
        restart_all::is_possible(self.pod)
            .then(|| !self.terminal && restart_all::is_under_way(self.pod, self.observed, begun))
    }

    /// Whether the node refused the pod: of containers that it never looked at it tells nothing (`rejectPod`).
    fn never_began(&self, s: &PodStatus) -> bool {
        podspec::is_terminal(s.phase.as_deref())
            && self.observed.sandboxes.is_empty()
            && self.observed.containers.is_empty()
            && self.old.container_statuses.is_none()
    }

    fn verdict_phase(&self, s: &mut PodStatus, computed: &str) {
        let api = podspec::status(self.pod);
        let mut phase = computed.to_owned();
        for old in [self.old.phase.as_deref(), api.phase.as_deref()] {
            if podspec::is_terminal(old) && !podspec::is_terminal(Some(&phase)) {
                phase = old.unwrap_or_default().to_owned();
            }
        }
        if self.old.phase.as_deref() == Some(phase.as_str()) {
            s.reason = self.old.reason.clone().or_else(|| api.reason.clone());
            s.message = self.old.message.clone().or_else(|| api.message.clone());
        }
        if let Some((p, reason, message)) = self.verdict {
            (phase, s.reason, s.message) = (p.clone(), text(reason), text(message));
        }
        if let Some(p) = api.phase.as_deref().filter(|p| podspec::is_terminal(Some(p))) {
            phase = p.to_owned();
        }
        s.phase = Some(phase);
    }
}

/// The end of a pod: what never told how it ended counts as failed, and so does a pod of which that can't be said
/// (`TerminatePod` of `pkg/kubelet/status`).
fn close(pod: &Pod, s: &mut PodStatus) {
    let end = |c: &mut ContainerStatus| {
        if terminated(c).is_none() {
            c.state = Some(terminated_state(lost(
                "The container could not be located when the pod was terminated",
            )));
        }
    };
    let regular = s.container_statuses.get_or_insert_default();
    let init = s.init_container_statuses.as_deref().unwrap_or_default();
    let moved = |c: &ContainerStatus| {
        last_terminated(c).is_some() || c.state.as_ref().is_some_and(|s| s.waiting.is_none())
    };
    let last_passed = || {
        let (c, s) = podspec::init_containers(pod).last().zip(init.last())?;
        let ended = [terminated(s), last_terminated(s)].into_iter().flatten().any(|t| t.exit_code == 0);
        Some(if podspec::is_sidecar(c) { is_running(s) && s.started == Some(true) } else { ended })
    };
    if init.is_empty() || regular.iter().any(moved) || last_passed() == Some(true) {
        regular.iter_mut().for_each(end);
    }
    // All but those at the end that were never begun, and always the first.
    let begun = init.iter().rposition(moved).map_or(1, |i| i + 1);
    s.init_container_statuses.iter_mut().flatten().take(begun).for_each(end);
    if !podspec::is_terminal(s.phase.as_deref()) {
        s.phase = Some("Failed".to_owned());
    }
}

/// Whether a container has ever been started, as its status tells.
pub(crate) fn has_run(s: &ContainerStatus) -> bool {
    is_running(s) || terminated(s).is_some() || last_terminated(s).is_some()
}

fn lost(message: &str) -> ContainerStateTerminated {
    ContainerStateTerminated {
        reason: Some("ContainerStatusUnknown".to_owned()),
        message: Some(message.to_owned()),
        exit_code: EXIT_CODE_UNKNOWN,
        ..ContainerStateTerminated::default()
    }
}

/// The status of a pod.
pub fn generate(i: &Inputs<'_>) -> PodStatus {
    let pod = i.pod;
    let ephemeral: Vec<Container> =
        podspec::ephemeral_containers(pod).iter().map(podspec::as_container).collect();
    let mut s = PodStatus {
        qos_class: Some(qos::class(pod).to_owned()),
        observed_generation: pod.metadata.generation,
        container_statuses: Some(i.list(podspec::containers(pod), i.old.container_statuses.as_ref(), false)),
        start_time: i.old.start_time.clone().or_else(|| podspec::status(pod).start_time.clone()),
        ..PodStatus::default()
    };
    if !podspec::init_containers(pod).is_empty() {
        let old = i.old.init_container_statuses.as_ref();
        s.init_container_statuses = Some(i.list(podspec::init_containers(pod), old, true));
    }
    if !ephemeral.is_empty() {
        let old = i.old.ephemeral_container_statuses.as_ref();
        let mut list = i.list(&ephemeral, old, false);
        // Neither started nor ready is said of containers without probes of their own kind.
        list.iter_mut().for_each(|c| (c.started, c.ready) = (None, false));
        s.ephemeral_container_statuses = Some(list);
    }
    s.start_time.get_or_insert(Time(conditions::whole_second(i.now)));
    let init = s.init_container_statuses.iter().flatten();
    let all: Vec<ContainerStatus> = init.chain(s.container_statuses.iter().flatten()).cloned().collect();
    let regular = |o: &&Observed| podspec::containers(pod).iter().any(|c| c.name == o.name);
    let initialized =
        i.visible().filter(regular).any(|o| i.observed.is_active(o) && o.state >= State::Running);
    let runs_again = |name: &str| !i.terminal && restart_all::runs_again(pod, i.observed, name);
    let computed = phase::phase(pod, &all, i.terminal, initialized, &runs_again);
    i.verdict_phase(&mut s, computed);
    i.addresses(&mut s);
    let refused = i.never_began(&s);
    if i.terminal && !refused {
        close(pod, &mut s);
    }
    let ready_to_start = i.volumes_ready
        && i.observed.ready_sandbox().is_some_and(|s| podspec::host_network(pod) || !s.ips.is_empty());
    let facts = Facts {
        all: &all,
        phase: s.phase.as_deref().unwrap_or_default(),
        ready_to_start,
        old: i.old,
        resizing: !i.resizing.is_empty(),
        resize_waits: i.resize_waits,
        starting_over: i.starting_over(),
        now: i.now,
    };
    s.conditions = Some(conditions::conditions(pod, &facts));
    if refused {
        (s.container_statuses, s.init_container_statuses, s.ephemeral_container_statuses) =
            (None, None, None);
        (s.host_ip, s.host_ips) = (None, None);
        s.conditions = i.old.conditions.clone();
    }
    s
}

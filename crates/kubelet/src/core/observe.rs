//! What the container runtime says of one pod: its sandboxes and containers, newest first.

use cri::{ContainerState as CriState, ContainerStatus, PodSandboxState, PodSandboxStatus};

/// Label of sandboxes and containers: the pod's name (`pkg/kubelet/types/labels.go`).
pub const POD_NAME_LABEL: &str = "io.kubernetes.pod.name";
/// Label of sandboxes and containers: the pod's namespace.
pub const POD_NAMESPACE_LABEL: &str = "io.kubernetes.pod.namespace";
/// Label of sandboxes and containers: the pod's UID.
pub const POD_UID_LABEL: &str = "io.kubernetes.pod.uid";
/// Label of containers: the container's name.
pub const CONTAINER_NAME_LABEL: &str = "io.kubernetes.container.name";
/// Annotation of containers: how often the container was restarted before.
pub const RESTART_COUNT_ANNOTATION: &str = "io.kubernetes.container.restartCount";
/// Annotation of containers: hash of what may not change while it runs.
pub const HASH_ANNOTATION: &str = "io.kubernetes.container.hash";
/// Annotation of containers: the CPU and memory that it was made with.
pub const AMOUNTS_ANNOTATION: &str = "io.kubernetes.container.resources";
/// Annotation of containers: where the container writes its last words.
pub const TERMINATION_PATH_ANNOTATION: &str = "io.kubernetes.container.terminationMessagePath";
/// Annotation of containers: whether its log may stand in for them.
pub const TERMINATION_POLICY_ANNOTATION: &str = "io.kubernetes.container.terminationMessagePolicy";

/// The state of an observed container, in the order in which it is passed through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Made, not started.
    #[default]
    Created,
    /// Started and alive.
    Running,
    /// Ended.
    Exited,
    /// The runtime can't tell.
    Unknown,
}

/// One sandbox of a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sandbox {
    /// The runtime's identifier.
    pub id: String,
    /// Which try this is.
    pub attempt: u32,
    /// Whether it is up.
    pub ready: bool,
    /// Nanoseconds since the epoch.
    pub created_at: i64,
    /// Addresses, the primary one first; none for pods in the node's network.
    pub ips: Vec<String>,
}

/// One container of a pod, running or dead.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// The runtime's identifier.
    pub id: String,
    /// The container's name in the pod.
    pub name: String,
    /// How many came before it.
    pub restart_count: u32,
    /// What it does.
    pub state: State,
    /// Nanoseconds since the epoch.
    pub created_at: i64,
    /// Nanoseconds since the epoch; 0 before the start.
    pub started_at: i64,
    /// Nanoseconds since the epoch; 0 before the end.
    pub finished_at: i64,
    /// Exit code, once ended.
    pub exit_code: i32,
    /// `Completed`, `Error`, `OOMKilled`, ..., as the runtime says.
    pub reason: String,
    /// The runtime's message, or the container's last words.
    pub message: String,
    /// The image by the name that the runtime resolved.
    pub image: String,
    /// The image by digest: what `imageID` in the status shows.
    pub image_ref: String,
    /// Hash of the container's spec at its creation; empty when unknown.
    pub hash: String,
    /// CPU and memory at its creation; empty when unknown.
    pub amounts: String,
    /// The user that it runs as, when the runtime says: uid, gid, supplemental groups.
    pub user: Option<(i64, i64, Vec<i64>)>,
}

/// All that is known of a pod in the runtime.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodObservation {
    /// Newest first.
    pub sandboxes: Vec<Sandbox>,
    /// Newest first.
    pub containers: Vec<Observed>,
}

impl Sandbox {
    /// From the runtime's answer.
    pub fn from_cri(s: &PodSandboxStatus) -> Self {
        let network = s.network.as_ref();
        let primary = network.map(|n| n.ip.clone()).filter(|ip| !ip.is_empty());
        let more = network.into_iter().flat_map(|n| n.additional_ips.iter().map(|a| a.ip.clone()));
        Self {
            id: s.id.clone(),
            attempt: s.metadata.as_ref().map_or(0, |m| m.attempt),
            ready: s.state == PodSandboxState::SandboxReady as i32,
            created_at: s.created_at,
            ips: primary.into_iter().chain(more).collect(),
        }
    }
}

impl Observed {
    /// From the runtime's answer; none where it is no container of a pod.
    pub fn from_cri(s: &ContainerStatus) -> Option<Self> {
        let meta = s.metadata.as_ref();
        let name = s.labels.get(CONTAINER_NAME_LABEL).cloned().or_else(|| meta.map(|m| m.name.clone()))?;
        let attempt = meta.map_or(0, |m| m.attempt);
        let count = s.annotations.get(RESTART_COUNT_ANNOTATION).and_then(|n| n.parse().ok());
        let user = s.user.as_ref().and_then(|u| u.linux.as_ref());
        let spec = s.image.as_ref();
        let asked = spec.map(|i| i.user_specified_image.clone()).filter(|i| !i.is_empty());
        Some(Self {
            id: s.id.clone(),
            name,
            restart_count: count.unwrap_or(attempt),
            state: state_from_cri(s.state),
            created_at: s.created_at,
            started_at: s.started_at,
            finished_at: s.finished_at,
            exit_code: s.exit_code,
            reason: s.reason.clone(),
            message: s.message.clone(),
            image: spec
                .map(|i| i.image.clone())
                .filter(|i| !i.starts_with("sha256:"))
                .or(asked)
                .unwrap_or_default(),
            image_ref: s.image_ref.clone(),
            hash: s.annotations.get(HASH_ANNOTATION).cloned().unwrap_or_default(),
            amounts: s.annotations.get(AMOUNTS_ANNOTATION).cloned().unwrap_or_default(),
            user: user.map(|u| (u.uid, u.gid, u.supplemental_groups.clone())),
        })
    }
}

fn state_from_cri(state: i32) -> State {
    match CriState::try_from(state) {
        Ok(CriState::ContainerCreated) => State::Created,
        Ok(CriState::ContainerRunning) => State::Running,
        Ok(CriState::ContainerExited) => State::Exited,
        _ => State::Unknown,
    }
}

impl PodObservation {
    /// The newest container called `name`.
    pub fn container(&self, name: &str) -> Option<&Observed> {
        self.containers.iter().find(|c| c.name == name)
    }

    /// The container with the runtime's identifier `id`.
    pub fn by_id(&self, id: &str) -> Option<&Observed> {
        self.containers.iter().find(|c| c.id == id)
    }

    /// The newest sandbox, up or not.
    pub fn sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first()
    }

    /// The newest sandbox if it is up.
    pub fn ready_sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first().filter(|s| s.ready)
    }

    /// Containers that may still have a process.
    pub fn alive(&self) -> impl Iterator<Item = &Observed> {
        self.containers.iter().filter(|c| matches!(c.state, State::Running | State::Unknown))
    }

    /// Whether the container was made in the newest sandbox.
    pub fn is_active(&self, c: &Observed) -> bool {
        self.sandbox().is_some_and(|s| c.created_at >= s.created_at)
    }

    /// Takes in a container's newer state. A state never goes back: an event that was overtaken by the answer
    /// to a call changes nothing.
    pub fn upsert_container(&mut self, c: Observed) {
        match self.containers.iter_mut().find(|o| o.id == c.id) {
            Some(old) if c.state >= old.state || old.state == State::Unknown => *old = c,
            Some(_) => {}
            None => self.containers.push(c),
        }
        self.sort();
    }

    /// Takes in a sandbox's newer state; one that is down doesn't come up again.
    pub fn upsert_sandbox(&mut self, s: Sandbox) {
        match self.sandboxes.iter_mut().find(|o| o.id == s.id) {
            Some(old) if old.ready || !s.ready => *old = s,
            Some(_) => {}
            None => self.sandboxes.push(s),
        }
        self.sort();
    }

    /// Forgets a container.
    pub fn remove_container(&mut self, id: &str) {
        self.containers.retain(|c| c.id != id);
    }

    /// Forgets a sandbox.
    pub fn remove_sandbox(&mut self, id: &str) {
        self.sandboxes.retain(|s| s.id != id);
    }

    /// Newest first; ties by attempt.
    pub fn sort(&mut self) {
        self.sandboxes.sort_by_key(|s| std::cmp::Reverse((s.created_at, s.attempt)));
        self.containers.sort_by_key(|c| std::cmp::Reverse((c.created_at, c.restart_count)));
    }
}

//! What the core asks the shell to do, and what it hears back. Both are values: a plan can be printed, and a test
//! can answer it.

use super::actions::KillReason;
use super::observe::{Observed, PodObservation, Sandbox};
use super::podspec::Role;
use super::probe::{Answer, Kind};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodStatus;

/// The policy of looking whether an image has come by another way, without a word and without a pull.
pub const LOOK_ONLY: &str = "LookOnly";
/// The reason with which looking only answers that the image isn't there.
pub const STILL_ABSENT: &str = "ImagePullBackOff";

/// One thing for the shell to do. Each is asked for once; the core waits for its [`Outcome`].
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Make the pod's directories and mount its volumes.
    Mount,
    /// Make and start a sandbox.
    CreateSandbox {
        /// Which try this is.
        attempt: u32,
    },
    /// Stop a sandbox.
    StopSandbox {
        /// The runtime's identifier.
        id: String,
    },
    /// See that a container's image is on the node.
    EnsureImage {
        /// The container's name.
        container: String,
        /// The image as the spec names it.
        image: String,
        /// `Always`, `IfNotPresent` or `Never`; [`LOOK_ONLY`] between two pulls.
        policy: String,
    },
    /// Create and start a container, and run its `postStart` hook.
    Start {
        /// The container's name.
        container: String,
        /// Its part in the pod.
        role: Role,
        /// How many came before it.
        restart_count: u32,
        /// The sandbox to start it in.
        sandbox: String,
        /// The pod's addresses.
        ips: Vec<String>,
        /// The image by the runtime's reference.
        image_ref: String,
    },
    /// Run a container's `preStop` hook.
    PreStop {
        /// The runtime's identifier.
        id: String,
        /// The container's name.
        container: String,
        /// Seconds that it may take.
        limit: i64,
    },
    /// Stop a container: its stop signal, and after the grace SIGKILL.
    Stop {
        /// The runtime's identifier.
        id: String,
        /// Seconds.
        grace: i64,
    },
    /// Remove a dead container.
    RemoveContainer {
        /// The runtime's identifier.
        id: String,
    },
    /// Remove a stopped sandbox.
    RemoveSandbox {
        /// The runtime's identifier.
        id: String,
    },
    /// Give a running container what its spec says of CPU and memory.
    Resize {
        /// The runtime's identifier.
        id: String,
        /// The container's name.
        container: String,
    },
    /// Run a probe once.
    Probe {
        /// The runtime's identifier.
        id: String,
        /// The container's name.
        container: String,
        /// Which probe.
        kind: Kind,
    },
    /// Unmount the volumes; what is kept for logs stays.
    Unmount,
    /// Delete the pod from the API, now that nothing of it runs.
    DeletePod,
    /// Remove the pod's directories: nothing of it is left.
    Clear,
}

/// Why an image isn't there, or a container not started: the reason that the status shows, and its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// One of upstream's words: `ErrImagePull`, `CreateContainerConfigError`, ...
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// What became of an [`Op`].
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Of [`Op::Mount`].
    Mounted(Result<(), String>),
    /// Of [`Op::CreateSandbox`].
    Sandbox(Result<Sandbox, String>),
    /// Of [`Op::StopSandbox`].
    SandboxStopped(String, Result<(), String>),
    /// Of [`Op::EnsureImage`]: the container's name and the runtime's reference.
    Image(String, Result<String, Failure>),
    /// Of [`Op::Start`]: the container's name, what the runtime shows of it now, and whether it went well.
    Started(String, Option<Observed>, Result<(), Failure>),
    /// Of [`Op::PreStop`].
    PreStopped(String),
    /// Of [`Op::Stop`].
    Stopped(String, Option<Observed>, Result<(), String>),
    /// Of [`Op::RemoveContainer`].
    ContainerRemoved(String, Result<(), String>),
    /// Of [`Op::RemoveSandbox`].
    SandboxRemoved(String, Result<(), String>),
    /// Of [`Op::Resize`]: the identifier, and what it has now.
    Resized(String, Result<String, String>),
    /// Of [`Op::Probe`].
    Probed(String, String, Kind, Answer),
    /// Of [`Op::Unmount`].
    Unmounted(Result<(), String>),
    /// Of [`Op::DeletePod`].
    Deleted(Result<(), String>),
    /// Of [`Op::Clear`].
    Cleared(Result<(), String>),
    /// The runtime tells of itself: newer states of sandboxes and containers.
    Seen(PodObservation),
    /// The runtime was asked for everything, and this is everything.
    Relisted(PodObservation),
    /// A container is gone from the runtime.
    Gone(String),
}

/// An event to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// `Warning` rather than `Normal`.
    pub warning: bool,
    /// One word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// The container that it is about: role and name.
    pub container: Option<(Role, String)>,
}

impl Note {
    /// A `Normal` event.
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { warning: false, reason, message: message.into(), container: None }
    }

    /// A `Warning` event.
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { warning: true, reason, message: message.into(), container: None }
    }

    /// The same event, about one container.
    pub fn of(mut self, role: Role, name: &str) -> Self {
        self.container = Some((role, name.to_owned()));
        self
    }
}

/// What comes next for a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// To be done, at once and side by side.
    pub ops: Vec<Op>,
    /// To be recorded.
    pub notes: Vec<Note>,
    /// The status that the API should show.
    pub status: PodStatus,
    /// When to plan again even if nothing happens.
    pub requeue: Option<Timestamp>,
    /// Nothing of the pod is left on the node.
    pub finished: bool,
}

/// A container on its way out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KillState {
    pub name: String,
    pub since: Timestamp,
    pub grace: i64,
    pub stage: KillStage,
    pub reason: KillReason,
}

/// How far a container on its way out has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KillStage {
    /// Its `preStop` hook runs.
    Hook,
    /// It waits for those that go before it.
    Turn,
    /// The runtime was asked to stop it, with this grace.
    Stopping(i64),
    /// Asking failed; ask again then.
    Retry(Timestamp),
}

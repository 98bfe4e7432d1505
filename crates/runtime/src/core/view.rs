//! Records as CRI shows them.

use std::collections::HashMap;

use cri::{
    ContainerFilter, ContainerMetadata, ContainerResources, ContainerState, ContainerUser, ImageSpec,
    LinuxContainerUser, LinuxPodSandboxStatus, Namespace, PodSandboxFilter, PodSandboxMetadata,
    PodSandboxNetworkStatus, PodSandboxState,
};

use super::{Container, Core, Sandbox, lock, sandbox};
use crate::state::{ContainerRecord, Phase, SandboxRecord};

impl Phase {
    fn state(self) -> ContainerState {
        match self {
            Self::Created => ContainerState::ContainerCreated,
            Self::Running => ContainerState::ContainerRunning,
            Self::Exited => ContainerState::ContainerExited,
        }
    }
}

impl Sandbox {
    /// CRI `PodSandboxStatus`.
    pub(crate) fn status(&self) -> cri::PodSandboxStatus {
        let record = self.record();
        let ip = record.address.map(|ip| ip.to_string()).filter(|_| record.ready).unwrap_or_default();
        let options = sandbox::namespace_options(&record.config);
        cri::PodSandboxStatus {
            state: sandbox_state(&record).into(),
            network: Some(PodSandboxNetworkStatus { ip, additional_ips: Vec::new() }),
            linux: Some(LinuxPodSandboxStatus { namespaces: Some(Namespace { options: Some(options) }) }),
            id: record.id,
            metadata: record.config.metadata,
            created_at: record.created_at,
            labels: record.config.labels,
            annotations: record.config.annotations,
            runtime_handler: record.runtime_handler,
        }
    }
}

fn sandbox_state(record: &SandboxRecord) -> PodSandboxState {
    if record.ready { PodSandboxState::SandboxReady } else { PodSandboxState::SandboxNotready }
}

impl Container {
    /// CRI `ContainerStatus`.
    pub(crate) fn status(&self) -> cri::ContainerStatus {
        let record = self.record();
        let user = record.user.as_ref().map(|user| LinuxContainerUser {
            uid: user.uid.into(),
            gid: user.gid.into(),
            supplemental_groups: user.groups.iter().map(|gid| i64::from(*gid)).collect(),
        });
        cri::ContainerStatus {
            state: record.phase.state().into(),
            image: Some(image_spec(&record)),
            resources: Some(ContainerResources { linux: Some(record.resources.clone()), windows: None }),
            user: user.map(|linux| ContainerUser { linux: Some(linux) }),
            log_path: record.log_path.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default(),
            id: record.id,
            metadata: record.config.metadata,
            created_at: record.created_at,
            started_at: record.started_at,
            finished_at: record.finished_at,
            exit_code: record.exit_code,
            image_ref: record.image_reference,
            reason: record.reason,
            message: record.message,
            labels: record.config.labels,
            annotations: record.config.annotations,
            mounts: record.config.mounts,
            image_id: record.image_id,
            stop_signal: record.config.stop_signal,
        }
    }
}

/// The name that the pod used for the image, where kubelet passed it on.
fn image_spec(record: &ContainerRecord) -> ImageSpec {
    let spec = record.config.image.clone().unwrap_or_default();
    let image = if spec.user_specified_image.is_empty() {
        spec.image.clone()
    } else {
        spec.user_specified_image.clone()
    };
    ImageSpec { image, ..spec }
}

fn matches(wanted: &HashMap<String, String>, labels: &HashMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

impl Core {
    /// CRI `ListPodSandbox`.
    pub(crate) fn list_sandboxes(&self, filter: Option<PodSandboxFilter>) -> Vec<cri::PodSandbox> {
        let filter = filter.unwrap_or_default();
        let all: Vec<_> = lock(&self.sandboxes).values().cloned().collect();
        let records = all.iter().map(|sandbox| sandbox.record());
        records
            .filter(|r| r.id.starts_with(&filter.id) && matches(&filter.label_selector, &r.config.labels))
            .filter(|r| filter.state.as_ref().is_none_or(|wanted| wanted.state() == sandbox_state(r)))
            .map(|record| cri::PodSandbox {
                state: sandbox_state(&record).into(),
                id: record.id,
                metadata: record.config.metadata,
                created_at: record.created_at,
                labels: record.config.labels,
                annotations: record.config.annotations,
                runtime_handler: record.runtime_handler,
            })
            .collect()
    }

    /// CRI `ListContainers`.
    pub(crate) fn list_containers(&self, filter: Option<ContainerFilter>) -> Vec<cri::Container> {
        let filter = filter.unwrap_or_default();
        let all: Vec<_> = lock(&self.containers).values().cloned().collect();
        let records = all.iter().map(|container| container.record());
        records
            .filter(|r| r.id.starts_with(&filter.id) && matches(&filter.label_selector, &r.config.labels))
            .filter(|r| r.sandbox.starts_with(&filter.pod_sandbox_id))
            .filter(|r| filter.state.as_ref().is_none_or(|wanted| wanted.state() == r.phase.state()))
            .map(|record| cri::Container {
                image: Some(image_spec(&record)),
                state: record.phase.state().into(),
                id: record.id,
                pod_sandbox_id: record.sandbox,
                metadata: record.config.metadata,
                image_ref: record.image_reference,
                created_at: record.created_at,
                labels: record.config.labels,
                annotations: record.config.annotations,
                image_id: record.image_id,
            })
            .collect()
    }

    /// The containers of a sandbox, with everything known of them.
    pub(crate) fn statuses_of(&self, sandbox: &str) -> Vec<cri::ContainerStatus> {
        self.containers_of(sandbox).iter().map(|container| container.status()).collect()
    }

    /// Numbers that CRI has no field for, as JSON (for `crictl inspect`).
    pub(crate) fn verbose(record: &ContainerRecord) -> HashMap<String, String> {
        let text =
            serde_json::json!({ "sandboxID": record.sandbox, "pid": record.pid, "cgroup": record.cgroup });
        HashMap::from([("info".to_owned(), text.to_string())])
    }
}

/// Metadata with every field, for statistics.
pub(super) fn container_metadata(record: &ContainerRecord) -> Option<ContainerMetadata> {
    record.config.metadata.clone()
}

/// Metadata with every field, for statistics.
pub(super) fn sandbox_metadata(record: &SandboxRecord) -> Option<PodSandboxMetadata> {
    record.config.metadata.clone()
}

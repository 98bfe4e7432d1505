//! Asks the runtime what there is, and reads containers' last words.

use super::Context;
use crate::core::observe::{
    POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL, TERMINATION_PATH_ANNOTATION,
    TERMINATION_POLICY_ANNOTATION,
};
use crate::core::{Observed, PodObservation, Sandbox, State};
use crate::logs;
use cri::{
    ContainerFilter, ContainerStatus, ContainerStatusRequest, CriError, ListContainersRequest,
    ListPodSandboxRequest, PodSandboxFilter, PodSandboxStatusRequest,
};
use k8s_openapi::api::core::v1::Pod;
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

/// Most bytes of a container's last words (`MaxContainerTerminationMessageLength`).
const MAX_MESSAGE: u64 = 4096;
/// Most bytes and lines of a log that stand in for them.
const LOG_TAIL: (usize, usize) = (2048, 80);

fn labels(uid: &str) -> HashMap<String, String> {
    HashMap::from([(POD_UID_LABEL.to_owned(), uid.to_owned())])
}

/// A container of the runtime as the core sees it, with its last words if it has ended.
pub(crate) fn container(s: &ContainerStatus) -> Option<Observed> {
    let mut o = Observed::from_cri(s)?;
    if o.state == State::Exited && o.message.is_empty() {
        o.message = last_words(s);
    }
    if o.state == State::Exited && o.reason.is_empty() {
        o.reason = if o.exit_code == 0 { "Completed" } else { "Error" }.to_owned();
    }
    Some(o)
}

fn last_words(s: &ContainerStatus) -> String {
    let path = s.annotations.get(TERMINATION_PATH_ANNOTATION).map(String::as_str).unwrap_or_default();
    let file = s.mounts.iter().find(|m| m.container_path == path).map(|m| m.host_path.as_str());
    let mut text = file.and_then(|f| read_tail(Path::new(f))).unwrap_or_default();
    let fallback = s.annotations.get(TERMINATION_POLICY_ANNOTATION).map(String::as_str);
    if text.is_empty()
        && s.exit_code != 0
        && fallback == Some("FallbackToLogsOnError")
        && !s.log_path.is_empty()
    {
        text = logs::tail_text(Path::new(&s.log_path), LOG_TAIL.0, LOG_TAIL.1);
    }
    text
}

/// The file belongs to the container, so it is opened without following links and read up to a limit.
fn read_tail(path: &Path) -> Option<String> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MAX_MESSAGE).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

impl Context {
    /// One container of the runtime; none if it isn't there.
    pub(crate) async fn observe_container(&self, id: &str) -> Result<Option<Observed>, CriError> {
        let request = ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        match self.runtime.container_status(request).await {
            Ok(answer) => Ok(answer.status.as_ref().and_then(container)),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Everything that the runtime has of one pod.
    pub(crate) async fn observe_pod(&self, uid: &str) -> Result<PodObservation, CriError> {
        let mut out = PodObservation::default();
        let filter = Some(PodSandboxFilter { label_selector: labels(uid), ..PodSandboxFilter::default() });
        let sandboxes = self.runtime.list_pod_sandbox(ListPodSandboxRequest { filter }).await?;
        for s in sandboxes.items {
            let request = PodSandboxStatusRequest { pod_sandbox_id: s.id, verbose: false };
            match self.runtime.pod_sandbox_status(request).await {
                Ok(a) => out.sandboxes.extend(a.status.as_ref().map(Sandbox::from_cri)),
                Err(e) if e.is_not_found() => {}
                Err(e) => return Err(e),
            }
        }
        let filter = Some(ContainerFilter { label_selector: labels(uid), ..ContainerFilter::default() });
        let containers = self.runtime.list_containers(ListContainersRequest { filter }).await?;
        for c in containers.containers {
            out.containers.extend(self.observe_container(&c.id).await?);
        }
        out.sort();
        Ok(out)
    }

    /// The pods of which the runtime has anything, with as much of each as the labels tell.
    pub(crate) async fn known_pods(&self) -> Result<HashMap<String, Pod>, CriError> {
        let sandboxes = self.runtime.list_pod_sandbox(ListPodSandboxRequest { filter: None }).await?;
        let containers = self.runtime.list_containers(ListContainersRequest { filter: None }).await?;
        let all = sandboxes.items.into_iter().map(|s| s.labels);
        let all = all.chain(containers.containers.into_iter().map(|c| c.labels));
        let mut out = HashMap::new();
        for labels in all {
            let Some(uid) = labels.get(POD_UID_LABEL).cloned() else { continue };
            let mut pod = Pod::default();
            pod.metadata.uid = Some(uid.clone());
            pod.metadata.name = labels.get(POD_NAME_LABEL).cloned();
            pod.metadata.namespace = labels.get(POD_NAMESPACE_LABEL).cloned();
            out.entry(uid).or_insert(pod);
        }
        Ok(out)
    }
}

//! Reading a pod: its containers by role, its names, its terminal state.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec, PodStatus};

/// The part that a container plays in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Runs to completion before the next one (`initContainers` without `restartPolicy`).
    Init,
    /// Stays up beside the containers (`initContainers` with `restartPolicy: Always`).
    Sidecar,
    /// One of `containers`.
    Regular,
    /// Added to a running pod for debugging (`ephemeralContainers`).
    Ephemeral,
}

/// A pod's namespace, or the empty string.
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

/// A pod's name, or the empty string.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// A pod's UID, or the empty string.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// `name_namespace(uid)`: how upstream's messages name a pod (`pkg/kubelet/util/format`).
pub fn full_name(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}

/// The pod's spec; an absent one reads as empty.
pub fn spec(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

/// The pod's status; an absent one reads as empty.
pub fn status(pod: &Pod) -> &PodStatus {
    static EMPTY: std::sync::LazyLock<PodStatus> = std::sync::LazyLock::new(PodStatus::default);
    pod.status.as_ref().unwrap_or(&EMPTY)
}

/// `spec.initContainers`.
pub fn init_containers(pod: &Pod) -> &[Container] {
    spec(pod).init_containers.as_deref().unwrap_or_default()
}

/// `spec.containers`.
pub fn containers(pod: &Pod) -> &[Container] {
    &spec(pod).containers
}

/// `spec.ephemeralContainers`.
pub fn ephemeral_containers(pod: &Pod) -> &[EphemeralContainer] {
    spec(pod).ephemeral_containers.as_deref().unwrap_or_default()
}

/// Whether an init container is a sidecar (KEP-753).
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The role of an init container.
pub fn init_role(container: &Container) -> Role {
    if is_sidecar(container) { Role::Sidecar } else { Role::Init }
}

/// Whether any init container is a sidecar.
pub fn has_sidecar(pod: &Pod) -> bool {
    init_containers(pod).iter().any(is_sidecar)
}

/// An ephemeral container in the shape of a container.
pub fn as_container(e: &EphemeralContainer) -> Container {
    let e = e.clone();
    Container {
        args: e.args,
        command: e.command,
        env: e.env,
        env_from: e.env_from,
        image: e.image,
        image_pull_policy: e.image_pull_policy,
        lifecycle: e.lifecycle,
        liveness_probe: e.liveness_probe,
        name: e.name,
        ports: e.ports,
        readiness_probe: e.readiness_probe,
        resize_policy: e.resize_policy,
        resources: e.resources,
        restart_policy: e.restart_policy,
        restart_policy_rules: e.restart_policy_rules,
        security_context: e.security_context,
        startup_probe: e.startup_probe,
        stdin: e.stdin,
        stdin_once: e.stdin_once,
        termination_message_path: e.termination_message_path,
        termination_message_policy: e.termination_message_policy,
        tty: e.tty,
        volume_devices: e.volume_devices,
        volume_mounts: e.volume_mounts,
        working_dir: e.working_dir,
    }
}

/// The container called `name`, with its role.
pub fn find_container(pod: &Pod, name: &str) -> Option<(Container, Role)> {
    let regular = containers(pod).iter().find(|c| c.name == name).map(|c| (c.clone(), Role::Regular));
    let init = || init_containers(pod).iter().find(|c| c.name == name).map(|c| (c.clone(), init_role(c)));
    let ephemeral = || {
        let e = ephemeral_containers(pod).iter().find(|e| e.name == name)?;
        Some((as_container(e), Role::Ephemeral))
    };
    regular.or_else(init).or_else(ephemeral)
}

/// The field path by which events name a container: `spec.containers{web}`.
pub fn field_path(role: Role, name: &str) -> String {
    let list = match role {
        Role::Init | Role::Sidecar => "initContainers",
        Role::Regular => "containers",
        Role::Ephemeral => "ephemeralContainers",
    };
    format!("spec.{list}{{{name}}}")
}

/// `spec.restartPolicy`; absent reads as `Always`, the API's default.
pub fn restart_policy(pod: &Pod) -> &str {
    spec(pod).restart_policy.as_deref().unwrap_or("Always")
}

/// Whether the pod shares the node's network namespace.
pub fn host_network(pod: &Pod) -> bool {
    spec(pod).host_network == Some(true)
}

/// Whether deletion was asked for.
pub fn is_deleting(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether `phase` is one that a pod never leaves.
pub fn is_terminal(phase: Option<&str>) -> bool {
    matches!(phase, Some("Succeeded" | "Failed"))
}

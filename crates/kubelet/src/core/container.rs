//! A container in the runtime's words (`generateContainerConfig` of `pkg/kubelet/kuberuntime`).

use super::machine::container_hash;
use super::observe::{
    AMOUNTS_ANNOTATION, CONTAINER_NAME_LABEL, HASH_ANNOTATION, RESTART_COUNT_ANNOTATION,
    TERMINATION_PATH_ANNOTATION, TERMINATION_POLICY_ANNOTATION,
};
use super::podspec::Role;
use super::sandbox::{NodeSettings, identity_labels};
use super::security::{self, ImageUser};
use super::{env, podspec, resize, resources};
use cri::{
    ContainerConfig, ContainerMetadata, ImageSpec, KeyValue, LinuxContainerConfig, Mount, MountPropagation,
    Signal,
};
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

/// What the shell found out for one start of a container.
pub struct Parts {
    /// Its part in the pod.
    pub role: Role,
    /// How many came before it.
    pub restart_count: u32,
    /// The image by the runtime's reference.
    pub image_ref: String,
    /// The image's user.
    pub image_user: ImageUser,
    /// The environment, in order.
    pub env: Vec<(String, String)>,
    /// Mounts with their host paths resolved.
    pub mounts: Vec<Mount>,
    /// The runtime's identifier of the container whose namespaces an ephemeral container enters.
    pub target: Option<String>,
}

/// The path of a container's log below the pod's directory: `web/0.log`.
pub fn log_path(name: &str, restart_count: u32) -> String {
    format!("{name}/{restart_count}.log")
}

/// A volume mount with its host path.
pub fn mount(m: &VolumeMount, host_path: String, read_only_volume: bool) -> Mount {
    let propagation = match m.mount_propagation.as_deref() {
        Some("HostToContainer") => MountPropagation::PropagationHostToContainer,
        Some("Bidirectional") => MountPropagation::PropagationBidirectional,
        _ => MountPropagation::PropagationPrivate,
    };
    let readonly = m.read_only == Some(true) || read_only_volume;
    let recursive = matches!(m.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible"));
    Mount {
        container_path: absolute(&m.mount_path),
        host_path,
        readonly,
        propagation: propagation as i32,
        recursive_read_only: readonly && recursive,
        ..Mount::default()
    }
}

fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// Where the container writes its last words.
pub fn termination_path(c: &Container) -> &str {
    c.termination_message_path.as_deref().filter(|p| !p.is_empty()).unwrap_or("/dev/termination-log")
}

/// Whether the end of the log may stand in for them.
pub fn falls_back_to_log(c: &Container) -> bool {
    c.termination_message_policy.as_deref() == Some("FallbackToLogsOnError")
}

/// The container's configuration.
pub fn config(
    pod: &Pod,
    c: &Container,
    parts: Parts,
    settings: &NodeSettings,
) -> Result<ContainerConfig, String> {
    security::verify_non_root(pod, c, &parts.image_user)?;
    let (command, args) = env::command(c, &parts.env);
    let own = |k: &str, v: String| (k.to_owned(), v);
    let name_label = own(CONTAINER_NAME_LABEL, c.name.clone());
    let annotations = [
        own(HASH_ANNOTATION, container_hash(c)),
        own(AMOUNTS_ANNOTATION, resize::amounts(c)),
        own(RESTART_COUNT_ANNOTATION, parts.restart_count.to_string()),
        own(TERMINATION_PATH_ANNOTATION, termination_path(c).to_owned()),
        own(
            TERMINATION_POLICY_ANNOTATION,
            c.termination_message_policy.clone().unwrap_or_else(|| "File".into()),
        ),
    ];
    let linux = LinuxContainerConfig {
        resources: Some(resources::for_container(pod, c, settings)),
        security_context: Some(security::for_container(
            pod,
            c,
            parts.role,
            &parts.image_user,
            parts.target.as_deref(),
            &settings.seccomp_dir,
        )),
    };
    Ok(ContainerConfig {
        metadata: Some(ContainerMetadata { name: c.name.clone(), attempt: parts.restart_count }),
        image: Some(ImageSpec {
            image: parts.image_ref,
            user_specified_image: c.image.clone().unwrap_or_default(),
            ..ImageSpec::default()
        }),
        command,
        args,
        working_dir: c.working_dir.clone().unwrap_or_default(),
        envs: parts.env.into_iter().map(|(key, value)| KeyValue { key, value }).collect(),
        mounts: parts.mounts,
        labels: identity_labels(pod).into_iter().chain([name_label]).collect(),
        annotations: annotations.into_iter().collect(),
        log_path: log_path(&c.name, parts.restart_count),
        stdin: c.stdin == Some(true),
        stdin_once: c.stdin_once == Some(true),
        tty: c.tty == Some(true),
        linux: Some(linux),
        stop_signal: stop_signal(c) as i32,
        ..ContainerConfig::default()
    })
}

/// The signal that ends the container where it names one (KEP-4960); CRI numbers them in an order of its own.
pub(crate) fn stop_signal(c: &Container) -> Signal {
    let name = c.lifecycle.as_ref().and_then(|l| l.stop_signal.as_deref()).unwrap_or_default();
    let plain = name.replace('+', "plus").replace('-', "minus");
    let all = (1..=Signal::Sigrtmax as i32).filter_map(|n| Signal::try_from(n).ok());
    let found = all.into_iter().find(|s| format!("{s:?}").eq_ignore_ascii_case(&plain));
    found.unwrap_or(Signal::RuntimeDefault)
}

/// The container that an ephemeral container aims at, by name.
pub fn target_name<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    let e = podspec::ephemeral_containers(pod).iter().find(|e| e.name == name)?;
    e.target_container_name.as_deref().filter(|n| !n.is_empty())
}

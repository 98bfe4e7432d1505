//! Security contexts of pods and containers in the runtime's words
//! (`pkg/securitycontext`, `pkg/kubelet/kuberuntime/security_context.go`).

use super::podspec::{self, Role};
use cri::security_profile::ProfileType;
use cri::{
    Capability, Int64Value, LinuxContainerSecurityContext, LinuxSandboxSecurityContext, NamespaceMode,
    NamespaceOption, SeLinuxOption, SecurityProfile, SupplementalGroupsPolicy,
};
use k8s_openapi::api::core::v1::{
    AppArmorProfile, Container, Pod, PodSecurityContext, SELinuxOptions, SeccompProfile, SecurityContext,
};

/// Paths of /proc and /sys that a container can't read (`securitycontext.defaultMaskedPaths`).
const MASKED: &[&str] = &[
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// Paths of /proc that a container can't write (`securitycontext.defaultReadonlyPaths`).
const READ_ONLY: &[&str] = &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

fn number(n: Option<i64>) -> Option<Int64Value> {
    n.map(|value| Int64Value { value })
}

fn owned(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

fn seccomp(profile: Option<&SeccompProfile>, dir: &str) -> SecurityProfile {
    let of =
        |kind: ProfileType, path: String| SecurityProfile { profile_type: kind as i32, localhost_ref: path };
    match profile.map(|p| (p.type_.as_str(), p.localhost_profile.as_deref().unwrap_or_default())) {
        Some(("RuntimeDefault", _)) => of(ProfileType::RuntimeDefault, String::new()),
        Some(("Localhost", file)) => of(ProfileType::Localhost, format!("{dir}/{file}")),
        _ => of(ProfileType::Unconfined, String::new()),
    }
}

fn apparmor(profile: Option<&AppArmorProfile>) -> Option<SecurityProfile> {
    let p = profile?;
    let (kind, path) = match p.type_.as_str() {
        "RuntimeDefault" => (ProfileType::RuntimeDefault, String::new()),
        "Localhost" => (ProfileType::Localhost, p.localhost_profile.clone().unwrap_or_default()),
        _ => (ProfileType::Unconfined, String::new()),
    };
    Some(SecurityProfile { profile_type: kind as i32, localhost_ref: path })
}

fn selinux(o: Option<&SELinuxOptions>) -> Option<SeLinuxOption> {
    let text = |s: &Option<String>| s.clone().unwrap_or_default();
    o.map(|o| SeLinuxOption {
        user: text(&o.user),
        role: text(&o.role),
        r#type: text(&o.type_),
        level: text(&o.level),
    })
}

/// The namespaces that a pod's containers share; `target` for an ephemeral container.
pub fn namespaces(pod: &Pod, target: Option<&str>) -> NamespaceOption {
    let spec = podspec::spec(pod);
    let node_or = |node: Option<bool>, other: NamespaceMode| {
        if node == Some(true) { NamespaceMode::Node as i32 } else { other as i32 }
    };
    let pid = match spec.share_process_namespace {
        Some(true) => NamespaceMode::Pod,
        _ => NamespaceMode::Container,
    };
    NamespaceOption {
        network: node_or(spec.host_network, NamespaceMode::Pod),
        pid: match target {
            Some(_) => NamespaceMode::Target as i32,
            None => node_or(spec.host_pid, pid),
        },
        ipc: node_or(spec.host_ipc, NamespaceMode::Pod),
        target_id: target.unwrap_or_default().to_owned(),
        userns_options: None,
    }
}

fn groups(sc: &PodSecurityContext) -> Vec<i64> {
    sc.fs_group.into_iter().chain(sc.supplemental_groups.iter().flatten().copied()).collect()
}

fn groups_policy(sc: &PodSecurityContext) -> i32 {
    match sc.supplemental_groups_policy.as_deref() {
        Some("Strict") => SupplementalGroupsPolicy::Strict as i32,
        _ => SupplementalGroupsPolicy::Merge as i32,
    }
}

fn pod_context(pod: &Pod) -> PodSecurityContext {
    podspec::spec(pod).security_context.clone().unwrap_or_default()
}

/// Whether any container of the pod is privileged; the sandbox is then too.
fn has_privileged(pod: &Pod) -> bool {
    let all = podspec::init_containers(pod).iter().chain(podspec::containers(pod));
    let privileged = |c: &Container| c.security_context.as_ref().and_then(|s| s.privileged) == Some(true);
    all.into_iter().any(privileged)
}

/// The sandbox's security context.
pub fn for_sandbox(pod: &Pod, seccomp_dir: &str) -> LinuxSandboxSecurityContext {
    let sc = pod_context(pod);
    LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod, None)),
        selinux_options: selinux(sc.se_linux_options.as_ref()),
        run_as_user: number(sc.run_as_user),
        run_as_group: number(sc.run_as_group.filter(|_| sc.run_as_user.is_some())),
        readonly_rootfs: false,
        supplemental_groups: groups(&sc),
        supplemental_groups_policy: groups_policy(&sc),
        privileged: has_privileged(pod),
        seccomp: Some(match sc.seccomp_profile.as_ref() {
            Some(p) => seccomp(Some(p), seccomp_dir),
            None => {
                SecurityProfile { profile_type: ProfileType::RuntimeDefault as i32, ..Default::default() }
            }
        }),
        apparmor: None,
        ..LinuxSandboxSecurityContext::default()
    }
}

/// The user that a container will run as: the number asked for, or the image's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageUser {
    /// The image's numeric user.
    pub uid: Option<i64>,
    /// The image's user by name.
    pub name: String,
}

impl ImageUser {
    /// As the runtime tells of the image: root if it says nothing.
    pub fn of(image: &cri::Image) -> Self {
        let uid = match (&image.uid, image.username.is_empty()) {
            (Some(u), _) => Some(u.value),
            (None, true) => Some(0),
            (None, false) => None,
        };
        Self { uid, name: image.username.clone() }
    }
}

/// Refuses root where the spec demands another user (`verifyRunAsNonRoot`).
pub fn verify_non_root(pod: &Pod, c: &Container, image: &ImageUser) -> Result<(), String> {
    let sc = c.security_context.clone().unwrap_or_default();
    let of_pod = pod_context(pod);
    if sc.run_as_non_root.or(of_pod.run_as_non_root) != Some(true) {
        return Ok(());
    }
    let place = format!("(pod: {:?}, container: {})", podspec::full_name(pod), c.name);
    match sc.run_as_user.or(of_pod.run_as_user) {
        Some(0) => return Err(format!("container's runAsUser breaks non-root policy {place}")),
        Some(_) => return Ok(()),
        None => {}
    }
    match (image.uid, image.name.as_str()) {
        (Some(0), _) => Err(format!("container has runAsNonRoot and image will run as root {place}")),
        (None, name) if !name.is_empty() => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {place}"
        )),
        _ => Ok(()),
    }
}

/// A container's security context.
pub fn for_container(
    pod: &Pod,
    c: &Container,
    role: Role,
    image: &ImageUser,
    target: Option<&str>,
    seccomp_dir: &str,
) -> LinuxContainerSecurityContext {
    let of_pod = pod_context(pod);
    let sc: SecurityContext = c.security_context.clone().unwrap_or_default();
    let privileged = sc.privileged == Some(true);
    let user = sc.run_as_user.or(of_pod.run_as_user).or(image.uid);
    let profile = sc.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref());
    let unmasked = sc.proc_mount.as_deref() == Some("Unmasked");
    let caps = sc.capabilities.unwrap_or_default();
    LinuxContainerSecurityContext {
        capabilities: Some(Capability {
            add_capabilities: caps.add.unwrap_or_default(),
            drop_capabilities: caps.drop.unwrap_or_default(),
            add_ambient_capabilities: Vec::new(),
        }),
        privileged,
        namespace_options: Some(namespaces(pod, target.filter(|_| role == Role::Ephemeral))),
        selinux_options: selinux(sc.se_linux_options.as_ref().or(of_pod.se_linux_options.as_ref())),
        run_as_user: number(user),
        run_as_group: number(sc.run_as_group.or(of_pod.run_as_group)),
        run_as_username: if user.is_none() { image.name.clone() } else { String::new() },
        readonly_rootfs: sc.read_only_root_filesystem == Some(true),
        supplemental_groups: groups(&of_pod),
        supplemental_groups_policy: groups_policy(&of_pod),
        no_new_privs: sc.allow_privilege_escalation == Some(false),
        masked_paths: if unmasked || privileged { Vec::new() } else { owned(MASKED) },
        readonly_paths: if unmasked || privileged { Vec::new() } else { owned(READ_ONLY) },
        seccomp: Some(if privileged { seccomp(None, seccomp_dir) } else { seccomp(profile, seccomp_dir) }),
        apparmor: apparmor(sc.app_armor_profile.as_ref().or(of_pod.app_armor_profile.as_ref())),
        ..LinuxContainerSecurityContext::default()
    }
}

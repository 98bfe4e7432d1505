//! A pod's sandbox in the runtime's words (`generatePodSandboxConfig` of `pkg/kubelet/kuberuntime`).

use super::observe::{POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL};
use super::ops::Note;
use super::{dns, podspec, qos, resources, security};
use cri::{LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata, PortMapping, Protocol};
use k8s_openapi::api::core::v1::{Container, ContainerPort, Pod};

/// What the node adds to every sandbox and container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeSettings {
    /// Names and name servers.
    pub resolver: dns::Resolver,
    /// Directory of the logs of all pods, `/var/log/pods`.
    pub pod_logs: String,
    /// Directory of seccomp profiles.
    pub seccomp_dir: String,
    /// Bytes of memory that the node has.
    pub memory: i64,
    /// Whether the node has cgroup v2 alone.
    pub unified_cgroups: bool,
    /// Whether the node's kernel enforces AppArmor profiles.
    pub apparmor: bool,
}

/// Directory of a pod's logs below that of all pods: `<namespace>_<name>_<uid>`.
pub fn log_directory(pod: &Pod, settings: &NodeSettings) -> String {
    let (ns, name, uid) = (podspec::namespace(pod), podspec::name(pod), podspec::uid(pod));
    format!("{}/{ns}_{name}_{uid}", settings.pod_logs)
}

fn port(p: &ContainerPort) -> PortMapping {
    let protocol = match p.protocol.as_deref() {
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        _ => Protocol::Tcp,
    };
    PortMapping {
        protocol: protocol as i32,
        container_port: p.container_port,
        host_port: p.host_port.unwrap_or(0),
        host_ip: p.host_ip.clone().unwrap_or_default(),
    }
}

/// Labels that every sandbox and container of a pod has.
pub(crate) fn identity_labels(pod: &Pod) -> [(String, String); 3] {
    let own = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    [
        own(POD_NAME_LABEL, podspec::name(pod)),
        own(POD_NAMESPACE_LABEL, podspec::namespace(pod)),
        own(POD_UID_LABEL, podspec::uid(pod)),
    ]
}

/// The sandbox's configuration, and what to warn of.
pub fn config(
    pod: &Pod,
    attempt: u32,
    settings: &NodeSettings,
) -> Result<(PodSandboxConfig, Vec<Note>), String> {
    let spec = podspec::spec(pod);
    if spec.host_users == Some(false) {
        // Silence would be taken for isolation.
        return Err("can't set `spec.hostUsers: false`, runtime does not support user namespaces".to_owned());
    }
    let (dns_config, notes) = dns::config(pod, &settings.resolver);
    let (hostname, _) = dns::hostname(pod, &settings.resolver.cluster_domain)?;
    let lasting = |c: &&Container| podspec::is_sidecar(c);
    let all = podspec::init_containers(pod).iter().filter(lasting).chain(podspec::containers(pod));
    let ports = all.flat_map(|c| c.ports.iter().flatten()).map(port);
    let sysctls = spec.security_context.as_ref().and_then(|s| s.sysctls.as_ref());
    let dotted = |name: &str| if name.contains('/') { name.replace('/', ".") } else { name.to_owned() };
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let own_name = !podspec::host_network(pod) || spec.hostname_override.is_some();
    let config = PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: podspec::name(pod).to_owned(),
            uid: podspec::uid(pod).to_owned(),
            namespace: podspec::namespace(pod).to_owned(),
            attempt,
        }),
        hostname: if own_name { hostname } else { String::new() },
        log_directory: log_directory(pod, settings),
        dns_config: Some(dns_config),
        port_mappings: ports.collect(),
        labels: labels.into_iter().chain(identity_labels(pod)).collect(),
        annotations: pod.metadata.annotations.clone().unwrap_or_default().into_iter().collect(),
        linux: Some(LinuxPodSandboxConfig {
            cgroup_parent: qos::cgroup_parent(pod),
            security_context: Some(security::for_sandbox(pod, &settings.seccomp_dir)),
            sysctls: sysctls.into_iter().flatten().map(|s| (dotted(&s.name), s.value.clone())).collect(),
            overhead: Some(resources::for_overhead(pod)),
            resources: Some(resources::for_sandbox(pod)),
        }),
        windows: None,
    };
    Ok((config, notes))
}

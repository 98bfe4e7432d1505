//! Pod sandboxes: their configuration, state and calls, and the vocabulary that sandboxes and containers share.

use super::*;

stored_messages! {
    DnsConfig {
        1 servers: Vec<String> [string, repeated];
        2 searches: Vec<String> [string, repeated];
        3 options: Vec<String> [string, repeated];
    }
    PortMapping {
        1 protocol: i32 [enumeration = "Protocol"];
        2 container_port: i32 [int32];
        3 host_port: i32 [int32];
        4 host_ip: String [string];
    }
    IdMapping {
        1 host_id: u32 [uint32];
        2 container_id: u32 [uint32];
        3 length: u32 [uint32];
    }
    UserNamespace {
        1 mode: i32 [enumeration = "NamespaceMode"];
        2 uids: Vec<IdMapping> [message, repeated];
        3 gids: Vec<IdMapping> [message, repeated];
    }
    NamespaceOption {
        1 network: i32 [enumeration = "NamespaceMode"];
        2 pid: i32 [enumeration = "NamespaceMode"];
        3 ipc: i32 [enumeration = "NamespaceMode"];
        4 target_id: String [string];
        5 userns_options: Option<UserNamespace> [message, optional];
    }
    Int64Value {
        1 value: i64 [int64];
    }
    LinuxSandboxSecurityContext {
        1 namespace_options: Option<NamespaceOption> [message, optional];
        2 selinux_options: Option<SeLinuxOption> [message, optional];
        3 run_as_user: Option<Int64Value> [message, optional];
        8 run_as_group: Option<Int64Value> [message, optional];
        4 readonly_rootfs: bool [bool];
        5 supplemental_groups: Vec<i64> [int64, repeated];
        11 supplemental_groups_policy: i32 [enumeration = "SupplementalGroupsPolicy"];
        6 privileged: bool [bool];
        9 seccomp: Option<SecurityProfile> [message, optional];
        10 apparmor: Option<SecurityProfile> [message, optional];
        7 seccomp_profile_path: String [string];
    }
    SecurityProfile {
        1 profile_type: i32 [enumeration = "security_profile::ProfileType"];
        2 localhost_ref: String [string];
    }
    LinuxPodSandboxConfig {
        1 cgroup_parent: String [string];
        2 security_context: Option<LinuxSandboxSecurityContext> [message, optional];
        3 sysctls: HashMap<String, String> [map = "string, string"];
        4 overhead: Option<LinuxContainerResources> [message, optional];
        5 resources: Option<LinuxContainerResources> [message, optional];
    }
    PodSandboxMetadata {
        1 name: String [string];
        2 uid: String [string];
        3 namespace: String [string];
        4 attempt: u32 [uint32];
    }
    PodSandboxConfig {
        1 metadata: Option<PodSandboxMetadata> [message, optional];
        2 hostname: String [string];
        3 log_directory: String [string];
        4 dns_config: Option<DnsConfig> [message, optional];
        5 port_mappings: Vec<PortMapping> [message, repeated];
        6 labels: HashMap<String, String> [map = "string, string"];
        7 annotations: HashMap<String, String> [map = "string, string"];
        8 linux: Option<LinuxPodSandboxConfig> [message, optional];
        9 windows: Option<WindowsPodSandboxConfig> [message, optional];
    }
    RunPodSandboxRequest {
        1 config: Option<PodSandboxConfig> [message, optional];
        2 runtime_handler: String [string];
    }
    RunPodSandboxResponse {
        1 pod_sandbox_id: String [string];
    }
    StopPodSandboxRequest {
        1 pod_sandbox_id: String [string];
    }
    StopPodSandboxResponse {}
    RemovePodSandboxRequest {
        1 pod_sandbox_id: String [string];
    }
    RemovePodSandboxResponse {}
    UpdatePodSandboxResourcesRequest {
        1 pod_sandbox_id: String [string];
        2 overhead: Option<LinuxContainerResources> [message, optional];
        3 resources: Option<LinuxContainerResources> [message, optional];
    }
    UpdatePodSandboxResourcesResponse {}
    PodSandboxStatusRequest {
        1 pod_sandbox_id: String [string];
        2 verbose: bool [bool];
    }
    PodIp {
        1 ip: String [string];
    }
    PodSandboxNetworkStatus {
        1 ip: String [string];
        2 additional_ips: Vec<PodIp> [message, repeated];
    }
    Namespace {
        2 options: Option<NamespaceOption> [message, optional];
    }
    LinuxPodSandboxStatus {
        1 namespaces: Option<Namespace> [message, optional];
    }
    PodSandboxStatus {
        1 id: String [string];
        2 metadata: Option<PodSandboxMetadata> [message, optional];
        3 state: i32 [enumeration = "PodSandboxState"];
        4 created_at: i64 [int64];
        5 network: Option<PodSandboxNetworkStatus> [message, optional];
        6 linux: Option<LinuxPodSandboxStatus> [message, optional];
        7 labels: HashMap<String, String> [map = "string, string"];
        8 annotations: HashMap<String, String> [map = "string, string"];
        9 runtime_handler: String [string];
    }
    PodSandboxStatusResponse {
        1 status: Option<PodSandboxStatus> [message, optional];
        2 info: HashMap<String, String> [map = "string, string"];
        3 containers_statuses: Vec<ContainerStatus> [message, repeated];
        4 timestamp: i64 [int64];
    }
    PodSandboxStateValue {
        1 state: i32 [enumeration = "PodSandboxState"];
    }
    PodSandboxFilter {
        1 id: String [string];
        2 state: Option<PodSandboxStateValue> [message, optional];
        3 label_selector: HashMap<String, String> [map = "string, string"];
    }
    ListPodSandboxRequest {
        1 filter: Option<PodSandboxFilter> [message, optional];
    }
    PodSandbox {
        1 id: String [string];
        2 metadata: Option<PodSandboxMetadata> [message, optional];
        3 state: i32 [enumeration = "PodSandboxState"];
        4 created_at: i64 [int64];
        5 labels: HashMap<String, String> [map = "string, string"];
        6 annotations: HashMap<String, String> [map = "string, string"];
        7 runtime_handler: String [string];
    }
    ListPodSandboxResponse {
        1 items: Vec<PodSandbox> [message, repeated];
    }
    PodSandboxAttributes {
        1 id: String [string];
        2 metadata: Option<PodSandboxMetadata> [message, optional];
        3 labels: HashMap<String, String> [map = "string, string"];
        4 annotations: HashMap<String, String> [map = "string, string"];
    }
    ImageSpec {
        1 image: String [string];
        2 annotations: HashMap<String, String> [map = "string, string"];
        18 user_specified_image: String [string];
        19 runtime_handler: String [string];
        20 image_ref: String [string];
    }
    LinuxContainerResources {
        1 cpu_period: i64 [int64];
        2 cpu_quota: i64 [int64];
        3 cpu_shares: i64 [int64];
        4 memory_limit_in_bytes: i64 [int64];
        5 oom_score_adj: i64 [int64];
        6 cpuset_cpus: String [string];
        7 cpuset_mems: String [string];
        8 hugepage_limits: Vec<HugepageLimit> [message, repeated];
        9 unified: HashMap<String, String> [map = "string, string"];
        10 memory_swap_limit_in_bytes: i64 [int64];
    }
    HugepageLimit {
        1 page_size: String [string];
        2 limit: u64 [uint64];
    }
    SeLinuxOption {
        1 user: String [string];
        2 role: String [string];
        3 r#type: String [string];
        4 level: String [string];
    }
}

enumeration! {
    Protocol { Tcp = 0, Udp = 1, Sctp = 2 }
}

enumeration! {
    NamespaceMode { Pod = 0, Container = 1, Node = 2, Target = 3 }
}

enumeration! {
    SupplementalGroupsPolicy { Merge = 0, Strict = 1 }
}

/// What SecurityProfile nests.
pub mod security_profile {
    enumeration! {
        ProfileType { RuntimeDefault = 0, Unconfined = 1, Localhost = 2 }
    }
}

enumeration! {
    PodSandboxState { SandboxReady = 0, SandboxNotready = 1 }
}

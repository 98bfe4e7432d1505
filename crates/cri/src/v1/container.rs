//! Containers: their configuration, state and calls.

use super::*;

stored_messages! {
    Mount {
        1 container_path: String [string];
        2 host_path: String [string];
        3 readonly: bool [bool];
        4 selinux_relabel: bool [bool];
        5 propagation: i32 [enumeration = "MountPropagation"];
        6 uid_mappings: Vec<IdMapping> [message, repeated];
        7 gid_mappings: Vec<IdMapping> [message, repeated];
        8 recursive_read_only: bool [bool];
        9 image: Option<ImageSpec> [message, optional];
        10 image_sub_path: String [string];
    }
    KeyValue {
        1 key: String [string];
        2 value: String [string];
    }
    Capability {
        1 add_capabilities: Vec<String> [string, repeated];
        2 drop_capabilities: Vec<String> [string, repeated];
        3 add_ambient_capabilities: Vec<String> [string, repeated];
    }
    LinuxContainerSecurityContext {
        1 capabilities: Option<Capability> [message, optional];
        2 privileged: bool [bool];
        3 namespace_options: Option<NamespaceOption> [message, optional];
        4 selinux_options: Option<SeLinuxOption> [message, optional];
        5 run_as_user: Option<Int64Value> [message, optional];
        12 run_as_group: Option<Int64Value> [message, optional];
        6 run_as_username: String [string];
        7 readonly_rootfs: bool [bool];
        8 supplemental_groups: Vec<i64> [int64, repeated];
        17 supplemental_groups_policy: i32 [enumeration = "SupplementalGroupsPolicy"];
        11 no_new_privs: bool [bool];
        13 masked_paths: Vec<String> [string, repeated];
        14 readonly_paths: Vec<String> [string, repeated];
        15 seccomp: Option<SecurityProfile> [message, optional];
        16 apparmor: Option<SecurityProfile> [message, optional];
        9 apparmor_profile: String [string];
        10 seccomp_profile_path: String [string];
    }
    LinuxContainerConfig {
        1 resources: Option<LinuxContainerResources> [message, optional];
        2 security_context: Option<LinuxContainerSecurityContext> [message, optional];
    }
    LinuxContainerUser {
        1 uid: i64 [int64];
        2 gid: i64 [int64];
        3 supplemental_groups: Vec<i64> [int64, repeated];
    }
    ContainerMetadata {
        1 name: String [string];
        2 attempt: u32 [uint32];
    }
    Device {
        1 container_path: String [string];
        2 host_path: String [string];
        3 permissions: String [string];
    }
    CdiDevice {
        1 name: String [string];
    }
    ContainerConfig {
        1 metadata: Option<ContainerMetadata> [message, optional];
        2 image: Option<ImageSpec> [message, optional];
        3 command: Vec<String> [string, repeated];
        4 args: Vec<String> [string, repeated];
        5 working_dir: String [string];
        6 envs: Vec<KeyValue> [message, repeated];
        7 mounts: Vec<Mount> [message, repeated];
        8 devices: Vec<Device> [message, repeated];
        9 labels: HashMap<String, String> [map = "string, string"];
        10 annotations: HashMap<String, String> [map = "string, string"];
        11 log_path: String [string];
        12 stdin: bool [bool];
        13 stdin_once: bool [bool];
        14 tty: bool [bool];
        15 linux: Option<LinuxContainerConfig> [message, optional];
        16 windows: Option<WindowsContainerConfig> [message, optional];
        17 cdi_devices: Vec<CdiDevice> [message, repeated];
        18 stop_signal: i32 [enumeration = "Signal"];
    }
    CreateContainerRequest {
        1 pod_sandbox_id: String [string];
        2 config: Option<ContainerConfig> [message, optional];
        3 sandbox_config: Option<PodSandboxConfig> [message, optional];
    }
    CreateContainerResponse {
        1 container_id: String [string];
    }
    StartContainerRequest {
        1 container_id: String [string];
    }
    StartContainerResponse {}
    StopContainerRequest {
        1 container_id: String [string];
        2 timeout: i64 [int64];
    }
    StopContainerResponse {}
    RemoveContainerRequest {
        1 container_id: String [string];
    }
    RemoveContainerResponse {}
    ContainerStateValue {
        1 state: i32 [enumeration = "ContainerState"];
    }
    ContainerFilter {
        1 id: String [string];
        2 state: Option<ContainerStateValue> [message, optional];
        3 pod_sandbox_id: String [string];
        4 label_selector: HashMap<String, String> [map = "string, string"];
    }
    ListContainersRequest {
        1 filter: Option<ContainerFilter> [message, optional];
    }
    Container {
        1 id: String [string];
        2 pod_sandbox_id: String [string];
        3 metadata: Option<ContainerMetadata> [message, optional];
        4 image: Option<ImageSpec> [message, optional];
        5 image_ref: String [string];
        6 state: i32 [enumeration = "ContainerState"];
        7 created_at: i64 [int64];
        8 labels: HashMap<String, String> [map = "string, string"];
        9 annotations: HashMap<String, String> [map = "string, string"];
        10 image_id: String [string];
    }
    ListContainersResponse {
        1 containers: Vec<Container> [message, repeated];
    }
    ContainerStatusRequest {
        1 container_id: String [string];
        2 verbose: bool [bool];
    }
    ContainerStatus {
        1 id: String [string];
        2 metadata: Option<ContainerMetadata> [message, optional];
        3 state: i32 [enumeration = "ContainerState"];
        4 created_at: i64 [int64];
        5 started_at: i64 [int64];
        6 finished_at: i64 [int64];
        7 exit_code: i32 [int32];
        8 image: Option<ImageSpec> [message, optional];
        9 image_ref: String [string];
        10 reason: String [string];
        11 message: String [string];
        12 labels: HashMap<String, String> [map = "string, string"];
        13 annotations: HashMap<String, String> [map = "string, string"];
        14 mounts: Vec<Mount> [message, repeated];
        15 log_path: String [string];
        16 resources: Option<ContainerResources> [message, optional];
        17 image_id: String [string];
        18 user: Option<ContainerUser> [message, optional];
        19 stop_signal: i32 [enumeration = "Signal"];
    }
    ContainerStatusResponse {
        1 status: Option<ContainerStatus> [message, optional];
        2 info: HashMap<String, String> [map = "string, string"];
    }
    ContainerResources {
        1 linux: Option<LinuxContainerResources> [message, optional];
        2 windows: Option<WindowsContainerResources> [message, optional];
    }
    ContainerUser {
        1 linux: Option<LinuxContainerUser> [message, optional];
    }
    UpdateContainerResourcesRequest {
        1 container_id: String [string];
        2 linux: Option<LinuxContainerResources> [message, optional];
        3 windows: Option<WindowsContainerResources> [message, optional];
        4 annotations: HashMap<String, String> [map = "string, string"];
    }
    UpdateContainerResourcesResponse {}
    ContainerAttributes {
        1 id: String [string];
        2 metadata: Option<ContainerMetadata> [message, optional];
        3 labels: HashMap<String, String> [map = "string, string"];
        4 annotations: HashMap<String, String> [map = "string, string"];
    }
    ReopenContainerLogRequest {
        1 container_id: String [string];
    }
    ReopenContainerLogResponse {}
}

enumeration! {
    MountPropagation { PropagationPrivate = 0, PropagationHostToContainer = 1, PropagationBidirectional = 2 }
}

enumeration! {
    ContainerState { ContainerCreated = 0, ContainerRunning = 1, ContainerExited = 2, ContainerUnknown = 3 }
}

enumeration! {
    Signal {
        RuntimeDefault = 0, Sigabrt = 1, Sigalrm = 2, Sigbus = 3, Sigchld = 4, Sigcld = 5, Sigcont = 6,
        Sigfpe = 7, Sighup = 8, Sigill = 9, Sigint = 10, Sigio = 11, Sigiot = 12, Sigkill = 13,
        Sigpipe = 14, Sigpoll = 15, Sigprof = 16, Sigpwr = 17, Sigquit = 18, Sigsegv = 19, Sigstkflt = 20,
        Sigstop = 21, Sigsys = 22, Sigterm = 23, Sigtrap = 24, Sigtstp = 25, Sigttin = 26, Sigttou = 27,
        Sigurg = 28, Sigusr1 = 29, Sigusr2 = 30, Sigvtalrm = 31, Sigwinch = 32, Sigxcpu = 33, Sigxfsz = 34,
        Sigrtmin = 35, Sigrtminplus1 = 36, Sigrtminplus2 = 37, Sigrtminplus3 = 38, Sigrtminplus4 = 39,
        Sigrtminplus5 = 40, Sigrtminplus6 = 41, Sigrtminplus7 = 42, Sigrtminplus8 = 43, Sigrtminplus9 = 44,
        Sigrtminplus10 = 45, Sigrtminplus11 = 46, Sigrtminplus12 = 47, Sigrtminplus13 = 48,
        Sigrtminplus14 = 49, Sigrtminplus15 = 50, Sigrtmaxminus14 = 51, Sigrtmaxminus13 = 52,
        Sigrtmaxminus12 = 53, Sigrtmaxminus11 = 54, Sigrtmaxminus10 = 55, Sigrtmaxminus9 = 56,
        Sigrtmaxminus8 = 57, Sigrtmaxminus7 = 58, Sigrtmaxminus6 = 59, Sigrtmaxminus5 = 60,
        Sigrtmaxminus4 = 61, Sigrtmaxminus3 = 62, Sigrtmaxminus2 = 63, Sigrtmaxminus1 = 64, Sigrtmax = 65,
    }
}

//! The Windows halves of messages; carried so that no field of a peer is lost.

use super::*;

stored_messages! {
    WindowsNamespaceOption {
        1 network: i32 [enumeration = "NamespaceMode"];
    }
    WindowsSandboxSecurityContext {
        1 run_as_username: String [string];
        2 credential_spec: String [string];
        3 host_process: bool [bool];
        4 namespace_options: Option<WindowsNamespaceOption> [message, optional];
    }
    WindowsPodSandboxConfig {
        1 security_context: Option<WindowsSandboxSecurityContext> [message, optional];
    }
    WindowsContainerSecurityContext {
        1 run_as_username: String [string];
        2 credential_spec: String [string];
        3 host_process: bool [bool];
    }
    WindowsContainerConfig {
        1 resources: Option<WindowsContainerResources> [message, optional];
        2 security_context: Option<WindowsContainerSecurityContext> [message, optional];
    }
    WindowsContainerResources {
        1 cpu_shares: i64 [int64];
        2 cpu_count: i64 [int64];
        3 cpu_maximum: i64 [int64];
        4 memory_limit_in_bytes: i64 [int64];
        5 rootfs_size_in_bytes: i64 [int64];
        6 affinity_cpus: Vec<WindowsCpuGroupAffinity> [message, repeated];
    }
    WindowsCpuGroupAffinity {
        1 cpu_mask: u64 [uint64];
        2 cpu_group: u32 [uint32];
    }
}

messages! {
    WindowsPodSandboxStats {
        1 cpu: Option<WindowsCpuUsage> [message, optional];
        2 memory: Option<WindowsMemoryUsage> [message, optional];
        3 network: Option<WindowsNetworkUsage> [message, optional];
        4 process: Option<WindowsProcessUsage> [message, optional];
        5 containers: Vec<WindowsContainerStats> [message, repeated];
    }
    WindowsNetworkUsage {
        1 timestamp: i64 [int64];
        2 default_interface: Option<WindowsNetworkInterfaceUsage> [message, optional];
        3 interfaces: Vec<WindowsNetworkInterfaceUsage> [message, repeated];
    }
    WindowsNetworkInterfaceUsage {
        1 name: String [string];
        2 rx_bytes: Option<UInt64Value> [message, optional];
        3 rx_packets_dropped: Option<UInt64Value> [message, optional];
        4 tx_bytes: Option<UInt64Value> [message, optional];
        5 tx_packets_dropped: Option<UInt64Value> [message, optional];
    }
    WindowsProcessUsage {
        1 timestamp: i64 [int64];
        2 process_count: Option<UInt64Value> [message, optional];
    }
    WindowsFilesystemUsage {
        1 timestamp: i64 [int64];
        2 fs_id: Option<FilesystemIdentifier> [message, optional];
        3 used_bytes: Option<UInt64Value> [message, optional];
    }
    WindowsContainerStats {
        1 attributes: Option<ContainerAttributes> [message, optional];
        2 cpu: Option<WindowsCpuUsage> [message, optional];
        3 memory: Option<WindowsMemoryUsage> [message, optional];
        4 writable_layer: Option<WindowsFilesystemUsage> [message, optional];
    }
    WindowsCpuUsage {
        1 timestamp: i64 [int64];
        2 usage_core_nano_seconds: Option<UInt64Value> [message, optional];
        3 usage_nano_cores: Option<UInt64Value> [message, optional];
    }
    WindowsMemoryUsage {
        1 timestamp: i64 [int64];
        2 working_set_bytes: Option<UInt64Value> [message, optional];
        3 available_bytes: Option<UInt64Value> [message, optional];
        4 page_faults: Option<UInt64Value> [message, optional];
        5 commit_memory_bytes: Option<UInt64Value> [message, optional];
    }
}

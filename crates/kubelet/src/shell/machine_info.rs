//! What the machine is: read once, from the kernel's files.

use super::Config;
use k8s_openapi::api::core::v1::NodeSystemInfo;
use std::fs::read_to_string;

/// Amounts that the node has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// Thousandths of a CPU.
    pub cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes of the file system that holds pods.
    pub storage: i64,
}

impl Capacity {
    /// What the machine has.
    pub(crate) fn read(config: &Config) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let storage = rustix::fs::statvfs(&config.root).map_or(0, |s| s.f_blocks.saturating_mul(s.f_frsize));
        Self {
            cpu: i64::try_from(cpus).unwrap_or(1) * 1000,
            memory: memory_total(),
            storage: i64::try_from(storage).unwrap_or(i64::MAX),
        }
    }

    /// What pods may have of it.
    pub(crate) fn allocatable(self, config: &Config) -> Self {
        Self {
            cpu: (self.cpu - config.reserved.0).max(0),
            memory: (self.memory - config.reserved.1 - config.eviction.memory).max(0),
            storage: self.storage - config.eviction.nodefs.of(self.storage),
        }
    }
}

fn memory_total() -> i64 {
    let text = read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|l| l.strip_prefix("MemTotal:"));
    let kib = line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse::<i64>().ok());
    kib.unwrap_or(0) * 1024
}

fn first_line(path: &str) -> String {
    read_to_string(path).unwrap_or_default().lines().next().unwrap_or_default().trim().to_owned()
}

fn os_image() -> String {
    let text = read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "Linux".to_owned(), |n| n.trim_matches('"').to_owned())
}

/// The architecture in Go's words.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// What `kubectl describe node` shows of the system.
pub(crate) fn system(runtime: &str, version: &str) -> NodeSystemInfo {
    let machine_id = first_line("/etc/machine-id");
    let uuid = first_line("/sys/class/dmi/id/product_uuid");
    let uname = rustix::system::uname();
    NodeSystemInfo {
        architecture: architecture().to_owned(),
        boot_id: first_line("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: format!("{runtime}://{version}"),
        kernel_version: uname.release().to_string_lossy().into_owned(),
        kube_proxy_version: String::new(),
        kubelet_version: super::node_status::VERSION.to_owned(),
        system_uuid: if uuid.is_empty() { machine_id.clone() } else { uuid },
        machine_id,
        operating_system: "linux".to_owned(),
        os_image: os_image(),
        ..NodeSystemInfo::default()
    }
}

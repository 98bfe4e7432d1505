//! What containers and sandboxes use, in CRI's words.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;

use cri::{
    ContainerAttributes, ContainerStats, ContainerStatsFilter, CpuUsage, FilesystemIdentifier,
    FilesystemUsage, LinuxPodSandboxStats, MemoryUsage, NetworkInterfaceUsage, NetworkUsage,
    PodSandboxAttributes, PodSandboxStats, PodSandboxStatsFilter, ProcessUsage, SwapUsage, UInt64Value,
};

use super::{CallResult, Core, lock, view};
use crate::cgroup::Usage;
use crate::clock;
use crate::net::POD_INTERFACE;
use crate::state::{ContainerRecord, Phase, SandboxRecord};

/// How many files of a writable layer are counted before the count ends.
const FILE_LIMIT: u64 = 1_000_000;
/// Readings closer together than this give no rate.
const SHORTEST_INTERVAL: i64 = 100_000_000;

/// The last CPU reading of each container, to make rates from.
#[derive(Default)]
pub(crate) struct Sampler(Mutex<HashMap<String, Sample>>);

#[derive(Clone, Copy)]
struct Sample {
    at: i64,
    nanos: u64,
    rate: Option<u64>,
}

impl Sampler {
    /// CPU use in nanocores since the last reading that was long enough ago.
    fn rate(&self, id: &str, at: i64, nanos: u64) -> Option<u64> {
        let mut samples = lock(&self.0);
        let old = samples.get(id).copied();
        if let Some(old) = old.filter(|old| at - old.at < SHORTEST_INTERVAL) {
            return old.rate;
        }
        let rate = old.map(|old| {
            let used = u128::from(nanos.saturating_sub(old.nanos)) * 1_000_000_000;
            u64::try_from(used / (at - old.at) as u128).unwrap_or(u64::MAX)
        });
        samples.insert(id.to_owned(), Sample { at, nanos, rate });
        rate
    }

    fn retain(&self, alive: impl Fn(&str) -> bool) {
        lock(&self.0).retain(|id, _| alive(id));
    }
}

fn number(value: u64) -> Option<UInt64Value> {
    Some(UInt64Value { value })
}

fn memory(usage: &Usage, timestamp: i64) -> MemoryUsage {
    MemoryUsage {
        timestamp,
        working_set_bytes: number(usage.working_set),
        available_bytes: usage.memory_limit.and_then(|limit| number(limit.saturating_sub(usage.working_set))),
        usage_bytes: number(usage.memory),
        rss_bytes: number(usage.rss),
        page_faults: number(usage.page_faults),
        major_page_faults: number(usage.major_page_faults),
    }
}

impl Core {
    /// CRI `ContainerStats`.
    pub(crate) fn container_stats(&self, id: &str) -> CallResult<ContainerStats> {
        Ok(self.stats_of(&self.container(id)?.record()))
    }

    /// CRI `ListContainerStats`: running containers.
    pub(crate) fn list_container_stats(&self, filter: Option<ContainerStatsFilter>) -> Vec<ContainerStats> {
        let filter = filter.unwrap_or_default();
        let all: Vec<_> = lock(&self.containers).values().cloned().collect();
        let known: Vec<_> = all.iter().map(|container| container.record()).collect();
        self.sampler.retain(|id| known.iter().any(|r| r.id == id || r.sandbox == id));
        let chosen = known.iter().filter(|r| r.phase == Phase::Running);
        let chosen =
            chosen.filter(|r| r.id.starts_with(&filter.id) && r.sandbox.starts_with(&filter.pod_sandbox_id));
        let labelled = |r: &&ContainerRecord| {
            filter.label_selector.iter().all(|(k, v)| r.config.labels.get(k) == Some(v))
        };
        chosen.filter(labelled).map(|record| self.stats_of(record)).collect()
    }

    fn stats_of(&self, record: &ContainerRecord) -> ContainerStats {
        let timestamp = clock::now_nanos();
        let usage = self.group(record).usage();
        let attributes = ContainerAttributes {
            id: record.id.clone(),
            metadata: view::container_metadata(record),
            labels: record.config.labels.clone(),
            annotations: record.config.annotations.clone(),
        };
        let rate = self.sampler.rate(&record.id, timestamp, usage.cpu_nanos);
        ContainerStats {
            attributes: Some(attributes),
            cpu: Some(CpuUsage {
                timestamp,
                usage_core_nano_seconds: number(usage.cpu_nanos),
                usage_nano_cores: rate.and_then(number),
            }),
            memory: Some(memory(&usage, timestamp)),
            writable_layer: Some(layer_usage(&self.places.layer(&record.id).join("upper"), timestamp)),
            swap: Some(SwapUsage {
                timestamp,
                swap_available_bytes: number(0),
                swap_usage_bytes: number(usage.swap),
            }),
        }
    }

    /// CRI `PodSandboxStats`.
    pub(crate) fn sandbox_stats(&self, id: &str) -> CallResult<PodSandboxStats> {
        Ok(self.stats_of_sandbox(&self.sandbox(id)?.record()))
    }

    /// CRI `ListPodSandboxStats`: ready sandboxes.
    pub(crate) fn list_sandbox_stats(&self, filter: Option<PodSandboxStatsFilter>) -> Vec<PodSandboxStats> {
        let filter = filter.unwrap_or_default();
        let all: Vec<_> = lock(&self.sandboxes).values().cloned().collect();
        let chosen =
            all.iter().map(|sandbox| sandbox.record()).filter(|r| r.ready && r.id.starts_with(&filter.id));
        let labelled =
            |r: &SandboxRecord| filter.label_selector.iter().all(|(k, v)| r.config.labels.get(k) == Some(v));
        chosen.filter(labelled).map(|record| self.stats_of_sandbox(&record)).collect()
    }

    fn stats_of_sandbox(&self, record: &SandboxRecord) -> PodSandboxStats {
        let timestamp = clock::now_nanos();
        let parent =
            record.config.linux.as_ref().map(|linux| linux.cgroup_parent.clone()).unwrap_or_default();
        let usage = if parent.is_empty() { Usage::default() } else { self.cgroups.group(&parent).usage() };
        let running = self
            .containers_of(&record.id)
            .into_iter()
            .map(|c| c.record())
            .filter(|r| r.phase == Phase::Running);
        let linux = LinuxPodSandboxStats {
            cpu: Some(CpuUsage {
                timestamp,
                usage_core_nano_seconds: number(usage.cpu_nanos),
                usage_nano_cores: self.sampler.rate(&record.id, timestamp, usage.cpu_nanos).and_then(number),
            }),
            memory: Some(memory(&usage, timestamp)),
            network: record.veth.as_deref().map(|veth| network(veth, timestamp)),
            process: Some(ProcessUsage { timestamp, process_count: number(usage.processes) }),
            containers: running.map(|container| self.stats_of(&container)).collect(),
        };
        let attributes = PodSandboxAttributes {
            id: record.id.clone(),
            metadata: view::sandbox_metadata(record),
            labels: record.config.labels.clone(),
            annotations: record.config.annotations.clone(),
        };
        PodSandboxStats { attributes: Some(attributes), linux: Some(linux), windows: None }
    }
}

/// Counters of the pod's interface, read at our end of the pair: what we sent, it received.
fn network(veth: &str, timestamp: i64) -> NetworkUsage {
    let counter = |name: &str| {
        let text = fs::read_to_string(format!("/sys/class/net/{veth}/statistics/{name}")).unwrap_or_default();
        number(text.trim().parse().unwrap_or(0))
    };
    let interface = NetworkInterfaceUsage {
        name: POD_INTERFACE.to_owned(),
        rx_bytes: counter("tx_bytes"),
        rx_errors: counter("tx_errors"),
        tx_bytes: counter("rx_bytes"),
        tx_errors: counter("rx_errors"),
    };
    NetworkUsage { timestamp, default_interface: Some(interface.clone()), interfaces: vec![interface] }
}

/// What files below `path` take up on their disk.
pub(crate) fn layer_usage(path: &Path, timestamp: i64) -> FilesystemUsage {
    let (mut bytes, mut files) = (0, 0);
    let mut waiting = vec![path.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let Ok(status) = entry.metadata() else { continue };
            bytes += status.blocks() * 512;
            files += 1;
            if status.is_dir() {
                waiting.push(entry.path());
            }
        }
        if files > FILE_LIMIT {
            break;
        }
    }
    let mountpoint = path.to_string_lossy().into_owned();
    FilesystemUsage {
        timestamp,
        fs_id: Some(FilesystemIdentifier { mountpoint }),
        used_bytes: number(bytes),
        inodes_used: number(files),
    }
}

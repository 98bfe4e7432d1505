//! The control groups that a container's start makes and limits: its own and its pod's.

use std::time::{Duration, Instant};

use cri::LinuxContainerResources;

use super::{CallResult, Container, Core, failed, lock, process};
use crate::cgroup::DeviceRules;
use crate::clock;
use crate::state::{ContainerRecord, Phase};

/// Processes and threads that a container may have unless its node agent says otherwise (CRI-O's `pids_limit` as
/// OpenShift sets it). Upstream's kubelet sets no limit, and one fork bomb takes the whole node's process ids.
const PIDS_LIMIT: u32 = 4096;
/// How long the kernel may count a group that was removed, and how often we look.
const FORGOTTEN_LIMIT: Duration = Duration::from_secs(1);
const FORGOTTEN_PAUSE: Duration = Duration::from_millis(2);

impl Core {
    /// Makes a container's group with all its limits, and gives its pod's what holds for it now.
    pub(super) fn make_group(&self, record: &ContainerRecord) -> CallResult<()> {
        let security = process::security(&record.config);
        let group = self.group(record);
        let cpuset = !record.resources.cpuset_cpus.is_empty() || !record.resources.cpuset_mems.is_empty();
        group.create(cpuset).map_err(|e| failed("making the container's control groups", e))?;
        // A pod must have more before its container, and can have less only after it: the kernel refuses the other order.
        let early = self.limit_pod(record);
        group.limit(&record.resources).map_err(|e| failed("setting the container's limits", e))?;
        if early.is_err() {
            self.limit_pod_late(record)?;
        }
        self.weigh(record);
        if !record.resources.unified.contains_key("pids.max") {
            group.limit_pids(PIDS_LIMIT).map_err(|e| failed("limiting the container's processes", e))?;
        }
        let rules = if security.privileged { DeviceRules::everything() } else { self.device_rules(record)? };
        // Inside another container, the outer one may forbid to change device rules; its own then hold.
        if let Err(error) = group.restrict_devices(&rules) {
            tracing::warn!(%error, container = record.id, "device rules not set");
        }
        Ok(())
    }

    /// What a pod may use as a whole holds for the group of all its containers (`pkg/kubelet/cm/pod_container_manager_linux.go`).
    fn limit_pod(&self, record: &ContainerRecord) -> CallResult<()> {
        let linux = self.sandbox(&record.sandbox)?.record().config.linux.unwrap_or_default();
        let whole = LinuxContainerResources { cpu_shares: 0, ..linux.resources.unwrap_or_default() };
        if whole.cpu_quota == 0 && whole.memory_limit_in_bytes == 0 && whole.hugepage_limits.is_empty() {
            return Ok(());
        }
        let limited = self.cgroups.group(&linux.cgroup_parent).limit(&whole);
        limited.map_err(|e| failed("setting the pod's limits", e))
    }

    /// The same once the container has its limits. While another one has more, the pod keeps what it had; what is left
    /// of one that was just removed counts for the kernel until it has forgotten it.
    fn limit_pod_late(&self, record: &ContainerRecord) -> CallResult<()> {
        let until = Instant::now() + FORGOTTEN_LIMIT;
        loop {
            let Err(error) = self.limit_pod(record) else { return Ok(()) };
            let more = |other: &Container| {
                let other = other.record();
                other.id != record.id && other.phase == Phase::Running
            };
            if self.containers_of(&record.sandbox).iter().any(|other| more(other)) {
                // The next one to start or to be changed tries again.
                tracing::warn!(%error, container = record.id, "the pod's limits are not changed yet");
                return Ok(());
            }
            if Instant::now() > until {
                return Err(error);
            }
            clock::pause(FORGOTTEN_PAUSE);
        }
    }

    /// A pod weighs what its containers ask for together, and a class of pods what its pods do
    /// (`pkg/kubelet/cm/qos_container_manager_linux.go`): without that a pod that asks for nothing would get as much as
    /// one that asks for much.
    fn weigh(&self, record: &ContainerRecord) {
        const LEAST: i64 = 2;
        const MOST: i64 = 262_144;
        let Some((pod, _)) = record.cgroup.rsplit_once('/') else { return };
        let class = pod
            .rsplit_once('/')
            .map(|(class, _)| class)
            .filter(|c| c.ends_with("burstable") || c.ends_with("besteffort"));
        let (mut own, mut together) = (None, 0);
        for sandbox in lock(&self.sandboxes).values() {
            let Some(linux) = sandbox.record().config.linux else { continue };
            let shares = linux.resources.map_or(0, |r| r.cpu_shares);
            if linux.cgroup_parent == pod {
                own = Some(shares).filter(|s| *s > 0);
            }
            if class.is_some_and(|c| linux.cgroup_parent.rsplit_once('/').is_some_and(|(p, _)| p == c)) {
                together += shares;
            }
        }
        let Some(own) = own else { return };
        let mut wanted = vec![(pod, own)];
        wanted.extend(class.map(|c| (c, if c.ends_with("besteffort") { LEAST } else { together })));
        for (path, shares) in wanted {
            if let Err(error) = self.cgroups.group(path).share(shares.clamp(LEAST, MOST)) {
                tracing::warn!(%error, path, "control group not weighed");
            }
        }
    }

    fn device_rules(&self, record: &ContainerRecord) -> CallResult<DeviceRules> {
        let mut rules = DeviceRules::restricted();
        for device in &record.config.devices {
            let allowed = rules.allow(device.host_path.as_ref(), &device.permissions);
            allowed.map_err(|e| failed(format!("giving the container device {:?}", device.host_path), e))?;
        }
        Ok(rules)
    }
}

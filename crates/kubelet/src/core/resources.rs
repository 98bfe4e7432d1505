//! Requests and limits: sums over a pod, and what the runtime is told (`pkg/kubelet/cm/helpers_linux.go`).

use super::sandbox::NodeSettings;
use super::{podspec, qos};
use cri::LinuxContainerResources;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use meta::quantity::Quantity;
use std::collections::BTreeMap;

/// Amounts by resource name, as the API writes them.
pub type List = BTreeMap<String, ApiQuantity>;
/// Amounts by resource name, parsed.
pub type Amounts = BTreeMap<String, Quantity>;

/// The length of a CPU quota's period in microseconds.
pub const QUOTA_PERIOD: i64 = 100_000;
/// The least CPU quota in microseconds that the kernel takes.
const MIN_QUOTA: i64 = 1_000;
/// The least CPU shares.
const MIN_SHARES: i64 = 2;
/// The most CPU shares.
const MAX_SHARES: i64 = 262_144;

/// Parses an amount; a malformed one reads as none (the API server refuses it before it gets here).
pub fn parse(q: &ApiQuantity) -> Option<Quantity> {
    Quantity::parse(&q.0).ok()
}

/// The whole units of a resource in a list; 0 when absent.
pub fn value(list: Option<&List>, resource: &str) -> i64 {
    list.and_then(|l| l.get(resource)).and_then(parse).map_or(0, |q| q.value())
}

/// The thousandths of a resource in a list; 0 when absent.
pub fn milli(list: Option<&List>, resource: &str) -> i64 {
    list.and_then(|l| l.get(resource)).and_then(parse).map_or(0, |q| q.milli_value())
}

fn parsed(list: Option<&List>) -> Amounts {
    list.into_iter().flatten().filter_map(|(k, v)| Some((k.clone(), parse(v)?))).collect()
}

fn add(to: &mut Amounts, more: &Amounts) {
    for (k, v) in more {
        match to.get_mut(k) {
            Some(sum) => sum.add(v),
            None => drop(to.insert(k.clone(), v.clone())),
        }
    }
}

fn raise(to: &mut Amounts, other: &Amounts) {
    for (k, v) in other {
        if to.get(k).is_none_or(|have| have < v) {
            to.insert(k.clone(), v.clone());
        }
    }
}

fn sum(pod: &Pod, of: impl Fn(&Container) -> Amounts) -> Amounts {
    let mut total = Amounts::new();
    podspec::containers(pod).iter().for_each(|c| add(&mut total, &of(c)));
    let mut sidecars = Amounts::new();
    let mut peak = Amounts::new();
    for c in podspec::init_containers(pod) {
        let mut here = of(c);
        if podspec::is_sidecar(c) {
            add(&mut total, &here);
            add(&mut sidecars, &here);
            here = sidecars.clone();
        } else {
            add(&mut here, &sidecars);
        }
        raise(&mut peak, &here);
    }
    raise(&mut total, &peak);
    total
}

/// What the whole pod asks for: the larger of its containers together and each init container with the sidecars
/// before it; the pod's own request in its place where it has one; plus overhead (`resourcehelper.PodRequests`).
pub fn pod_requests(pod: &Pod) -> Amounts {
    let mut total = sum(pod, |c| parsed(c.resources.as_ref().and_then(|r| r.requests.as_ref())));
    let spec = podspec::spec(pod);
    total.extend(parsed(spec.resources.as_ref().and_then(|r| r.requests.as_ref())));
    add(&mut total, &parsed(spec.overhead.as_ref()));
    total
}

/// The limits of the whole pod; a resource is limited only if every container limits it.
pub fn pod_limits(pod: &Pod) -> Amounts {
    let limits = |c: &Container| parsed(c.resources.as_ref().and_then(|r| r.limits.as_ref()));
    let mut total = sum(pod, limits);
    let lasting = || podspec::init_containers(pod).iter().filter(|c| podspec::is_sidecar(c));
    total.retain(|k, _| podspec::containers(pod).iter().chain(lasting()).all(|c| limits(c).contains_key(k)));
    let spec = podspec::spec(pod);
    total.extend(parsed(spec.resources.as_ref().and_then(|r| r.limits.as_ref())));
    for (k, v) in parsed(spec.overhead.as_ref()) {
        if let Some(sum) = total.get_mut(&k) {
            sum.add(&v);
        }
    }
    total
}

/// CPU shares of `milli` thousandths of a CPU.
pub fn shares(milli: i64) -> i64 {
    (milli.saturating_mul(1024) / 1000).clamp(MIN_SHARES, MAX_SHARES)
}

/// CPU quota for each period of `milli` thousandths of a CPU; 0 for no limit.
pub fn quota(milli: i64) -> i64 {
    if milli <= 0 { 0 } else { (milli.saturating_mul(QUOTA_PERIOD) / 1000).max(MIN_QUOTA) }
}

/// What the runtime is told of a container's resources.
pub fn for_container(pod: &Pod, c: &Container, node: &NodeSettings) -> LinuxContainerResources {
    let limits = c.resources.as_ref().and_then(|r| r.limits.as_ref());
    let requests = c.resources.as_ref().and_then(|r| r.requests.as_ref());
    // Without a limit of its own, that of the pod as a whole: the pod's group holds for all of its containers together.
    let level = podspec::spec(pod).resources.as_ref().and_then(|r| r.limits.as_ref());
    let cpu_limit = match milli(limits, "cpu") {
        0 => milli(level, "cpu"),
        n => n,
    };
    let cpu_request = match requests.is_some_and(|r| r.contains_key("cpu")) {
        true => milli(requests, "cpu"),
        false => cpu_limit,
    };
    let memory = match value(limits, "memory") {
        0 => value(level, "memory"),
        n => n,
    };
    LinuxContainerResources {
        cpu_period: QUOTA_PERIOD,
        cpu_quota: quota(cpu_limit),
        cpu_shares: shares(cpu_request),
        memory_limit_in_bytes: memory,
        oom_score_adj: qos::oom_score(pod, c, node.memory),
        hugepage_limits: hugepages(limits),
        unified: match node.unified_cgroups {
            // Half a container is no use: all of its processes go when one must (`singleProcessOOMKill: false`).
            true => [("memory.oom.group".to_owned(), "1".to_owned())].into(),
            false => Default::default(),
        },
        ..LinuxContainerResources::default()
    }
}

fn hugepages(limits: Option<&List>) -> Vec<cri::HugepageLimit> {
    let one = |(name, q): (&String, &ApiQuantity)| {
        let size = Quantity::parse(name.strip_prefix("hugepages-")?).ok()?.value();
        let (n, unit) =
            [(1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")].into_iter().find(|(n, _)| size % n == 0)?;
        let limit = u64::try_from(parse(q)?.value()).ok()?;
        Some(cri::HugepageLimit { page_size: format!("{}{unit}", size / n), limit })
    };
    limits.into_iter().flatten().filter_map(one).collect()
}

/// What the runtime is told of the pod as a whole (`calculateSandboxResources`).
pub fn for_sandbox(pod: &Pod) -> LinuxContainerResources {
    let of = |list: &Amounts, name: &str, milli: bool| {
        list.get(name).map_or(0, |q| if milli { q.milli_value() } else { q.value() })
    };
    let (requests, limits) = (pod_requests(pod), pod_limits(pod));
    LinuxContainerResources {
        cpu_period: QUOTA_PERIOD,
        cpu_quota: quota(of(&limits, "cpu", true)),
        cpu_shares: shares(of(&requests, "cpu", true)),
        memory_limit_in_bytes: of(&limits, "memory", false),
        ..LinuxContainerResources::default()
    }
}

/// What the runtime is told of the pod's overhead.
pub fn for_overhead(pod: &Pod) -> LinuxContainerResources {
    let overhead = podspec::spec(pod).overhead.as_ref();
    if overhead.is_none() {
        return LinuxContainerResources::default();
    }
    LinuxContainerResources {
        cpu_period: QUOTA_PERIOD,
        cpu_quota: quota(milli(overhead, "cpu")),
        cpu_shares: shares(milli(overhead, "cpu")),
        memory_limit_in_bytes: value(overhead, "memory"),
        ..LinuxContainerResources::default()
    }
}

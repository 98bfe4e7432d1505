//! What pods use: `/stats/summary`, `/metrics/resource` (`pkg/kubelet/server/stats`,
//! `pkg/kubelet/metrics/collectors/resource_metrics.go`).

use super::exposition::{TEXT, family, labels};
use super::{Answer, answer, text};
use crate::core::observe::{CONTAINER_NAME_LABEL, POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL};
use crate::core::{conditions, podspec};
use crate::shell::{Context, garbage, now, pressure};
use cri::{
    ContainerStats, ListContainerStatsRequest, ListPodSandboxStatsRequest, NetworkInterfaceUsage,
    NetworkUsage,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// The kernel's clock ticks a second.
const TICKS: u64 = 100;

/// What a running container uses.
pub(super) struct Used {
    pub uid: String,
    pub namespace: String,
    pub pod: String,
    pub container: String,
    /// The runtime's identifier.
    pub id: String,
    /// When it was started, in nanoseconds since the epoch; 0 if unknown.
    pub started: i64,
    pub cpu_nanos: u64,
    pub nano_cores: Option<u64>,
    pub working_set: u64,
    pub usage: u64,
    pub rss: u64,
    pub swap: u64,
    pub disk: u64,
    /// When it was looked at, in nanoseconds since the epoch.
    pub at: i64,
}

fn used(ctx: &Context, s: ContainerStats) -> Option<Used> {
    let attributes = s.attributes?;
    let (id, labels) = (attributes.id, attributes.labels);
    let handle = labels.get(POD_UID_LABEL).and_then(|uid| ctx.pod(uid));
    let label = |k: &str| labels.get(k).cloned();
    let (cpu, memory) = (s.cpu.unwrap_or_default(), s.memory.unwrap_or_default());
    let number = |n: &Option<cri::UInt64Value>| n.as_ref().map_or(0, |n| n.value);
    Some(Used {
        uid: label(POD_UID_LABEL)?,
        namespace: label(POD_NAMESPACE_LABEL)?,
        pod: label(POD_NAME_LABEL)?,
        container: label(CONTAINER_NAME_LABEL)?,
        started: handle.and_then(|h| h.observed.by_id(&id).map(|o| o.started_at)).unwrap_or(0),
        cpu_nanos: number(&cpu.usage_core_nano_seconds),
        nano_cores: cpu.usage_nano_cores.map(|n| n.value),
        working_set: number(&memory.working_set_bytes),
        usage: number(&memory.usage_bytes),
        rss: number(&memory.rss_bytes),
        swap: s.swap.and_then(|s| s.swap_usage_bytes).map_or(0, |n| n.value),
        disk: s.writable_layer.and_then(|w| w.used_bytes).map_or(0, |n| n.value),
        at: cpu.timestamp,
        id,
    })
}

/// All running containers.
pub(super) async fn all(ctx: &Context) -> Result<Vec<Used>, Box<Answer>> {
    let listed = ctx.runtime.list_container_stats(ListContainerStatsRequest { filter: None }).await;
    let stats = listed.map_err(|e| Box::new(text(500, &e.to_string())))?.stats;
    Ok(stats.into_iter().filter_map(|s| used(ctx, s)).collect())
}

fn stamp(nanos: i64) -> Value {
    let t =
        jiff::Timestamp::from_nanosecond(i128::from(nanos)).ok().filter(|_| nanos > 0).unwrap_or_else(now);
    json!(Time(conditions::whole_second(t)))
}

/// CPU time in nanoseconds and working set in bytes of the whole machine.
fn machine() -> (u64, u64, u64) {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u64> = fields.filter_map(|n| n.parse().ok()).collect();
    let busy = |i: usize| ticks.get(i).copied().unwrap_or(0);
    let cpu = (busy(0) + busy(1) + busy(2) + busy(5) + busy(6) + busy(7)) * (1_000_000_000 / TICKS);
    let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find_map(|l| l.strip_prefix(name));
        line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    let total = field("MemTotal:");
    (cpu, total.saturating_sub(field("MemAvailable:")), field("MemAvailable:"))
}

/// A file system as the summary shows it.
fn disk(path: &Path) -> Value {
    let fs = pressure::file_system(path);
    json!({"time": stamp(0), "availableBytes": fs.available, "capacityBytes": fs.capacity,
        "usedBytes": fs.capacity - fs.available, "inodes": fs.inodes, "inodesFree": fs.inodes_free,
        "inodesUsed": fs.inodes - fs.inodes_free})
}

/// When the machine was started, in nanoseconds since the epoch; 0 if it doesn't say.
fn boot_time() -> i64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let seconds = stat.lines().find_map(|l| l.strip_prefix("btime ")?.trim().parse::<i64>().ok());
    seconds.unwrap_or(0).saturating_mul(1_000_000_000)
}

/// What pods' interfaces carried, by the pods' UIDs.
pub(super) async fn networks(ctx: &Context) -> HashMap<String, NetworkUsage> {
    let listed = ctx.runtime.list_pod_sandbox_stats(ListPodSandboxStatsRequest { filter: None }).await;
    let one = |s: cri::PodSandboxStats| {
        let uid = s.attributes?.labels.get(POD_UID_LABEL)?.clone();
        Some((uid, s.linux?.network?))
    };
    listed.map(|l| l.stats.into_iter().filter_map(one).collect()).unwrap_or_default()
}

/// `/stats/summary`.
pub(crate) async fn summary(ctx: &Context) -> Answer {
    let list = match all(ctx).await {
        Ok(l) => l,
        Err(a) => return *a,
    };
    let mut pods: BTreeMap<String, Vec<Used>> = BTreeMap::new();
    for u in list {
        pods.entry(u.uid.clone()).or_default().push(u);
    }
    let networks = networks(ctx).await;
    let pods: Vec<Value> = pods.into_iter().map(|(uid, c)| pod(ctx, &c, networks.get(&uid))).collect();
    let images = garbage::image_place(ctx).await.map(|p| disk(Path::new(&p))).unwrap_or_default();
    let (cpu, memory, available) = machine();
    let time = stamp(0);
    let node = json!({"nodeName": ctx.config.node_name, "startTime": stamp(boot_time()),
        "fs": disk(&ctx.config.root), "runtime": {"imageFs": images},
        "cpu": {"time": time, "usageCoreNanoSeconds": cpu},
        "memory": {"time": time, "workingSetBytes": memory, "usageBytes": memory, "availableBytes": available}});
    answer(200, "application/json", json!({"node": node, "pods": pods}).to_string())
}

fn pod(ctx: &Context, containers: &[Used], network: Option<&NetworkUsage>) -> Value {
    let one = |u: &Used| {
        let time = stamp(u.at);
        let mut cpu = json!({"time": time, "usageCoreNanoSeconds": u.cpu_nanos});
        if let Some(n) = u.nano_cores {
            cpu["usageNanoCores"] = n.into();
        }
        json!({"name": u.container, "startTime": stamp(u.started), "cpu": cpu,
            "memory": {"time": time, "workingSetBytes": u.working_set, "usageBytes": u.usage, "rssBytes": u.rss},
            "rootfs": {"time": time, "usedBytes": u.disk}})
    };
    let network = network.map(|n| {
        let one = |i: &NetworkInterfaceUsage| {
            let number = |n: &Option<cri::UInt64Value>| n.as_ref().map_or(0, |n| n.value);
            json!({"name": i.name, "rxBytes": number(&i.rx_bytes), "rxErrors": number(&i.rx_errors),
                "txBytes": number(&i.tx_bytes), "txErrors": number(&i.tx_errors)})
        };
        let mut out = n.default_interface.as_ref().map_or_else(|| json!({}), one);
        out["time"] = stamp(n.timestamp);
        out["interfaces"] = n.interfaces.iter().map(one).collect();
        out
    });
    let total = |f: fn(&Used) -> u64| containers.iter().map(f).sum::<u64>();
    let first = &containers[0];
    let time = stamp(first.at);
    let start = ctx.pod(&first.uid).and_then(|h| podspec::status(&h.pod).start_time.clone());
    json!({"podRef": {"name": first.pod, "namespace": first.namespace, "uid": first.uid},
        "startTime": start.map_or_else(|| time.clone(), |t| json!(t)),
        "containers": containers.iter().map(one).collect::<Vec<_>>(), "network": network,
        "ephemeral-storage": {"time": time, "usedBytes": total(|u| u.disk)},
        "cpu": {"time": time, "usageCoreNanoSeconds": total(|u| u.cpu_nanos)},
        "memory": {"time": time, "workingSetBytes": total(|u| u.working_set), "usageBytes": total(|u| u.usage),
            "rssBytes": total(|u| u.rss)}})
}

/// Nanoseconds as seconds.
pub(super) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

fn container_metrics(out: &mut String, list: &[Used]) {
    let labels =
        |u: &Used| labels(&[("container", &u.container), ("namespace", &u.namespace), ("pod", &u.pod)]);
    let each = |value: &dyn Fn(&Used) -> f64| -> Vec<String> {
        list.iter().map(|u| format!("{} {} {}", labels(u), value(u), u.at / 1_000_000)).collect()
    };
    let help = "[STABLE] Cumulative cpu time consumed by the container in core-seconds";
    family(out, ("container_cpu_usage_seconds_total", "counter", help), each(&|u| seconds(u.cpu_nanos)));
    let help = "[STABLE] Current working set of the container in bytes";
    family(out, ("container_memory_working_set_bytes", "gauge", help), each(&|u| u.working_set as f64));
    let started = list.iter().filter(|u| u.started > 0);
    let lines = started.map(|u| format!("{} {}", labels(u), seconds(u.started.unsigned_abs()))).collect();
    let help = "[STABLE] Start time of the container since unix epoch in seconds";
    family(out, ("container_start_time_seconds", "gauge", help), lines);
}

fn pod_metrics(out: &mut String, list: &[Used]) {
    let mut pods: BTreeMap<(&str, &str), (f64, f64)> = BTreeMap::new();
    for u in list {
        let p = pods.entry((&u.namespace, &u.pod)).or_default();
        *p = (p.0 + seconds(u.cpu_nanos), p.1 + u.working_set as f64);
    }
    let by_pod = |pick: fn(&(f64, f64)) -> f64| -> Vec<String> {
        let line =
            |(ns, p): &(&str, &str), v| format!("{} {}", labels(&[("namespace", ns), ("pod", p)]), pick(v));
        pods.iter().map(|(key, v)| line(key, v)).collect()
    };
    let help = "[STABLE] Cumulative cpu time consumed by the pod in core-seconds";
    family(out, ("pod_cpu_usage_seconds_total", "counter", help), by_pod(|v| v.0));
    let help = "[STABLE] Current working set of the pod in bytes";
    family(out, ("pod_memory_working_set_bytes", "gauge", help), by_pod(|v| v.1));
}

/// `/metrics/resource`: what metrics-server reads.
pub(crate) async fn resource_metrics(ctx: &Context) -> Answer {
    let list = match all(ctx).await {
        Ok(l) => l,
        Err(a) => return *a,
    };
    let (cpu, memory, _) = machine();
    let mut out = String::new();
    container_metrics(&mut out, &list);
    let help = "[STABLE] Cumulative cpu time consumed by the node in core-seconds";
    let line = vec![format!(" {}", seconds(cpu))];
    family(&mut out, ("node_cpu_usage_seconds_total", "counter", help), line);
    let help = "[STABLE] Current working set of the node in bytes";
    family(&mut out, ("node_memory_working_set_bytes", "gauge", help), vec![format!(" {memory}")]);
    pod_metrics(&mut out, &list);
    let help = "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise";
    family(&mut out, ("resource_scrape_error", "gauge", help), vec![" 0".to_owned()]);
    answer(200, TEXT, out)
}

/// `/metrics`: of the agent itself.
pub(crate) fn metrics(ctx: &Context) -> Answer {
    let (pods, containers) = {
        let all = ctx.pods();
        (all.len(), all.values().map(|h| h.observed.alive().count()).sum::<usize>())
    };
    let mut out = String::new();
    let help = "[STABLE] Number of pods that have a running pod sandbox";
    family(&mut out, ("kubelet_running_pods", "gauge", help), vec![format!(" {pods}")]);
    let help = "[STABLE] Number of containers currently running";
    let line = format!("{{container_state=\"running\"}} {containers}");
    family(&mut out, ("kubelet_running_containers", "gauge", help), vec![line]);
    let line = format!("{{node={:?}}} 1", ctx.config.node_name);
    family(
        &mut out,
        ("kubelet_node_name", "gauge", "[ALPHA] The node's name. The count is always 1."),
        vec![line],
    );
    let line = |((part, code, reason), n): ((&str, i32, String), u64)| {
        let code = code.to_string();
        let pairs = [("container_type", part), ("exit_code", code.as_str()), ("reason", &reason)];
        format!("{} {n}", labels(&pairs))
    };
    let help = "[ALPHA] Cumulative number of container terminations.";
    let lines = ctx.endings.all().into_iter().map(line).collect();
    family(&mut out, ("kubelet_terminated_containers_total", "counter", help), lines);
    answer(200, TEXT, out)
}

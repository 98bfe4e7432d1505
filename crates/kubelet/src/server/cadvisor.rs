//! `/metrics/cadvisor` and `/metrics/probes`: what Prometheus is usually made to scrape of a node
//! (google/cadvisor `metrics/prometheus.go`, `pkg/kubelet/prober/prober_manager.go`). Of cAdvisor's families, those
//! that the runtime's statistics and the pods' specs can fill; rows are of containers, and of pods for the network.

use super::exposition::{TEXT, family, labels};
use super::stats::{Used, all, networks, seconds};
use super::{Answer, answer};
use crate::core::{podspec, qos, resources};
use crate::shell::{Context, PodHandle};
use cri::NetworkInterfaceUsage;
use std::collections::BTreeMap;

/// A container with its pod.
struct Row {
    used: Used,
    handle: PodHandle,
    labels: [(&'static str, String); 6],
}

impl Row {
    fn new(used: Used, handle: PodHandle) -> Self {
        let image = handle.observed.by_id(&used.id).map(|o| o.image.clone()).unwrap_or_default();
        let labels = [
            ("container", used.container.clone()),
            ("id", format!("{}/{}", qos::cgroup_parent(&handle.pod), used.id)),
            ("image", image),
            ("name", used.id.clone()),
            ("namespace", used.namespace.clone()),
            ("pod", used.pod.clone()),
        ];
        Self { used, handle, labels }
    }

    fn labels(&self, more: &[(&'static str, &str)]) -> String {
        let mut all: Vec<(&str, &str)> = self.labels.iter().map(|(k, v)| (*k, v.as_str())).collect();
        all.extend_from_slice(more);
        all.sort_unstable();
        labels(&all)
    }

    /// A limit or request of the container's spec; 0 if it has none.
    fn spec(&self, limits: bool, read: impl Fn(Option<&resources::List>) -> i64) -> i64 {
        let (c, _) = podspec::find_container(&self.handle.pod, &self.used.container).unzip();
        let r = c.and_then(|c| c.resources);
        read(r.as_ref().and_then(|r| if limits { r.limits.as_ref() } else { r.requests.as_ref() }))
    }
}

/// `/metrics/cadvisor`.
pub(crate) async fn cadvisor(ctx: &Context) -> Answer {
    let list = match all(ctx).await {
        Ok(l) => l,
        Err(a) => return *a,
    };
    let rows: Vec<Row> =
        list.into_iter().filter_map(|u| Some((ctx.pod(&u.uid)?, u))).map(|(h, u)| Row::new(u, h)).collect();
    let mut out = String::new();
    usage(&mut out, &rows);
    limits(&mut out, &rows);
    network(&mut out, ctx).await;
    let node = ctx.node.borrow().clone();
    let capacity = node.status.as_ref().and_then(|s| s.capacity.as_ref());
    let (cpus, memory) = (resources::value(capacity, "cpu"), resources::value(capacity, "memory"));
    family(
        &mut out,
        ("machine_cpu_cores", "gauge", "Number of logical CPU cores."),
        vec![format!(" {cpus}")],
    );
    let help = "Amount of memory installed on the machine.";
    family(&mut out, ("machine_memory_bytes", "gauge", help), vec![format!(" {memory}")]);
    let help = "1 if there was an error while getting container metrics, 0 otherwise";
    family(&mut out, ("container_scrape_error", "gauge", help), vec![" 0".to_owned()]);
    answer(200, TEXT, out)
}

fn usage(out: &mut String, rows: &[Row]) {
    let at = |r: &Row| r.used.at / 1_000_000;
    let cpu = rows
        .iter()
        .map(|r| format!("{} {} {}", r.labels(&[("cpu", "total")]), seconds(r.used.cpu_nanos), at(r)));
    let help = "Cumulative cpu time consumed in seconds.";
    family(out, ("container_cpu_usage_seconds_total", "counter", help), cpu.collect());
    type Read = fn(&Used) -> u64;
    let gauges: [(&str, &str, Read); 5] = [
        (
            "container_memory_usage_bytes",
            "Current memory usage in bytes, including all memory regardless of when it was accessed",
            |u| u.usage,
        ),
        ("container_memory_working_set_bytes", "Current working set in bytes.", |u| u.working_set),
        ("container_memory_rss", "Size of RSS in bytes.", |u| u.rss),
        ("container_memory_cache", "Number of bytes of page cache memory.", |u| {
            u.usage.saturating_sub(u.rss)
        }),
        ("container_memory_swap", "Container swap usage in bytes.", |u| u.swap),
    ];
    for (name, help, read) in gauges {
        let lines = rows.iter().map(|r| format!("{} {} {}", r.labels(&[]), read(&r.used), at(r)));
        family(out, (name, "gauge", help), lines.collect());
    }
    let disk = rows.iter().map(|r| format!("{} {} {}", r.labels(&[("device", "")]), r.used.disk, at(r)));
    let help = "Number of bytes that are consumed by the container on this filesystem.";
    family(out, ("container_fs_usage_bytes", "gauge", help), disk.collect());
    let seen = rows.iter().map(|r| format!("{} {}", r.labels(&[]), r.used.at / 1_000_000_000));
    let help = "Last time a container was seen by the exporter";
    family(out, ("container_last_seen", "gauge", help), seen.collect());
}

fn limits(out: &mut String, rows: &[Row]) {
    let lines = |value: &dyn Fn(&Row) -> Option<i64>| -> Vec<String> {
        rows.iter().filter_map(|r| Some(format!("{} {}", r.labels(&[]), value(r)?))).collect()
    };
    let cpu_limit = |r: &Row| r.spec(true, |l| resources::milli(l, "cpu"));
    let quota = |r: &Row| Some(resources::quota(cpu_limit(r))).filter(|q| *q > 0);
    family(out, ("container_spec_cpu_quota", "gauge", "CPU quota of the container."), lines(&quota));
    let period = |r: &Row| quota(r).map(|_| resources::QUOTA_PERIOD);
    family(out, ("container_spec_cpu_period", "gauge", "CPU period of the container."), lines(&period));
    let shares = |r: &Row| {
        let asked = r.spec(false, |l| resources::milli(l, "cpu"));
        Some(resources::shares(if asked > 0 { asked } else { cpu_limit(r) }))
    };
    family(out, ("container_spec_cpu_shares", "gauge", "CPU share of the container."), lines(&shares));
    let memory = |r: &Row| Some(r.spec(true, |l| resources::value(l, "memory")));
    let help = "Memory limit for the container.";
    family(out, ("container_spec_memory_limit_bytes", "gauge", help), lines(&memory));
    let started = |r: &Row| Some(r.used.started / 1_000_000_000).filter(|s| *s > 0);
    let help = "Start time of the container since unix epoch in seconds.";
    family(out, ("container_start_time_seconds", "gauge", help), lines(&started));
}

async fn network(out: &mut String, ctx: &Context) {
    let mut interfaces: Vec<(Vec<(&str, String)>, NetworkInterfaceUsage)> = Vec::new();
    for (uid, usage) in networks(ctx).await {
        let Some(handle) = ctx.pod(&uid) else { continue };
        for i in usage.default_interface.into_iter().chain(usage.interfaces) {
            let all = vec![
                ("container", String::new()),
                ("id", qos::cgroup_parent(&handle.pod)),
                ("interface", i.name.clone()),
                ("namespace", podspec::namespace(&handle.pod).to_owned()),
                ("pod", podspec::name(&handle.pod).to_owned()),
            ];
            interfaces.push((all, i));
        }
    }
    type Read = fn(&NetworkInterfaceUsage) -> &Option<cri::UInt64Value>;
    let families: [(&str, &str, Read); 4] = [
        ("container_network_receive_bytes_total", "Cumulative count of bytes received", |i| &i.rx_bytes),
        (
            "container_network_receive_errors_total",
            "Cumulative count of errors encountered while receiving",
            |i| &i.rx_errors,
        ),
        ("container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", |i| &i.tx_bytes),
        (
            "container_network_transmit_errors_total",
            "Cumulative count of errors encountered while transmitting",
            |i| &i.tx_errors,
        ),
    ];
    for (name, help, read) in families {
        let line = |(pairs, i): &(Vec<(&str, String)>, NetworkInterfaceUsage)| {
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|(k, v)| (*k, v.as_str())).collect();
            format!("{} {}", labels(&pairs), read(i).as_ref().map_or(0, |n| n.value))
        };
        family(out, (name, "counter", help), interfaces.iter().map(line).collect());
    }
}

/// `/metrics/probes`.
pub(crate) fn probes(ctx: &Context) -> Answer {
    let mut lines = BTreeMap::new();
    for ((uid, container, kind), counts) in ctx.probes.all() {
        let Some(handle) = ctx.pod(&uid) else { continue };
        let results =
            [("failed", counts.failed), ("successful", counts.successful), ("unknown", counts.unknown)];
        for (result, n) in results.into_iter().filter(|r| r.1 > 0) {
            let key = labels(&[
                ("container", container.as_str()),
                ("namespace", podspec::namespace(&handle.pod)),
                ("pod", podspec::name(&handle.pod)),
                ("pod_uid", uid.as_str()),
                ("probe_type", kind.word()),
                ("result", result),
            ]);
            lines.insert(key, n);
        }
    }
    let mut out = String::new();
    let help =
        "[BETA] Cumulative number of a liveness, readiness or startup probe for a container by result.";
    let lines = lines.into_iter().map(|(key, n)| format!("{key} {n}")).collect();
    family(&mut out, ("prober_probe_total", "counter", help), lines);
    answer(200, TEXT, out)
}

//! The list of checks, and those that look at the pod as a whole
//! (`k8s.io/pod-security-admission/policy/check_*.go`).

use super::container_checks as on_containers;
use super::level::{Level, LevelVersion};
use crate::json::{at, items, strings, text};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What the checks look at.
pub(super) struct Pod<'a> {
    pub(super) annotations: &'a BTreeMap<String, String>,
    pub(super) spec: &'a Value,
}

/// A check that failed, in upstream's words.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Violation {
    pub(super) reason: &'static str,
    pub(super) detail: String,
}

/// A check as of a minor version.
pub(super) type Check = fn(&Pod<'_>, u32) -> Option<Violation>;

/// Names, levels, and the baseline check that a restricted one takes the place of, in the order in which they
/// run: baseline before restricted, each by name.
const CHECKS: &[(&str, Level, &str, Check)] = &[
    ("appArmorProfile", Level::Baseline, "", on_containers::app_armor),
    ("capabilities_baseline", Level::Baseline, "", on_containers::capabilities_baseline),
    ("hostNamespaces", Level::Baseline, "", host_namespaces),
    ("hostPathVolumes", Level::Baseline, "", host_path_volumes),
    ("hostPorts", Level::Baseline, "", on_containers::host_ports),
    ("hostProbesAndHostLifecycle", Level::Baseline, "", on_containers::host_probes),
    ("privileged", Level::Baseline, "", on_containers::privileged),
    ("procMount", Level::Baseline, "", on_containers::proc_mount_baseline),
    ("seLinuxOptions", Level::Baseline, "", on_containers::selinux),
    ("seccompProfile_baseline", Level::Baseline, "", on_containers::seccomp_baseline),
    ("sysctls", Level::Baseline, "", sysctls),
    ("windowsHostProcess", Level::Baseline, "", on_containers::windows_host_process),
    ("allowPrivilegeEscalation", Level::Restricted, "", on_containers::privilege_escalation),
    (
        "capabilities_restricted",
        Level::Restricted,
        "capabilities_baseline",
        on_containers::capabilities_restricted,
    ),
    ("procMount_restricted", Level::Restricted, "procMount", on_containers::proc_mount_restricted),
    ("restrictedVolumes", Level::Restricted, "hostPathVolumes", restricted_volumes),
    ("runAsNonRoot", Level::Restricted, "", on_containers::run_as_non_root),
    ("runAsUser", Level::Restricted, "", on_containers::run_as_user),
    (
        "seccompProfile_restricted",
        Level::Restricted,
        "seccompProfile_baseline",
        on_containers::seccomp_restricted,
    ),
];

/// From which minor version on a restricted check exists; before it, what it takes the place of still runs.
fn since(name: &str) -> u32 {
    match name {
        "allowPrivilegeEscalation" => 8,
        "capabilities_restricted" => 22,
        "seccompProfile_restricted" => 19,
        "runAsUser" => 23,
        "hostProbesAndHostLifecycle" => 34,
        "procMount_restricted" => 35,
        _ => 0,
    }
}

/// Everything in which the pod violates the level.
pub(super) fn run(lv: LevelVersion, pod: &Pod<'_>) -> Vec<Violation> {
    let minor = lv.version.0;
    let active =
        |(name, level, _, _): &&(&str, Level, &str, Check)| *level <= lv.level && minor >= since(name);
    let replaced: BTreeSet<&str> =
        CHECKS.iter().filter(active).map(|(_, _, replaces, _)| *replaces).collect();
    let checks = CHECKS.iter().filter(active).filter(|(name, ..)| !replaced.contains(name));
    checks.filter_map(|(_, _, _, check)| check(pod, minor)).collect()
}

/// `"a", "b"`
pub(super) fn join_quoted<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    items.into_iter().map(|i| format!("\"{i}\"")).collect::<Vec<_>>().join(", ")
}

/// One or many.
pub(super) fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

/// Whether the pod runs in a user namespace of its own, where root is not root.
pub(super) fn has_user_namespace(pod: &Pod<'_>) -> bool {
    at(pod.spec, &["hostUsers"]) == &Value::Bool(false)
}

fn host_namespaces(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    let shared = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|f| at(pod.spec, &[f]) == &Value::Bool(true));
    let shared: Vec<String> = shared.map(|f| format!("{f}=true")).collect();
    (!shared.is_empty()).then(|| Violation { reason: "host namespaces", detail: shared.join(", ") })
}

fn host_path_volumes(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    let volumes = items(pod.spec, &["volumes"]).iter().filter(|v| !at(v, &["hostPath"]).is_null());
    let names: Vec<&str> = volumes.map(|v| text(v, &["name"])).collect();
    let word = plural("volume", "volumes", names.len());
    (!names.is_empty())
        .then(|| Violation { reason: "hostPath volumes", detail: format!("{word} {}", join_quoted(names)) })
}

/// Sysctls that are the pod's own, with the minor version that let them in.
const SAFE_SYSCTLS: [(&str, u32); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];

fn sysctls(pod: &Pod<'_>, minor: u32) -> Option<Violation> {
    let is_safe = |name: &str| SAFE_SYSCTLS.iter().any(|(safe, since)| *safe == name && minor >= *since);
    let set = items(pod.spec, &["securityContext", "sysctls"]).iter().map(|s| text(s, &["name"]));
    let bad: Vec<&str> = set.filter(|name| !is_safe(name)).collect();
    (!bad.is_empty()).then(|| Violation { reason: "forbidden sysctls", detail: bad.join(", ") })
}

const OPEN_VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];
const CLOSED_VOLUMES: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

fn restricted_volumes(pod: &Pod<'_>, _: u32) -> Option<Violation> {
    let is = |v: &Value, sources: &[&'static str]| sources.iter().copied().find(|s| !at(v, &[s]).is_null());
    let bad = items(pod.spec, &["volumes"]).iter().filter(|v| is(v, &OPEN_VOLUMES).is_none());
    let (names, types): (Vec<&str>, BTreeSet<&str>) =
        bad.map(|v| (text(v, &["name"]), is(v, &CLOSED_VOLUMES).unwrap_or("unknown"))).unzip();
    let count = names.len();
    (count > 0).then(|| {
        let (volumes, uses) = (plural("volume", "volumes", count), plural("uses", "use", count));
        let word = plural("restricted volume type", "restricted volume types", types.len());
        let detail = format!("{volumes} {} {uses} {word} {}", join_quoted(names), join_quoted(types));
        Violation { reason: "restricted volume types", detail }
    })
}

/// The strings of a list in a container's security context.
pub(super) fn capabilities<'a>(container: &'a Value, which: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    strings(at(container, &["securityContext", "capabilities"]), &[which])
}

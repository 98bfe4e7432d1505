//! Whether a pod bound to this node may run here (`pkg/kubelet/lifecycle/predicate.go`): the node's own word on
//! what the scheduler decided from older news, or what nobody scheduled at all.

use super::{podspec, qos, resources};
use k8s_openapi::api::core::v1::{
    AppArmorProfile, Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, Taint, Toleration,
};
use meta::quantity::{Format, Quantity};
use std::collections::BTreeMap;

/// A refusal: the reason in the status, and the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// One word: `OutOfcpu`, `NodeAffinity`, ...
    pub reason: String,
    /// For people.
    pub message: String,
}

fn reject(reason: &str, message: impl Into<String>) -> Result<(), Rejection> {
    Err(Rejection { reason: reason.to_owned(), message: message.into() })
}

/// The reason as an event has it: events' reasons are a fixed list of words, the rest share one.
pub fn known_reason(reason: &str) -> &'static str {
    const KNOWN: &[&str] = &[
        "OutOfcpu",
        "OutOfmemory",
        "OutOfephemeral-storage",
        "OutOfpods",
        "NodeAffinity",
        "NodePorts",
        "TaintToleration",
        "PodOSNotSupported",
        "SysctlForbidden",
        "Evicted",
        "AppArmor",
    ];
    KNOWN.iter().find(|k| **k == reason).copied().unwrap_or("UnexpectedAdmissionError")
}

/// Decides on `pod`, given the pods that are admitted already.
pub fn admit<'a>(
    pod: &Pod,
    others: impl Iterator<Item = &'a Pod> + Clone,
    node: &Node,
    host_has_apparmor: bool,
) -> Result<(), Rejection> {
    let spec = podspec::spec(pod);
    if spec.os.as_ref().is_some_and(|os| os.name != "linux") {
        return reject("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS");
    }
    sysctls(pod)?;
    apparmor(pod, host_has_apparmor)?;
    if !selected(pod, node) {
        let message = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
        return reject("NodeAffinity", message);
    }
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_deref()).unwrap_or_default();
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let evicts = |t: &&Taint| t.effect == "NoExecute" && !tolerations.iter().any(|o| tolerates(o, t));
    if let Some(t) = taints.iter().find(evicts) {
        let what = format!("{{{}: {}}}", t.key, t.value.as_deref().unwrap_or_default());
        let message = format!("Predicate TaintToleration failed: node(s) had untolerated taint(s) {what}");
        return reject("TaintToleration", message);
    }
    if others.clone().any(|o| ports_clash(pod, o)) {
        let message =
            "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        return reject("NodePorts", message);
    }
    if qos::is_node_critical(pod) {
        return Ok(());
    }
    fits(pod, others, node)
}

/// The runtime puts nobody under an AppArmor profile: a pod that asks for one must not run without it
/// (`NewAppArmorAdmitHandler`).
fn apparmor(pod: &Pod, host_has_it: bool) -> Result<(), Rejection> {
    let asked = |p: Option<&AppArmorProfile>| p.is_some_and(|p| p.type_ != "Unconfined");
    let of_pod = podspec::spec(pod).security_context.as_ref().and_then(|s| s.app_armor_profile.as_ref());
    let ephemeral = podspec::ephemeral_containers(pod).iter().map(|e| e.security_context.as_ref());
    let others = podspec::init_containers(pod).iter().chain(podspec::containers(pod));
    let mut own = others.map(|c| c.security_context.as_ref()).chain(ephemeral);
    let pending = podspec::status(pod).phase.as_deref().is_none_or(|p| p == "Pending");
    if pending && own.any(|s| asked(s.and_then(|s| s.app_armor_profile.as_ref()).or(of_pod))) {
        let why = match host_has_it {
            true => "the container runtime of this node does not support AppArmor",
            false => "AppArmor is not enabled on the host",
        };
        return reject("AppArmor", format!("Cannot enforce AppArmor: {why}"));
    }
    Ok(())
}

/// Sysctls that a pod may set: those that are its own and harm nobody (`pkg/kubelet/sysctl/safe_sysctls.go`).
const SAFE_SYSCTLS: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

fn sysctls(pod: &Pod) -> Result<(), Rejection> {
    const REASON: &str = "SysctlForbidden";
    let spec = podspec::spec(pod);
    for s in spec.security_context.iter().flat_map(|c| c.sysctls.iter().flatten()) {
        let name = s.name.replace('/', ".");
        if !SAFE_SYSCTLS.contains(&name.as_str()) {
            return reject(REASON, format!("forbidden sysctl: {:?} not allowlisted", s.name));
        }
        if name.starts_with("net.") && spec.host_network == Some(true) {
            return reject(
                REASON,
                format!("forbidden sysctl: {:?} not allowed with host net enabled", s.name),
            );
        }
        if name.starts_with("kernel.") && spec.host_ipc == Some(true) {
            return reject(
                REASON,
                format!("forbidden sysctl: {:?} not allowed with host ipc enabled", s.name),
            );
        }
    }
    Ok(())
}

/// Whether the node has what the pod asks for, beside the others.
pub fn fits<'a>(pod: &Pod, others: impl Iterator<Item = &'a Pod>, node: &Node) -> Result<(), Rejection> {
    let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
    let capacity =
        |name: &str| allocatable.and_then(|a| a.get(name)).and_then(resources::parse).unwrap_or_default();
    let mut used: resources::Amounts = BTreeMap::new();
    let mut pods = 0;
    for o in others {
        pods += 1;
        for (k, v) in resources::pod_requests(o) {
            used.entry(k).or_default().add(&v);
        }
    }
    let insufficient = |name: &str, requested: i64, used: i64, capacity: i64| {
        let message = format!(
            "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}"
        );
        reject(&format!("OutOf{name}"), message)
    };
    let limit = capacity("pods").value();
    if pods + 1 > limit {
        return insufficient("pods", 1, pods, limit);
    }
    for (name, wanted) in resources::pod_requests(pod) {
        if wanted.is_zero() {
            continue;
        }
        let have = capacity(&name);
        let taken = used.get(&name).cloned().unwrap_or(Quantity::from_int(0, Format::DecimalSi));
        let mut sum = taken.clone();
        sum.add(&wanted);
        if sum > have {
            let n = |q: &Quantity| if name == "cpu" { q.milli_value() } else { q.value() };
            return insufficient(&name, n(&wanted), n(&taken), n(&have));
        }
    }
    Ok(())
}

fn ports(pod: &Pod) -> impl Iterator<Item = (&str, &str, i32)> {
    let all = podspec::containers(pod)
        .iter()
        .chain(podspec::init_containers(pod).iter().filter(|c| podspec::is_sidecar(c)));
    all.flat_map(|c| c.ports.iter().flatten()).filter_map(|p| {
        let port = p.host_port.filter(|n| *n > 0)?;
        let ip = p.host_ip.as_deref().filter(|ip| !ip.is_empty()).unwrap_or("0.0.0.0");
        Some((ip, p.protocol.as_deref().unwrap_or("TCP"), port))
    })
}

fn ports_clash(a: &Pod, b: &Pod) -> bool {
    let any = |ip: &str| ip == "0.0.0.0" || ip == "::";
    let clash = |x: (&str, &str, i32), y: (&str, &str, i32)| {
        x.1 == y.1 && x.2 == y.2 && (x.0 == y.0 || any(x.0) || any(y.0))
    };
    ports(a).any(|x| ports(b).any(|y| clash(x, y)))
}

fn tolerates(o: &Toleration, t: &Taint) -> bool {
    let effect = o.effect.as_deref().unwrap_or_default();
    let key = o.key.as_deref().unwrap_or_default();
    let value = o.value.as_deref().unwrap_or_default();
    let fits = (effect.is_empty() || effect == t.effect) && (key.is_empty() || key == t.key);
    match o.operator.as_deref().unwrap_or_default() {
        "Exists" => fits,
        "" | "Equal" => fits && !key.is_empty() && value == t.value.as_deref().unwrap_or_default(),
        _ => false,
    }
}

fn requirement(r: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let listed = |v: &str| r.values.iter().flatten().any(|x| x == v);
    let number = |s: Option<&str>| s.and_then(|s| s.parse::<i64>().ok());
    let bound = number(r.values.iter().flatten().next().map(String::as_str));
    match r.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => matches!((number(value), bound), (Some(v), Some(b)) if v > b),
        "Lt" => matches!((number(value), bound), (Some(v), Some(b)) if v < b),
        _ => false,
    }
}

fn term(t: &NodeSelectorTerm, labels: &BTreeMap<String, String>, name: &str) -> bool {
    let (exprs, fields) = (t.match_expressions.as_deref(), t.match_fields.as_deref());
    let (exprs, fields) = (exprs.unwrap_or_default(), fields.unwrap_or_default());
    let some = !exprs.is_empty() || !fields.is_empty();
    some && exprs.iter().all(|r| requirement(r, labels.get(&r.key).map(String::as_str)))
        && fields.iter().all(|r| r.key == "metadata.name" && requirement(r, Some(name)))
}

fn selected(pod: &Pod, node: &Node) -> bool {
    let empty = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&empty);
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let spec = podspec::spec(pod);
    let wanted = spec.node_selector.iter().flatten().all(|(k, v)| labels.get(k) == Some(v));
    let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    wanted && required.is_none_or(|r| r.node_selector_terms.iter().any(|t| term(t, labels, name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        let mut spec = spec;
        if spec["containers"].is_null() {
            spec["containers"] = json!([{"name": "c"}]);
        }
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn check(spec: Value, others: &[Value]) -> String {
        let node = json!({"metadata": {"name": "n1", "labels": {"zone": "a"}},
            "spec": {"taints": [{"key": "gone", "effect": "NoExecute"}]},
            "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "2"}}});
        let others: Vec<Pod> = others.iter().cloned().map(pod).collect();
        let mut spec = spec;
        spec["tolerations"] = spec.get("tolerations").cloned().unwrap_or(json!([{"operator": "Exists"}]));
        let has_apparmor = spec["hostname"] == "has-apparmor";
        match admit(&pod(spec), others.iter(), &serde_json::from_value(node).unwrap(), has_apparmor) {
            Ok(()) => "admitted".to_owned(),
            Err(r) => format!("{}: {}", r.reason, r.message),
        }
    }

    #[test]
    fn the_node_has_its_own_word() {
        let cpu = |n: &str| json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": n}}}]});
        let port = || json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}]}]});
        let lines = [
            check(cpu("1"), &[cpu("1")]),
            check(cpu("1500m"), &[cpu("1")]),
            check(json!({}), &[json!({}), json!({})]),
            check(port(), &[port()]),
            check(json!({"nodeSelector": {"zone": "b"}}), &[]),
            check(json!({"tolerations": []}), &[]),
            check(json!({"os": {"name": "windows"}}), &[]),
            check(json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}), &[]),
            check(
                json!({"securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}, "containers": [{"name": "c"}]}),
                &[],
            ),
            check(
                json!({"hostname": "has-apparmor", "securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}}}),
                &[],
            ),
        ];
        expect![[r#"
            admitted
            OutOfcpu: Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000
            OutOfpods: Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2
            NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports
            NodeAffinity: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector
            TaintToleration: Predicate TaintToleration failed: node(s) had untolerated taint(s) {gone: }
            PodOSNotSupported: Failed to admit pod as the OS field doesn't match node OS
            SysctlForbidden: forbidden sysctl: "kernel.msgmax" not allowlisted
            AppArmor: Cannot enforce AppArmor: AppArmor is not enabled on the host
            AppArmor: Cannot enforce AppArmor: the container runtime of this node does not support AppArmor"#]]
        .assert_eq(&lines.join("\n"));
    }
}

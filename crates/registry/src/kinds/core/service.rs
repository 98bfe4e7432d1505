//! `services` (v1). What must be allocated (cluster IPs, node ports) is in [`crate::service`].

use crate::fill::{each, part, set, set_zero, text};
use crate::kind::{Kind, Verbs};
use crate::strategy::{PLAIN, STATUS_PART, Strategy, Update, WHOLE};
use crate::table::{age, items, joined, labels, name, text as cell};
use crate::validate::service::{validate_service, validate_service_update};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "Service", "services")
        .short(&["svc"])
        .category("all")
        .special("proxy", ("", "v1", "ServiceProxyOptions"), Verbs::PROXY)
        .status_with(json!({"loadBalancer": {}}), &STATUS)
        .table(&["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector*"], row)
        .field("spec.clusterIP")
        .field("spec.type")
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default,
    prepare_for_create: |o, _| crate::service::drop_type_dependent(o, None),
    validate: validate_service,
    update: Update {
        prepare: |new, old, _| crate::service::patch_allocated(new, old),
        validate: validate_service_update,
        ..WHOLE
    },
    validate_name: crate::names::dns_label,
    create_on_update: true,
    warnings: crate::validate::warnings::service,
    ..PLAIN
};

static STATUS: Update = Update { prepare: STATUS_PART.prepare, ..STATUS_PART };

fn default(o: &mut Object) {
    let spec = part(o, "spec");
    set_zero(spec, "sessionAffinity", "None");
    match text(spec, "sessionAffinity") {
        "None" => {
            spec.as_object_mut().map(|s| s.remove("sessionAffinityConfig"));
        }
        "ClientIP" if spec.pointer("/sessionAffinityConfig/clientIP/timeoutSeconds").is_none() => {
            spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": 10800}});
        }
        _ => {}
    }
    set_zero(spec, "type", "ClusterIP");
    for port in each(spec, "ports") {
        set_zero(port, "protocol", "TCP");
        if let Some(number) = port.get("port").cloned() {
            set_zero(port, "targetPort", number);
        }
    }
    let kind = text(spec, "type").to_owned();
    let external_ips = spec["externalIPs"].as_array().is_some_and(|ips| !ips.is_empty());
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && external_ips) {
        set_zero(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        set(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", true);
        if let Some(status) = o.body.get_mut("status").and_then(|s| s.get_mut("loadBalancer")) {
            each(status, "ingress")
                .filter(|i| !text(i, "ip").is_empty())
                .for_each(|i| set(i, "ipMode", "VIP"));
        }
    }
}

/// Addresses of a load balancer, sorted and joined.
pub(in crate::kinds) fn load_balancer(o: &Object) -> String {
    let address = |i: &Value| {
        let ip = text(i, "ip");
        if ip.is_empty() { text(i, "hostname").to_owned() } else { ip.to_owned() }
    };
    let mut all: Vec<String> = items(o, &["status", "loadBalancer", "ingress"]).iter().map(address).collect();
    all.retain(|a| !a.is_empty());
    all.sort();
    all.dedup();
    all.join(",")
}

fn external_ip(o: &Object) -> String {
    let listed = joined(items(o, &["spec", "externalIPs"]), ",");
    let or = |s: String, other: &str| if s.is_empty() { other.to_owned() } else { s };
    match o.str(&["spec", "type"]) {
        "ClusterIP" | "NodePort" => or(listed, "<none>"),
        "LoadBalancer" => {
            let all = [load_balancer(o), listed].into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>();
            or(all.join(","), "<pending>")
        }
        "ExternalName" => o.str(&["spec", "externalName"]).to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

fn port(p: &Value) -> String {
    let protocol = text(p, "protocol");
    match p["nodePort"].as_i64().filter(|n| *n > 0) {
        Some(node) => format!("{}:{node}/{protocol}", p["port"]),
        None => format!("{}/{protocol}", p["port"]),
    }
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = items(o, &["spec", "ports"]).iter().map(port).collect();
    let ip = items(o, &["spec", "clusterIPs"]).first().and_then(Value::as_str).unwrap_or("<none>");
    vec![
        name(o),
        cell(o, &["spec", "type"]),
        ip.into(),
        external_ip(o).into(),
        if ports.is_empty() { "<none>".into() } else { ports.join(",").into() },
        age(o, now),
        labels(o.get(&["spec", "selector"])),
    ]
}

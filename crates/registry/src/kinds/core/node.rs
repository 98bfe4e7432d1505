//! `nodes` (v1).

use crate::fill::{at, part, quantities};
use crate::kind::{Kind, Verbs};
use crate::strategy::{PLAIN, STATUS_PART, Strategy, Update, WHOLE};
use crate::table::{age, items, name, text, text_or};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::cluster("", "v1", "Node", "nodes")
        .short(&["no"])
        .special("proxy", ("", "v1", "NodeProxyOptions"), Verbs::PROXY)
        .status_with(Value::Null, &STATUS)
        .table(
            &[
                "Name",
                "Status",
                "Roles",
                "Age",
                "Version",
                "Internal-IP*",
                "External-IP*",
                "OS-Image*",
                "Kernel-Version*",
                "Container-Runtime*",
            ],
            row,
        )
        .field_or("spec.unschedulable", "spec.unschedulable", "false")
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default,
    validate: crate::validate::node::validate_node,
    update: Update { validate: crate::validate::node::validate_node_update, ..WHOLE },
    ..PLAIN
};

static STATUS: Update = Update { prepare: STATUS_PART.prepare, ..STATUS_PART };

const NODE_INFO: [&str; 10] = [
    "architecture",
    "bootID",
    "containerRuntimeVersion",
    "kernelVersion",
    "kubeProxyVersion",
    "kubeletVersion",
    "machineID",
    "operatingSystem",
    "osImage",
    "systemUUID",
];

/// Fields that upstream always writes, and `allocatable` from `capacity`.
fn default(o: &mut Object) {
    let status = o.body.entry("status").or_insert_with(|| json!({}));
    crate::fill::set(status, "daemonEndpoints", json!({"kubeletEndpoint": {"Port": 0}}));
    let info = crate::fill::make(status, "nodeInfo");
    NODE_INFO.iter().for_each(|key| crate::fill::set(info, key, ""));
    for list in ["capacity", "allocatable"] {
        quantities(status.get_mut(list));
    }
    if let Some(capacity) = at(status, &["capacity"]).cloned() {
        crate::fill::set(status, "allocatable", capacity);
    }
    same_cidrs(part(o, "spec"));
}

/// `podCIDR` is the first of `podCIDRs` (`pkg/apis/core/v1/conversion.go`).
fn same_cidrs(spec: &mut Value) {
    let first = spec["podCIDRs"].as_array().and_then(|all| all.first()).and_then(Value::as_str);
    match (first.map(str::to_owned), spec["podCIDR"].as_str().map(str::to_owned)) {
        (Some(first), None) if !first.is_empty() => spec["podCIDR"] = first.into(),
        (first, Some(one)) if first.as_deref() != Some(&one) && !one.is_empty() => {
            spec["podCIDRs"] = json!([one]);
        }
        _ => {}
    }
}

fn address(o: &Object, kind: &str) -> Value {
    let found = items(o, &["status", "addresses"]).iter().find(|a| a["type"] == kind);
    found.and_then(|a| a["address"].as_str()).unwrap_or("<none>").into()
}

fn status(o: &Object) -> String {
    let ready = items(o, &["status", "conditions"]).iter().find(|c| c["type"] == "Ready");
    let mut status = match ready.map(|c| c["status"] == "True") {
        Some(true) => "Ready",
        Some(false) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if o.get(&["spec", "unschedulable"]) == Some(&Value::Bool(true)) {
        status.push_str(",SchedulingDisabled");
    }
    status
}

fn roles(o: &Object) -> String {
    let role = |(key, value): (&String, &String)| match key.strip_prefix("node-role.kubernetes.io/") {
        Some(role) => Some(role.to_owned()),
        None => (key == "kubernetes.io/role").then(|| value.clone()),
    };
    let mut roles: Vec<String> =
        o.metadata.labels.iter().filter_map(role).filter(|r| !r.is_empty()).collect();
    roles.sort();
    roles.dedup();
    if roles.is_empty() { "<none>".to_owned() } else { roles.join(",") }
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let info = |key| text_or(o, &["status", "nodeInfo", key], "<unknown>");
    let kernel = info("kernelVersion").as_str().unwrap_or_default().to_owned();
    let kernel = match o.str(&["status", "nodeInfo", "architecture"]) {
        "" => kernel,
        arch => format!("{kernel} ({arch})"),
    };
    vec![
        name(o),
        status(o).into(),
        roles(o).into(),
        age(o, now),
        text(o, &["status", "nodeInfo", "kubeletVersion"]),
        address(o, "InternalIP"),
        address(o, "ExternalIP"),
        info("osImage"),
        kernel.into(),
        info("containerRuntimeVersion"),
    ]
}

//! `endpoints` (v1).

use crate::fill::{each, set_zero};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy};
use crate::table::{age, items, name};
use jiff::Timestamp;
use meta::Object;
use serde_json::Value;

/// How many addresses the table shows.
const SHOWN: usize = 3;

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "Endpoints", "endpoints")
        .short(&["ep"])
        .deprecated("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        .table(&["Name", "Endpoints", "Age"], row)
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default,
    validate: crate::validate::network::validate_endpoints,
    create_on_update: true,
    ..PLAIN
};

fn default(o: &mut Object) {
    let Some(Value::Array(subsets)) = o.body.get_mut("subsets") else { return };
    for subset in subsets {
        each(subset, "ports").for_each(|p| set_zero(p, "protocol", "TCP"));
    }
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let list = |v: &Value, key: &str| v[key].as_array().cloned().unwrap_or_default();
    let mut all = Vec::new();
    for subset in items(o, &["subsets"]) {
        let ports = list(subset, "ports");
        for address in list(subset, "addresses") {
            let ip = address["ip"].as_str().unwrap_or_default().to_owned();
            match ports.as_slice() {
                [] => all.push(ip),
                ports => all.extend(ports.iter().map(|p| join(&ip, &p["port"]))),
            }
        }
    }
    vec![name(o), crate::table::shortened(&all, SHOWN).into(), age(o, now)]
}

fn join(ip: &str, port: &Value) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

//! `endpointslices` (discovery.k8s.io/v1).

use crate::fill::{make, set};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy, Update, WHOLE};
use crate::table::{age, items, name, shortened, text};
use crate::validate::network::{validate_endpoint_slice, validate_endpoint_slice_update};
use jiff::Timestamp;
use meta::Object;
use serde_json::Value;

/// How many ports and addresses the table shows.
const SHOWN: usize = 3;

pub(super) fn kind() -> Kind {
    Kind::namespaced("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
        .table(&["Name", "AddressType", "Ports", "Endpoints", "Age"], row)
        .generation()
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default,
    validate: validate_endpoint_slice,
    update: Update { validate: validate_endpoint_slice_update, ..WHOLE },
    ..PLAIN
};

fn default(o: &mut Object) {
    let list = |o: &mut Object, key: &str, each: fn(&mut Value)| {
        if let Some(Value::Array(items)) = o.body.get_mut(key) {
            items.iter_mut().filter(|i| i.is_object()).for_each(each);
        }
    };
    list(o, "ports", |port| {
        set(port, "name", "");
        set(port, "protocol", "TCP");
    });
    list(o, "endpoints", |endpoint| {
        make(endpoint, "conditions");
    });
    o.body.entry("endpoints").or_insert_with(|| Value::Array(Vec::new()));
}

fn port(p: &Value) -> String {
    match (p["port"].as_i64(), p["name"].as_str()) {
        (Some(number), _) => number.to_string(),
        (None, Some(name)) => name.to_owned(),
        (None, None) => "*".to_owned(),
    }
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = items(o, &["ports"]).iter().map(port).collect();
    let addresses = items(o, &["endpoints"]).iter().filter_map(|e| e["addresses"].as_array()).flatten();
    let addresses: Vec<String> = addresses.filter_map(Value::as_str).map(str::to_owned).collect();
    let (ports, addresses) = (shortened(&ports, SHOWN), shortened(&addresses, SHOWN));
    vec![name(o), text(o, &["addressType"]), ports.into(), addresses.into(), age(o, now)]
}

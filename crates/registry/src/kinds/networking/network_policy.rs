//! `networkpolicies` (networking.k8s.io/v1).

use crate::fill::{each, part, set};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy};
use crate::table::{age, name, selector};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::namespaced("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
        .short(&["netpol"])
        .table(&["Name", "Pod-Selector", "Age"], row)
        .generation()
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy =
    Strategy { default, validate: crate::validate::network::validate_network_policy, ..PLAIN };

fn default(o: &mut Object) {
    let spec = part(o, "spec");
    for direction in ["ingress", "egress"] {
        for rule in each(spec, direction) {
            each(rule, "ports").for_each(|p| set(p, "protocol", "TCP"));
        }
    }
    let has = |key: &str| spec[key].as_array().is_some_and(|l| !l.is_empty());
    if !has("policyTypes") {
        let types = if has("egress") { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
        spec["policyTypes"] = types;
    }
    set(spec, "podSelector", serde_json::Map::new());
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    vec![name(o), selector(o.get(&["spec", "podSelector"])), age(o, now)]
}

//! `ingresses` (networking.k8s.io/v1).

use crate::fill::text;
use crate::kind::Kind;
use crate::kinds::core::service::load_balancer;
use crate::strategy::{PLAIN, Strategy};
use crate::table::{age, count, items, name, shortened, text_or};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

/// How many hosts the table shows.
const SHOWN: usize = 3;

pub(super) fn kind() -> Kind {
    Kind::namespaced("networking.k8s.io", "v1", "Ingress", "ingresses")
        .short(&["ing"])
        .status(json!({"loadBalancer": {}}))
        .table(&["Name", "Class", "Hosts", "Address", "Ports", "Age"], row)
        .generation()
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy { validate: crate::validate::network::validate_ingress, ..PLAIN };

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let hosts = items(o, &["spec", "rules"]).iter().map(|r| text(r, "host").to_owned());
    let hosts: Vec<String> = hosts.filter(|h| !h.is_empty()).collect();
    let hosts = if hosts.is_empty() { "*".to_owned() } else { shortened(&hosts, SHOWN) };
    let ports = if count(o, &["spec", "tls"]) > 0 { "80, 443" } else { "80" };
    let class = text_or(o, &["spec", "ingressClassName"], "<none>");
    vec![name(o), class, hosts.into(), load_balancer(o).into(), ports.into(), age(o, now)]
}

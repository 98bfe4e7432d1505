//! `ipaddresses` (networking.k8s.io/v1).

use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy};
use crate::table::name;
use jiff::Timestamp;
use meta::Object;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind::cluster("networking.k8s.io", "v1", "IPAddress", "ipaddresses")
        .short(&["ip"])
        .table(&["Name", "ParentRef"], row)
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy { validate_name: |name, _| meta::names::ip(name), ..PLAIN };

fn row(o: &Object, _: Timestamp) -> Vec<Value> {
    let part = |key| o.str(&["spec", "parentRef", key]);
    let resource = match part("group") {
        "" => part("resource").to_owned(),
        group => format!("{}.{group}", part("resource")),
    };
    let namespace =
        if part("namespace").is_empty() { String::new() } else { format!("/{}", part("namespace")) };
    let parent = format!("{}{namespace}/{}", resource.to_lowercase(), part("name"));
    vec![name(o), parent.into()]
}

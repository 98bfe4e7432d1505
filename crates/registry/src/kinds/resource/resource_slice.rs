//! `resourceslices` (resource.k8s.io/v1).

use crate::kind::Kind;
use crate::table::{age, name, text};
use jiff::Timestamp;
use meta::Object;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind::cluster("resource.k8s.io", "v1", "ResourceSlice", "resourceslices")
        .table(&["Name", "Node", "Driver", "Pool", "Age"], row)
        .field("spec.nodeName")
        .field("spec.driver")
        .generation()
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let spec = |path: &[&str]| text(o, path);
    vec![
        name(o),
        spec(&["spec", "nodeName"]),
        spec(&["spec", "driver"]),
        spec(&["spec", "pool", "name"]),
        age(o, now),
    ]
}

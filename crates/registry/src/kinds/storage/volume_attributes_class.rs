//! `volumeattributesclasses` (storage.k8s.io/v1).

use crate::kind::Kind;
use crate::table::{age, name, text};
use jiff::Timestamp;
use meta::Object;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind::cluster("storage.k8s.io", "v1", "VolumeAttributesClass", "volumeattributesclasses")
        .short(&["vac"])
        .table(&["Name", "DriverName", "Age"], row)
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    vec![name(o), text(o, &["driverName"]), age(o, now)]
}

//! `csinodes` (storage.k8s.io/v1).

use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy};
use crate::table::{age, count, name};
use jiff::Timestamp;
use meta::Object;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind::cluster("storage.k8s.io", "v1", "CSINode", "csinodes")
        .table(&["Name", "Drivers:integer", "Age"], row)
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy { unconditional_update: false, ..PLAIN };

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    vec![name(o), count(o, &["spec", "drivers"]).into(), age(o, now)]
}

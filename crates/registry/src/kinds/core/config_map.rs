//! `configmaps` (v1).

use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy, Update, WHOLE};
use crate::table::{age, count, name};
use crate::validate::config::{validate_config_map, validate_config_map_update};
use jiff::Timestamp;
use meta::Object;
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "ConfigMap", "configmaps")
        .short(&["cm"])
        .table(&["Name", "Data", "Age"], row)
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    validate: validate_config_map,
    update: Update { validate: validate_config_map_update, ..WHOLE },
    ..PLAIN
};

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    vec![name(o), (count(o, &["data"]) + count(o, &["binaryData"])).into(), age(o, now)]
}

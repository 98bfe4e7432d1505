//! `replicationcontrollers` (v1).

use crate::fill::{make, part, set};
use crate::kind::Kind;
use crate::strategy::{Dependents, PLAIN, STATUS_PART, Strategy, Update};
use crate::table::{REPLICA_COLUMNS, labels, replica_row};
use meta::Object;
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "ReplicationController", "replicationcontrollers")
        .short(&["rc"])
        .category("all")
        .scale()
        .status_with(json!({"replicas": 0}), &STATUS)
        .table(REPLICA_COLUMNS, |o, now| replica_row(o, now, labels(o.get(&["spec", "selector"]))))
        .field_or("status.replicas", "status.replicas", "0")
        .generation()
        .strategy(&STRATEGY)
}

static STATUS: Update =
    Update { validate: crate::validate::workload::validate_replica_status, ..STATUS_PART };

static STRATEGY: Strategy = Strategy {
    default,
    warnings: crate::validate::warnings::workload,
    validate: crate::validate::workload::validate_replication_controller,
    dependents: Dependents::Orphan,
    ..PLAIN
};

fn default(o: &mut Object) {
    let spec = part(o, "spec");
    set(spec, "replicas", 1);
    crate::pod::defaults::template(make(spec, "template"));
    let Some(Value::Object(labels)) = spec.pointer("/template/metadata/labels").cloned() else { return };
    if spec["selector"].as_object().is_none_or(serde_json::Map::is_empty) {
        spec["selector"] = Value::Object(labels.clone());
    }
    if o.metadata.labels.is_empty() {
        let text = |(k, v): (String, Value)| Some((k, v.as_str()?.to_owned()));
        o.metadata.labels = labels.into_iter().filter_map(text).collect();
    }
}

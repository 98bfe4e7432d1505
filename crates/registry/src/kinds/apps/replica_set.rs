//! `replicasets` (apps/v1).

use crate::fill::{make, part, set};
use crate::kind::Kind;
use crate::strategy::{PLAIN, STATUS_PART, Strategy, Update, WHOLE};
use crate::table::{REPLICA_COLUMNS, replica_row, selector};
use crate::validate::workload::{validate_replica_set, validate_replica_set_update};
use meta::Object;
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::namespaced("apps", "v1", "ReplicaSet", "replicasets")
        .short(&["rs"])
        .category("all")
        .scale()
        .status_with(json!({"replicas": 0}), &STATUS)
        .table(REPLICA_COLUMNS, |o, now| replica_row(o, now, selector(o.get(&["spec", "selector"]))))
        .generation()
        .strategy(&STRATEGY)
}

static STATUS: Update =
    Update { validate: crate::validate::workload::validate_replica_status, ..STATUS_PART };

static STRATEGY: Strategy = Strategy {
    default,
    warnings: crate::validate::warnings::workload,
    validate: validate_replica_set,
    update: Update { validate: validate_replica_set_update, ..WHOLE },
    ..PLAIN
};

fn default(o: &mut Object) {
    let spec = part(o, "spec");
    set(spec, "replicas", 1);
    crate::pod::defaults::template(make(spec, "template"));
}

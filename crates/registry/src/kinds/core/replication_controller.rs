//! `replicationcontrollers` (v1).

use crate::kind::Kind;
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "ReplicationController", "replicationcontrollers")
        .short(&["rc"])
        .category("all")
        .scale()
        .status(json!({"replicas": 0}))
        .table(
            &[
                "Name",
                "Desired:integer",
                "Current:integer",
                "Ready:integer",
                "Age",
                "Containers*",
                "Images*",
                "Selector*",
            ],
            crate::table::name_and_created,
        )
        .generation()
}

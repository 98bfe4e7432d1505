//! `statefulsets` (apps/v1).

use crate::kind::Kind;
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::namespaced("apps", "v1", "StatefulSet", "statefulsets")
        .short(&["sts"])
        .category("all")
        .scale()
        .status(json!({"availableReplicas": 0, "replicas": 0}))
        .table(&["Name", "Ready", "Age", "Containers*", "Images*"], crate::table::name_and_created)
        .generation()
}

//! `resourceclaims` (resource.k8s.io/v1).

use crate::kind::Kind;
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::namespaced("resource.k8s.io", "v1", "ResourceClaim", "resourceclaims")
        .status(json!({}))
        .table(&["Name", "State", "Age"], crate::table::name_and_created)
}

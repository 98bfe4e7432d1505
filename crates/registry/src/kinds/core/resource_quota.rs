//! `resourcequotas` (v1).

use crate::kind::Kind;
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "ResourceQuota", "resourcequotas")
        .short(&["quota"])
        .status(json!({}))
        .table(&["Name", "Request", "Limit", "Age"], crate::table::name_and_created)
}

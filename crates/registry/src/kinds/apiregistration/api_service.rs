//! `apiservices` (apiregistration.k8s.io/v1).

use crate::kind::Kind;
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::cluster("apiregistration.k8s.io", "v1", "APIService", "apiservices")
        .category("api-extensions")
        .status(json!({}))
        .table(&["Name", "Service", "Available", "Age"], crate::table::name_and_created)
}

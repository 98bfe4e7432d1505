//! `servicecidrs` (networking.k8s.io/v1).

use crate::kind::Kind;
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::cluster("networking.k8s.io", "v1", "ServiceCIDR", "servicecidrs")
        .status(json!({}))
        .table(&["Name", "CIDRs", "Age"], crate::table::name_and_created)
}

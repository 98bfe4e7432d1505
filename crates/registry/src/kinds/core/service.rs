//! `services` (v1).

use crate::kind::{Kind, Verbs};
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "Service", "services")
        .short(&["svc"])
        .category("all")
        .special("proxy", ("", "v1", "ServiceProxyOptions"), Verbs::PROXY)
        .status(json!({"loadBalancer": {}}))
        .table(
            &["Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector*"],
            crate::table::name_and_created,
        )
}

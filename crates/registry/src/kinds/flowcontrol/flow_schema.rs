//! `flowschemas` (flowcontrol.apiserver.k8s.io/v1).

use crate::kind::Kind;
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::cluster("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschemas")
        .status(json!({}))
        .table(
            &["Name", "PriorityLevel", "MatchingPrecedence", "DistinguisherMethod", "Age", "MissingPL"],
            crate::table::name_and_created,
        )
        .generation()
}

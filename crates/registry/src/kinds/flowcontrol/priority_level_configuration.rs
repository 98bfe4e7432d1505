//! `prioritylevelconfigurations` (flowcontrol.apiserver.k8s.io/v1).

use crate::kind::Kind;
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::cluster(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "PriorityLevelConfiguration",
        "prioritylevelconfigurations",
    )
    .status(json!({}))
    .table(
        &["Name", "Type", "NominalConcurrencyShares", "Queues", "HandSize", "QueueLengthLimit", "Age"],
        crate::table::name_and_created,
    )
    .generation()
}

//! `horizontalpodautoscalers` (autoscaling/v1).

use crate::kind::Kind;
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::namespaced("autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
        .short(&["hpa"])
        .category("all")
        .status(json!({}))
        .table(
            &["Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"],
            crate::table::name_and_created,
        )
}

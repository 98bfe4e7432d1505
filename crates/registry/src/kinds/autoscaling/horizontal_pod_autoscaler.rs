//! `horizontalpodautoscalers` (autoscaling/v2).

use crate::kind::Kind;
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::namespaced("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
        .short(&["hpa"])
        .category("all")
        .status(json!({"currentMetrics": null, "desiredReplicas": 0}))
        .table(
            &["Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"],
            crate::table::name_and_created,
        )
}

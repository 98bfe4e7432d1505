//! `poddisruptionbudgets` (policy/v1).

use crate::kind::Kind;
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::namespaced("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
        .short(&["pdb"])
        .status(json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0}))
        .table(
            &["Name", "Min Available", "Max Unavailable", "Allowed Disruptions:integer", "Age"],
            crate::table::name_and_created,
        )
        .generation()
}

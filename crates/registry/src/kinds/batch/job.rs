//! `jobs` (batch/v1).

use crate::kind::Kind;
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::namespaced("batch", "v1", "Job", "jobs")
        .category("all")
        .status(json!({}))
        .table(
            &["Name", "Status", "Completions", "Duration", "Age", "Containers*", "Images*", "Selector*"],
            crate::table::name_and_created,
        )
        .generation()
}

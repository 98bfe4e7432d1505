//! `namespaces` (v1).

use crate::kind::{Kind, Verbs};
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::cluster("", "v1", "Namespace", "namespaces")
        .short(&["ns"])
        .verbs(Verbs::ALL.without(Verbs::DELETECOLLECTION))
        .special("finalize", ("", "v1", "Namespace"), Verbs::UPDATE)
        .status(json!({"phase": "Active"}))
        .table(&["Name", "Status", "Age"], crate::table::name_and_created)
}

//! `nodes` (v1).

use crate::kind::{Kind, Verbs};
use serde_json::Value;

pub(super) fn kind() -> Kind {
    Kind::cluster("", "v1", "Node", "nodes")
        .short(&["no"])
        .special("proxy", ("", "v1", "NodeProxyOptions"), Verbs::PROXY)
        .status(Value::Null)
        .table(
            &[
                "Name",
                "Status",
                "Roles",
                "Age",
                "Version",
                "Internal-IP*",
                "External-IP*",
                "OS-Image*",
                "Kernel-Version*",
                "Container-Runtime*",
            ],
            crate::table::name_and_created,
        )
}

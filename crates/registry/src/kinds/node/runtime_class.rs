//! `runtimeclasses` (node.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::cluster("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses")
        .table(&["Name", "Handler", "Age"], crate::table::name_and_created)
}

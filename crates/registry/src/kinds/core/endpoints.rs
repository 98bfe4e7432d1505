//! `endpoints` (v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "Endpoints", "endpoints")
        .short(&["ep"])
        .table(&["Name", "Endpoints", "Age"], crate::table::name_and_created)
}

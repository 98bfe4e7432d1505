//! `configmaps` (v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "ConfigMap", "configmaps")
        .short(&["cm"])
        .table(&["Name", "Data", "Age"], crate::table::name_and_created)
}

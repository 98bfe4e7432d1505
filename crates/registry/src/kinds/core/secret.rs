//! `secrets` (v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "Secret", "secrets")
        .table(&["Name", "Type", "Data", "Age"], crate::table::name_and_created)
}

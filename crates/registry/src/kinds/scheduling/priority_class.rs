//! `priorityclasses` (scheduling.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::cluster("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses")
        .short(&["pc"])
        .table(
            &["Name", "Value:integer", "Global-Default:boolean", "Age", "PreemptionPolicy"],
            crate::table::name_and_created,
        )
        .generation()
}

//! `csinodes` (storage.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::cluster("storage.k8s.io", "v1", "CSINode", "csinodes")
        .table(&["Name", "Drivers:integer", "Age"], crate::table::name_and_created)
}

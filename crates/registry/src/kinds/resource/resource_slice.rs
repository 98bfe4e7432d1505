//! `resourceslices` (resource.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::cluster("resource.k8s.io", "v1", "ResourceSlice", "resourceslices")
        .table(&["Name", "Node", "Driver", "Pool", "Age"], crate::table::name_and_created)
}

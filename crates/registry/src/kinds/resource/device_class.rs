//! `deviceclasses` (resource.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::cluster("resource.k8s.io", "v1", "DeviceClass", "deviceclasses")
        .table(&["Name", "Age"], crate::table::name_and_created)
        .generation()
}

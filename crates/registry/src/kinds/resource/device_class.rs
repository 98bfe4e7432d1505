//! `deviceclasses` (resource.k8s.io/v1).

use crate::kind::Kind;
use crate::table::name_and_age;

pub(super) fn kind() -> Kind {
    Kind::cluster("resource.k8s.io", "v1", "DeviceClass", "deviceclasses")
        .table(&["Name", "Age"], name_and_age)
        .generation()
}

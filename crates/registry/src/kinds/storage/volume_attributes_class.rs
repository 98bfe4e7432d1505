//! `volumeattributesclasses` (storage.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::cluster("storage.k8s.io", "v1", "VolumeAttributesClass", "volumeattributesclasses")
        .short(&["vac"])
        .table(&["Name", "DriverName", "Age"], crate::table::name_and_created)
}

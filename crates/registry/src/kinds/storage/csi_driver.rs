//! `csidrivers` (storage.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::cluster("storage.k8s.io", "v1", "CSIDriver", "csidrivers").table(
        &[
            "Name",
            "AttachRequired:boolean",
            "PodInfoOnMount:boolean",
            "StorageCapacity:boolean",
            "TokenRequests",
            "RequiresRepublish:boolean",
            "Modes",
            "Age",
        ],
        crate::table::name_and_created,
    )
}

//! `volumeattachments` (storage.k8s.io/v1).

use crate::kind::Kind;
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::cluster("storage.k8s.io", "v1", "VolumeAttachment", "volumeattachments")
        .status(json!({}))
        .table(&["Name", "Attacher", "PV", "Node", "Attached:boolean", "Age"], crate::table::name_and_created)
}

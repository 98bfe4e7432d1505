//! `ipaddresses` (networking.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::cluster("networking.k8s.io", "v1", "IPAddress", "ipaddresses")
        .short(&["ip"])
        .table(&["Name", "ParentRef"], crate::table::name_and_created)
}

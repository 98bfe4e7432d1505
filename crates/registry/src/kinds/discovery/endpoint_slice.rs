//! `endpointslices` (discovery.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::namespaced("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
        .table(&["Name", "AddressType", "Ports", "Endpoints", "Age"], crate::table::name_and_created)
        .generation()
}

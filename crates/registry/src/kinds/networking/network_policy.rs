//! `networkpolicies` (networking.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::namespaced("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
        .short(&["netpol"])
        .table(&["Name", "Pod-Selector", "Age"], crate::table::name_and_created)
        .generation()
}

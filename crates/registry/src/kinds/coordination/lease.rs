//! `leases` (coordination.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::namespaced("coordination.k8s.io", "v1", "Lease", "leases")
        .table(&["Name", "Holder", "Age"], crate::table::name_and_created)
}

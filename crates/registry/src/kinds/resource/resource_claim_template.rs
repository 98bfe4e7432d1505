//! `resourceclaimtemplates` (resource.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::namespaced("resource.k8s.io", "v1", "ResourceClaimTemplate", "resourceclaimtemplates")
        .table(&["Name", "Age"], crate::table::name_and_created)
}

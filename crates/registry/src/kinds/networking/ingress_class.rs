//! `ingressclasses` (networking.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::cluster("networking.k8s.io", "v1", "IngressClass", "ingressclasses")
        .table(&["Name", "Controller", "Parameters", "Age"], crate::table::name_and_created)
        .generation()
}

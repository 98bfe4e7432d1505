//! `ingresses` (networking.k8s.io/v1).

use crate::kind::Kind;
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::namespaced("networking.k8s.io", "v1", "Ingress", "ingresses")
        .short(&["ing"])
        .status(json!({"loadBalancer": {}}))
        .table(&["Name", "Class", "Hosts", "Address", "Ports", "Age"], crate::table::name_and_created)
        .generation()
}

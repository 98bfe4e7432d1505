//! `roles` (rbac.authorization.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::namespaced("rbac.authorization.k8s.io", "v1", "Role", "roles")
}

//! `rolebindings` (rbac.authorization.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::namespaced("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings").table(
        &["Name", "Role", "Age", "Users*", "Groups*", "ServiceAccounts*"],
        crate::table::name_and_created,
    )
}

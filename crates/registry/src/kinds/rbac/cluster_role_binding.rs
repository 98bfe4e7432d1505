//! `clusterrolebindings` (rbac.authorization.k8s.io/v1).

use super::role_binding::{COLUMNS, GROUP, default, row};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy, Update, WHOLE};
use crate::validate::rbac::{validate_binding_update, validate_cluster_role_binding};

pub(super) fn kind() -> Kind {
    Kind::cluster(GROUP, "v1", "ClusterRoleBinding", "clusterrolebindings")
        .table(COLUMNS, row)
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default,
    validate: validate_cluster_role_binding,
    update: Update { validate: validate_binding_update, ..WHOLE },
    validate_name: crate::names::path_segment,
    create_on_update: true,
    ..PLAIN
};

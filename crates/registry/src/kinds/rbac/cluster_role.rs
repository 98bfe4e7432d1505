//! `clusterroles` (rbac.authorization.k8s.io/v1).

use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy};

pub(super) fn kind() -> Kind {
    Kind::cluster("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles").strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    validate: crate::validate::rbac::validate_cluster_role,
    validate_name: crate::names::path_segment,
    create_on_update: true,
    ..PLAIN
};

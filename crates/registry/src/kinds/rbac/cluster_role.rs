//! `clusterroles` (rbac.authorization.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::cluster("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles")
}

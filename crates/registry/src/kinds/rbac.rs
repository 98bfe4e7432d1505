//! Kinds of the group `rbac`, one a file.

use crate::kind::Kind;

mod cluster_role;
mod cluster_role_binding;
mod role;
mod role_binding;

pub(super) const KINDS: &[fn() -> Kind] =
    &[cluster_role_binding::kind, cluster_role::kind, role_binding::kind, role::kind];

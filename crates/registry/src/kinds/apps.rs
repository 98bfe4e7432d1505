//! Kinds of the group `apps`, one a file.

use crate::kind::Kind;

mod controller_revision;
mod daemon_set;
mod deployment;
mod replica_set;
mod stateful_set;

pub(super) const KINDS: &[fn() -> Kind] =
    &[controller_revision::kind, daemon_set::kind, deployment::kind, replica_set::kind, stateful_set::kind];

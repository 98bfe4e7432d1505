//! Kinds of the group `policy`, one a file.

use crate::kind::Kind;

mod pod_disruption_budget;

pub(super) const KINDS: &[fn() -> Kind] = &[pod_disruption_budget::kind];

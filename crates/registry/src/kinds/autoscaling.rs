//! Kinds of the group `autoscaling`, one a file.

use crate::kind::Kind;

mod horizontal_pod_autoscaler;
mod horizontal_pod_autoscaler_v1;

pub(super) const KINDS: &[fn() -> Kind] =
    &[horizontal_pod_autoscaler::kind, horizontal_pod_autoscaler_v1::kind];

//! Kinds of the group `resource`, one a file.

use crate::kind::Kind;

mod device_class;
mod resource_claim;
mod resource_claim_template;
mod resource_slice;

pub(super) const KINDS: &[fn() -> Kind] =
    &[device_class::kind, resource_claim::kind, resource_claim_template::kind, resource_slice::kind];

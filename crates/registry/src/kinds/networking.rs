//! Kinds of the group `networking`, one a file.

use crate::kind::Kind;

mod ingress;
mod ingress_class;
mod ip_address;
mod network_policy;
mod service_cidr;

pub(super) const KINDS: &[fn() -> Kind] =
    &[ingress_class::kind, ingress::kind, ip_address::kind, network_policy::kind, service_cidr::kind];

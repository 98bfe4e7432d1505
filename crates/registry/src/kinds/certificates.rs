//! Kinds of the group `certificates`, one a file.

use crate::kind::Kind;

mod certificate_signing_request;

pub(super) const KINDS: &[fn() -> Kind] = &[certificate_signing_request::kind];

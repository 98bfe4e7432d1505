//! Kinds of the group `discovery`, one a file.

use crate::kind::Kind;

mod endpoint_slice;

pub(super) const KINDS: &[fn() -> Kind] = &[endpoint_slice::kind];

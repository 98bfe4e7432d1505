//! Kinds of the group `coordination`, one a file.

use crate::kind::Kind;

mod lease;

pub(super) const KINDS: &[fn() -> Kind] = &[lease::kind];

//! Kinds of the group `scheduling`, one a file.

use crate::kind::Kind;

mod priority_class;

pub(super) const KINDS: &[fn() -> Kind] = &[priority_class::kind];

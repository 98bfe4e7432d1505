//! Kinds of the group `node`, one a file.

use crate::kind::Kind;

mod runtime_class;

pub(super) const KINDS: &[fn() -> Kind] = &[runtime_class::kind];

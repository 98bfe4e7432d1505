//! Kinds of the group `events`, one a file.

use crate::kind::Kind;

mod event;

pub(super) const KINDS: &[fn() -> Kind] = &[event::kind];

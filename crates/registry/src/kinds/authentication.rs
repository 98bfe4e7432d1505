//! Kinds of the group `authentication`, one a file.

use crate::kind::Kind;

mod self_subject_review;
mod token_review;

pub(super) const KINDS: &[fn() -> Kind] = &[self_subject_review::kind, token_review::kind];

//! Kinds of the group `authorization`, one a file.

use crate::kind::Kind;

mod local_subject_access_review;
mod self_subject_access_review;
mod self_subject_rules_review;
mod subject_access_review;

pub(super) const KINDS: &[fn() -> Kind] = &[
    local_subject_access_review::kind,
    self_subject_access_review::kind,
    self_subject_rules_review::kind,
    subject_access_review::kind,
];

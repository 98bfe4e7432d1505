//! `localsubjectaccessreviews` (authorization.k8s.io/v1).

use crate::kind::{Kind, Verbs};

pub(super) fn kind() -> Kind {
    Kind::namespaced("authorization.k8s.io", "v1", "LocalSubjectAccessReview", "localsubjectaccessreviews")
        .not_stored(Verbs::CREATE)
}

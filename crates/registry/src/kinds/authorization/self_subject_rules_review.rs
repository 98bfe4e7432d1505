//! `selfsubjectrulesreviews` (authorization.k8s.io/v1).

use crate::kind::{Kind, Verbs};

pub(super) fn kind() -> Kind {
    Kind::cluster("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews")
        .not_stored(Verbs::CREATE)
}

//! `tokenreviews` (authentication.k8s.io/v1).

use crate::kind::{Kind, Verbs};

pub(super) fn kind() -> Kind {
    Kind::cluster("authentication.k8s.io", "v1", "TokenReview", "tokenreviews").not_stored(Verbs::CREATE)
}

//! `serviceaccounts` (v1).

use crate::kind::{Kind, Verbs};
use crate::table::name_and_age;

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "ServiceAccount", "serviceaccounts")
        .short(&["sa"])
        .special("token", ("authentication.k8s.io", "v1", "TokenRequest"), Verbs::CREATE)
        .table(&["Name", "Age"], name_and_age)
}

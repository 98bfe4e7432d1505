//! `bindings` (v1).

use crate::kind::{Kind, Verbs};

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "Binding", "bindings").not_stored(Verbs::CREATE)
}

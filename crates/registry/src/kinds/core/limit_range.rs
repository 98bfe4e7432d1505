//! `limitranges` (v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "LimitRange", "limitranges").short(&["limits"])
}

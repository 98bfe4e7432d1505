//! `componentstatuses` (v1).

use crate::kind::{Kind, Verbs};

pub(super) fn kind() -> Kind {
    Kind::cluster("", "v1", "ComponentStatus", "componentstatuses")
        .short(&["cs"])
        .not_stored(Verbs::GET.and(Verbs::LIST))
        .table(&["Name", "Status", "Message", "Error"], crate::table::name_and_created)
}

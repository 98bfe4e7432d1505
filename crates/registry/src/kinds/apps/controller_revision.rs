//! `controllerrevisions` (apps/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::namespaced("apps", "v1", "ControllerRevision", "controllerrevisions")
        .table(&["Name", "Controller", "Revision", "Age"], crate::table::name_and_created)
}

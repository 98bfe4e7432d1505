//! `podtemplates` (v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::namespaced("", "v1", "PodTemplate", "podtemplates")
        .table(&["Name", "Containers", "Images", "Pod Labels"], crate::table::name_and_created)
        .generation()
}

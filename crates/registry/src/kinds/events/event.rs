//! `events` (events.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::namespaced("events.k8s.io", "v1", "Event", "events").short(&["ev"]).table(
        &[
            "Last Seen",
            "Type",
            "Reason",
            "Object",
            "Subobject*",
            "Source*",
            "Message",
            "First Seen*",
            "Count*",
            "Name*",
        ],
        crate::table::name_and_created,
    )
}

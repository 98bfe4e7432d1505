//! `mutatingwebhookconfigurations` (admissionregistration.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::cluster(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
    )
    .category("api-extensions")
    .table(&["Name", "Webhooks:integer", "Age"], crate::table::name_and_created)
    .generation()
}

//! `mutatingwebhookconfigurations` (admissionregistration.k8s.io/v1).

use crate::admission_kinds::{configuration_row, webhooks};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy};

pub(super) fn kind() -> Kind {
    Kind::cluster(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
    )
    .category("api-extensions")
    .table(&["Name", "Webhooks:integer", "Age"], configuration_row)
    .generation()
    .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default: |o| webhooks(o, true),
    validate: crate::validate::webhooks::validate_configuration,
    unconditional_update: false,
    ..PLAIN
};

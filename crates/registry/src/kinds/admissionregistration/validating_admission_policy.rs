//! `validatingadmissionpolicies` (admissionregistration.k8s.io/v1).

use crate::admission_kinds::{policy, policy_row};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy};
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::cluster(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
    )
    .category("api-extensions")
    .status(json!({}))
    .table(&["Name", "Validations:integer", "ParamKind", "Age"], |o, now| policy_row(o, now, "validations"))
    .generation()
    .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default: policy,
    validate: crate::validate::admission_policy::validate_policy,
    unconditional_update: false,
    ..PLAIN
};

//! `validatingadmissionpolicybindings` (admissionregistration.k8s.io/v1).

use crate::admission_kinds::{binding, binding_row};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy};

pub(super) fn kind() -> Kind {
    Kind::cluster(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
    )
    .category("api-extensions")
    .table(&["Name", "PolicyName", "ParamRef", "Age"], binding_row)
    .generation()
    .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default: binding,
    validate: crate::validate::admission_policy::validate_binding,
    unconditional_update: false,
    ..PLAIN
};

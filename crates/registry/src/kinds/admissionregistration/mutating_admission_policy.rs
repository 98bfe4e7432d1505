//! `mutatingadmissionpolicies` (admissionregistration.k8s.io/v1).

use crate::admission_kinds::{policy, policy_row};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy};

pub(super) fn kind() -> Kind {
    Kind::cluster(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingAdmissionPolicy",
        "mutatingadmissionpolicies",
    )
    .category("api-extensions")
    .table(&["Name", "Mutations:integer", "ParamKind", "Age"], |o, now| policy_row(o, now, "mutations"))
    .generation()
    .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy { default: policy, unconditional_update: false, ..PLAIN };

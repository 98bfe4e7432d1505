//! `mutatingadmissionpolicies` (admissionregistration.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::cluster(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingAdmissionPolicy",
        "mutatingadmissionpolicies",
    )
    .category("api-extensions")
    .table(&["Name", "Mutations:integer", "ParamKind", "Age"], crate::table::name_and_created)
}

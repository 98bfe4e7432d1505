//! `validatingadmissionpolicybindings` (admissionregistration.k8s.io/v1).

use crate::kind::Kind;

pub(super) fn kind() -> Kind {
    Kind::cluster(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
    )
    .category("api-extensions")
    .table(&["Name", "PolicyName", "ParamRef", "Age"], crate::table::name_and_created)
    .generation()
}

//! `validatingadmissionpolicies` (admissionregistration.k8s.io/v1).

use crate::kind::Kind;
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
    .table(&["Name", "Validations:integer", "ParamKind", "Age"], crate::table::name_and_created)
    .generation()
}

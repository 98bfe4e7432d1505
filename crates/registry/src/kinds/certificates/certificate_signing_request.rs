//! `certificatesigningrequests` (certificates.k8s.io/v1).

use crate::kind::Kind;
use serde_json::json;

pub(super) fn kind() -> Kind {
    Kind::cluster("certificates.k8s.io", "v1", "CertificateSigningRequest", "certificatesigningrequests")
        .short(&["csr"])
        .part("approval", &crate::strategy::STATUS)
        .status(json!({}))
        .table(
            &["Name", "Age", "SignerName", "Requestor", "RequestedDuration", "Condition"],
            crate::table::name_and_created,
        )
}

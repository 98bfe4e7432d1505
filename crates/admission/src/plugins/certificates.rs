//! CertificateApproval, CertificateSigning and CertificateSubjectRestriction: who may approve and sign which requests, and
//! what nobody may ask for (`plugin/pkg/admission/certificates`).

use crate::{Operation, Plugin, Request, View};
use auth::pki::Asked;
use meta::{Attributes, Object, Status};

const GROUP: &str = "certificates.k8s.io";
const RESOURCE: &str = "certificatesigningrequests";
/// Whose certificates the API server takes for users.
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// Whoever approves or denies must have `approve` on the request's signer.
pub(crate) struct CertificateApproval;
/// Whoever sets the certificate must have `sign` on the request's signer.
pub(crate) struct CertificateSigning;
/// No certificate makes its owner a master.
pub(crate) struct CertificateSubjectRestriction;

fn is_part(r: &Request, subresource: &str) -> bool {
    r.operation == Operation::Update && r.is_any(GROUP, RESOURCE) && r.subresource == subresource
}

/// Whether the user has `verb` on the signer of the stored request, or on all signers of its domain.
fn permitted(r: &Request, view: &dyn View, verb: &str, doing: &str) -> Result<(), Status> {
    let signer = r.old.as_ref().map_or("", |o| o.str(&["spec", "signerName"]));
    let domain = signer.split('/').next().unwrap_or_default();
    let may = |name: &str| {
        let signers = Attributes::resource(&r.user, verb, GROUP, "signers").name(name);
        view.authorize(&Attributes { version: "*".to_owned(), ..signers })
    };
    if may(signer) || may(&format!("{domain}/*")) {
        return Ok(());
    }
    Err(r.forbidden(format!("user not permitted to {doing} requests with signerName {signer:?}")))
}

impl Plugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn handles(&self, r: &Request) -> bool {
        is_part(r, "approval")
    }

    fn validate(&self, r: &mut Request, view: &dyn View) -> Result<(), Status> {
        permitted(r, view, "approve", "approve")
    }
}

impl Plugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn handles(&self, r: &Request) -> bool {
        is_part(r, "status")
    }

    fn validate(&self, r: &mut Request, view: &dyn View) -> Result<(), Status> {
        let part = |o: &Option<Object>, key: &str| o.as_ref().and_then(|o| o.get(&["status", key])).cloned();
        let same = |key: &str| part(&r.object, key) == part(&r.old, key);
        if same("certificate") && same("conditions") { Ok(()) } else { permitted(r, view, "sign", "sign") }
    }
}

impl Plugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn handles(&self, r: &Request) -> bool {
        r.operation == Operation::Create && r.is(GROUP, RESOURCE)
    }

    fn validate(&self, r: &mut Request, _view: &dyn View) -> Result<(), Status> {
        let Some(object) = r.object.as_ref().filter(|o| o.str(&["spec", "signerName"]) == CLIENT_SIGNER)
        else {
            return Ok(());
        };
        let asked = Asked::from_base64(object.str(&["spec", "request"]));
        let asked = asked.map_err(|why| r.forbidden(format!("failed to parse CSR: {why}")))?;
        if asked.organizations.iter().any(|o| o == "system:masters") {
            let why = format!("use of {CLIENT_SIGNER} signer with system:masters group is not allowed");
            return Err(r.forbidden(why));
        }
        Ok(())
    }
}

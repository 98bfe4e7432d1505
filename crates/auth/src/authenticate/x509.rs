//! The user that a client certificate names (`k8s.io/apiserver/pkg/authentication/request/x509`). The chain was
//! verified by the TLS layer against the cluster's CA before.

use super::known;
use meta::UserInfo;
use ring::digest::{SHA256, digest};
use std::sync::Arc;
use x509_parser::oid_registry::{OID_X509_COMMON_NAME, OID_X509_ORGANIZATION_NAME};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Kubernetes' own attribute type for the user's UID.
const UID_OID: &str = "1.3.6.1.4.1.57683.2";

/// Why a verified certificate names no user.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum PeerError {
    /// No certificate, or one with text that is no text.
    #[error("the client certificate can't be read")]
    Unreadable,
    /// More than one UID, or an empty one.
    #[error("expected 1 UID, but found multiple: {0:?}")]
    Uid(Vec<String>),
}

/// CommonName is the name, each Organization a group. Without a CommonName the certificate names nobody.
/// Call it once for each connection.
pub fn peer_user(der: &[u8]) -> Result<Option<Arc<UserInfo>>, PeerError> {
    let (_, cert) = X509Certificate::from_der(der).map_err(|_| PeerError::Unreadable)?;
    let (mut name, mut groups, mut uids) = (String::new(), Vec::new(), Vec::new());
    for attribute in cert.subject().iter_attributes() {
        let text = || attribute.as_str().map(str::to_owned).map_err(|_| PeerError::Unreadable);
        match attribute.attr_type() {
            // The last one wins, as in Go's pkix.Name.
            t if *t == OID_X509_COMMON_NAME => name = text()?,
            t if *t == OID_X509_ORGANIZATION_NAME => groups.push(text()?),
            t if t.to_id_string() == UID_OID => uids.push(text()?),
            _ => {}
        }
    }
    if name.is_empty() {
        return Ok(None);
    }
    let uid = match uids.as_slice() {
        [] => String::new(),
        [one] if !one.is_empty() => one.clone(),
        _ => return Err(PeerError::Uid(uids)),
    };
    let fingerprint: String = digest(&SHA256, der).as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let id =
        ("authentication.kubernetes.io/credential-id".to_owned(), vec![format!("X509SHA256={fingerprint}")]);
    Ok(Some(known(UserInfo { name, uid, groups, extra: [id].into() })))
}

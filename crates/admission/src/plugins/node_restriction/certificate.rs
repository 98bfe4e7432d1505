//! Certificates that a node may ask for as a node: those in its own name (`admitCSR`).

use crate::json::{spec, text};
use crate::{Operation, Request};
use auth::pki::Asked;

/// Signers of certificates that make their owner a node.
const SIGNERS: [&str; 2] = ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];

pub(super) fn refusal(r: &Request, node: &str) -> Option<String> {
    let object = r.object.as_ref().filter(|_| r.operation == Operation::Create)?;
    if !SIGNERS.contains(&text(spec(object), &["signerName"])) {
        return None;
    }
    match Asked::from_base64(text(spec(object), &["request"])) {
        Err(why) => Some(format!("unable to parse csr: {why}")),
        Ok(asked) if asked.common_name == format!("system:node:{node}") => None,
        Ok(_) => Some(format!("can only create a node CSR with CN=system:node:{node}")),
    }
}

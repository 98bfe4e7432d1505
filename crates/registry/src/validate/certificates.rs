//! CertificateSigningRequests (`pkg/apis/certificates/validation/validation.go`).

use super::at::{At, Faults};
use crate::table::items;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use meta::{FieldError, FieldPath, Object, names};
use serde_json::Value;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate, X509CertificationRequest};

/// Shortest life of a certificate that may be asked for.
const SECONDS_MIN: i64 = 600;
/// What a certificate may be used for.
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
/// Conditions that, once there, stay.
const LASTING: [&str; 3] = ["Approved", "Denied", "Failed"];

/// A new or changed request.
pub(crate) fn validate_signing_request(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    let request = spec.get("request");
    if let Err(why) = request_is_signed(request.str()) {
        faults.push(request.invalid(why));
    }
    let usages = spec.get("usages");
    if usages.is_empty() {
        faults.push(usages.missing(""));
    }
    let mut seen = Vec::new();
    for usage in usages.items() {
        usage.one_of(USAGES, &mut faults);
        if seen.contains(&usage.str()) {
            faults.push(usage.duplicate());
        }
        seen.push(usage.str());
    }
    signer(&spec.get("signerName"), &mut faults);
    let seconds = spec.get("expirationSeconds");
    if seconds.int().is_some_and(|n| n < SECONDS_MIN) {
        faults.push(seconds.invalid("may not specify a duration less than 600 seconds (10 minutes)"));
    }
    faults
}

fn signer(signer: &At<'_>, faults: &mut Faults) {
    if !signer.required(faults) {
        return;
    }
    if signer.str() == "kubernetes.io/legacy-unknown" {
        faults.push(signer.invalid("the legacy signerName is not allowed via this API version"));
        return;
    }
    match signer.str().split_once('/') {
        Some((domain, path)) if !path.contains('/') => {
            let mut say =
                |part: &str, why: String| faults.push(FieldError::invalid(&signer.path(), part, why));
            label_fault(domain, names::dns1123_label).into_iter().for_each(|why| say(domain, why));
            if !domain.contains('.') {
                say(domain, "should be a domain with at least two segments separated by dots".into());
            }
            label_fault(path, names::dns1123_subdomain).into_iter().for_each(|why| say(path, why));
        }
        _ => faults.push(
            signer.invalid("must be a fully qualified domain and path of the form 'example.com/signer-name'"),
        ),
    }
}

/// What is wrong with the first bad label of a part of a signer's name.
fn label_fault(part: &str, rule: fn(&str) -> Vec<String>) -> Vec<String> {
    let mut labels = part.split('.').map(|label| (label, rule(label)));
    let found = labels.find(|(_, wrong)| !wrong.is_empty());
    let told = |(label, wrong): (&str, Vec<String>)| {
        wrong.into_iter().map(|why| format!("validating label {label:?}: {why}")).collect()
    };
    found.map(told).unwrap_or_default()
}

/// Whether base64 of PEM holds a PKCS #10 request that is signed with its own key; otherwise Go's words for why not.
fn request_is_signed(base64: &str) -> Result<(), String> {
    const KIND: &str = "PEM block type must be CERTIFICATE REQUEST";
    let pem = STANDARD.decode(base64).map_err(|_| KIND)?;
    let block = Pem::iter_from_buffer(&pem).next().and_then(Result::ok);
    let block = block.filter(|b| b.label == "CERTIFICATE REQUEST").ok_or(KIND)?;
    let (_, request) = X509CertificationRequest::from_der(&block.contents)
        .map_err(|e| format!("x509: malformed certificate request: {e}"))?;
    request.verify_signature().map_err(|_| "x509: the signature of the request is not that of its key".into())
}

/// A change of `status` by the signer.
pub(crate) fn validate_signing_status(new: &Object, old: &Object) -> Faults {
    let mut faults = conditions(new, old);
    let path = FieldPath::new("status").child("conditions");
    let count = |o: &Object, kind: &str| {
        items(o, &["status", "conditions"]).iter().filter(|c| c["type"] == kind).count()
    };
    for kind in ["Approved", "Denied"] {
        if count(new, kind) > count(old, kind) {
            let why = format!("updates may not add a condition of type {kind:?}");
            faults.push(FieldError::forbidden(&path, why));
        }
    }
    let (before, now) = (old.str(&["status", "certificate"]), new.str(&["status", "certificate"]));
    let path = FieldPath::new("status").child("certificate");
    if let Err(why) = certificates_only(now) {
        faults.push(FieldError::invalid(&path, "<certificate data>", why));
    }
    if before != now && !before.is_empty() {
        faults.push(FieldError::forbidden(&path, "updates may not modify existing certificate content"));
    }
    faults
}

/// A change of `approval`.
pub(crate) fn validate_signing_approval(new: &Object, old: &Object) -> Faults {
    conditions(new, old)
}

fn conditions(new: &Object, old: &Object) -> Faults {
    let mut faults = Vec::new();
    let of = |o: &Object, kind: &str| {
        items(o, &["status", "conditions"]).iter().filter(|c| c["type"] == kind).count()
    };
    let list = At::top(new, "status").get("conditions");
    let mut seen: Vec<&str> = Vec::new();
    for condition in list.items() {
        let kind = condition.get("type");
        kind.required(&mut faults);
        let status = condition.get("status");
        match (status.str(), LASTING.contains(&kind.str())) {
            ("", _) => faults.push(status.missing("")),
            (_, true) => status.one_of(&["True"], &mut faults),
            (_, false) => status.one_of(&["False", "True", "Unknown"], &mut faults),
        }
        let other = match kind.str() {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if !other.is_empty() && seen.contains(&other) && of(old, "Approved") * of(old, "Denied") == 0 {
            let why = "Approved and Denied conditions are mutually exclusive";
            faults.push(FieldError::invalid(&list.path(), kind.str(), why));
        }
        if seen.contains(&kind.str()) && of(old, kind.str()) < 2 {
            faults.push(kind.duplicate());
        }
        seen.push(kind.str());
    }
    for kind in LASTING.iter().filter(|kind| of(new, kind) < of(old, kind)) {
        let why = format!("updates may not remove a condition of type {kind:?}");
        faults.push(FieldError::forbidden(&list.path(), why));
    }
    faults
}

/// Whether base64 of PEM holds certificates and nothing else; an empty text holds none, and that is fine.
fn certificates_only(base64: &str) -> Result<(), String> {
    if base64.is_empty() {
        return Ok(());
    }
    let pem = STANDARD.decode(base64).map_err(|e| e.to_string())?;
    let mut blocks = 0;
    for block in Pem::iter_from_buffer(&pem).map_while(Result::ok) {
        if block.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        X509Certificate::from_der(&block.contents).map_err(|_| "x509: malformed certificate")?;
        blocks += 1;
    }
    if blocks == 0 { Err("must contain at least one CERTIFICATE PEM block".into()) } else { Ok(()) }
}

/// Whether two conditions say the same of the same.
pub(crate) fn same_condition(a: &Value, b: &Value) -> bool {
    a["type"] == b["type"] && a["status"] == b["status"]
}

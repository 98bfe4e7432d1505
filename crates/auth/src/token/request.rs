//! `serviceaccounts/token`: a TokenRequest becomes a token (`pkg/registry/core/serviceaccount/storage/token.go`).

use super::{Claims, Issuer, Kubernetes, ObjectRef, user_name};
use crate::Lookup;
use meta::{FieldError, FieldPath, Object, Status, Time};
use serde_json::{Value, json};

const GROUP: &str = "authentication.k8s.io";
const DEFAULT_EXPIRATION_SECONDS: i64 = 60 * 60;
const MIN_EXPIRATION_SECONDS: i64 = 10 * 60;
const MAX_EXPIRATION_SECONDS: i64 = 1 << 32;
/// What the mounted token of a pod asks for; such a token goes on working for a year, for clients that don't
/// read it again (`WarnOnlyBoundTokenExpirationSeconds`, `ExpirationExtensionSeconds`).
const POD_TOKEN_SECONDS: i64 = 60 * 60 + 7;
const EXTENDED_SECONDS: i64 = 365 * 24 * 60 * 60;

/// An answered TokenRequest.
#[derive(Debug)]
pub struct Granted {
    /// The request with its status.
    pub object: Object,
    /// For `Warning:` headers.
    pub warnings: Vec<String>,
    /// Id of the token, for the audit log.
    pub credential_id: String,
}

/// What a token is bound to.
#[derive(Default)]
struct Bound {
    pod: Option<ObjectRef>,
    node: Option<ObjectRef>,
    secret: Option<ObjectRef>,
}

fn reference(object: &Object) -> ObjectRef {
    ObjectRef { name: object.metadata.name.clone(), uid: object.metadata.uid.clone() }
}

impl Issuer {
    /// Grants `request` (a TokenRequest as decoded) for the service account `account`.
    pub fn grant(
        &self,
        account: &Object,
        mut request: Object,
        lookup: &dyn Lookup,
        now: Time,
    ) -> Result<Granted, Status> {
        self.fill_in(account, &mut request, now)?;
        let mut seconds =
            request.get(&["spec", "expirationSeconds"]).and_then(Value::as_i64).unwrap_or_default();
        check_expiration(seconds)?;
        let bound = bind(account, &request, lookup)?;
        let mut warnings = Vec::new();
        if let Some(max) = self.max_expiration_seconds.filter(|max| seconds > *max) {
            warnings.push(format!("requested expiration of {seconds} seconds shortened to {max} seconds"));
            seconds = max;
            request.set(&["spec", "expirationSeconds"], max.into());
        }
        let aud: Vec<String> = strings(request.get(&["spec", "audiences"]));
        let (mut exp, mut warnafter) = (now.as_second() + seconds, None);
        if bound.pod.is_some()
            && seconds == POD_TOKEN_SECONDS
            && aud.iter().all(|a| self.audiences.contains(a))
        {
            let longest = self.max_expiration_seconds.map_or(EXTENDED_SECONDS, |m| m.min(EXTENDED_SECONDS));
            warnafter = Some(exp);
            exp = now.as_second() + longest;
        }
        let failed = |e| Status::internal(format!("failed to generate token: {e}"));
        let claims = Claims {
            aud,
            exp,
            iat: now.as_second(),
            iss: self.issuer.clone(),
            jti: self.uuid().map_err(failed)?,
            kubernetes: Kubernetes {
                namespace: account.metadata.namespace.clone(),
                node: bound.node,
                pod: bound.pod,
                secret: bound.secret,
                serviceaccount: reference(account),
                warnafter,
            },
            nbf: now.as_second(),
            sub: user_name(&account.metadata.namespace, &account.metadata.name),
        };
        let token = self.signing.sign(&claims).map_err(failed)?;
        let expires = Time::from_second(now.as_second() + seconds).to_string();
        request.set(&["status"], json!({"token": token, "expirationTimestamp": expires}));
        Ok(Granted { object: request, warnings, credential_id: format!("JTI={}", claims.jti) })
    }

    /// A token of `account` that lasts as long as `secret`, in which it is to be kept.
    pub fn secret_token(&self, account: &Object, secret: &Object, now: Time) -> Result<String, Status> {
        let failed = |e| Status::internal(format!("failed to generate token: {e}"));
        let claims = Claims {
            aud: self.audiences.clone(),
            exp: now.as_second() + MAX_EXPIRATION_SECONDS,
            iat: now.as_second(),
            iss: self.issuer.clone(),
            jti: self.uuid().map_err(failed)?,
            kubernetes: Kubernetes {
                namespace: account.metadata.namespace.clone(),
                node: None,
                pod: None,
                secret: Some(reference(secret)),
                serviceaccount: reference(account),
                warnafter: None,
            },
            nbf: now.as_second(),
            sub: user_name(&account.metadata.namespace, &account.metadata.name),
        };
        self.signing.sign(&claims).map_err(failed)
    }

    /// Checks the request's metadata against the account, and fills in what it leaves open.
    fn fill_in(&self, account: &Object, request: &mut Object, now: Time) -> Result<(), Status> {
        let (own, meta) = (&account.metadata, &mut request.metadata);
        let differs = |field: &str, got: &str, what: &str| {
            let path = FieldPath::new("metadata").child(field);
            let error = FieldError::invalid(
                &path,
                got,
                format!("must match the service account {what} if specified"),
            );
            Status::invalid(GROUP, "TokenRequest", &own.name, &[error])
        };
        if !meta.name.is_empty() && meta.name != own.name {
            return Err(differs("name", &meta.name, "name"));
        }
        if !meta.namespace.is_empty() && meta.namespace != own.namespace {
            return Err(differs("namespace", &meta.namespace, "namespace"));
        }
        if !meta.uid.is_empty() && meta.uid != own.uid {
            let why = format!(
                "the UID in the token request ({}) does not match the UID of the service account ({})",
                meta.uid, own.uid
            );
            return Err(Status::conflict(GROUP, "TokenRequest", &own.name, &why));
        }
        meta.name.clone_from(&own.name);
        meta.namespace.clone_from(&own.namespace);
        meta.uid.clone_from(&own.uid);
        meta.creation_timestamp = Some(now);
        if strings(request.get(&["spec", "audiences"])).is_empty() {
            request.set(&["spec", "audiences"], json!(self.audiences));
        }
        if request.get(&["spec", "expirationSeconds"]).is_none_or(Value::is_null) {
            request.set(&["spec", "expirationSeconds"], DEFAULT_EXPIRATION_SECONDS.into());
        }
        Ok(())
    }
}

fn strings(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn check_expiration(seconds: i64) -> Result<(), Status> {
    let why = match seconds {
        s if s < MIN_EXPIRATION_SECONDS => "may not specify a duration less than 10 minutes",
        s if s > MAX_EXPIRATION_SECONDS => "may not specify a duration larger than 2^32 seconds",
        _ => return Ok(()),
    };
    let error = FieldError::invalid(&FieldPath::new("spec").child("expirationSeconds"), seconds, why);
    Err(Status::invalid(GROUP, "TokenRequest", "", &[error]))
}

/// Looks up `spec.boundObjectRef`.
fn bind(account: &Object, request: &Object, lookup: &dyn Lookup) -> Result<Bound, Status> {
    let text = |key| request.str(&["spec", "boundObjectRef", key]);
    if request.get(&["spec", "boundObjectRef"]).is_none_or(Value::is_null) {
        return Ok(Bound::default());
    }
    let (api_version, kind, name, uid) = (text("apiVersion"), text("kind"), text("name"), text("uid"));
    let (group, _) = meta::gvk::parse_api_version(api_version);
    let namespace = account.metadata.namespace.as_str();
    let (resource, namespace) = match (group, kind) {
        ("", "Pod") => ("pods", namespace),
        ("", "Secret") => ("secrets", namespace),
        ("", "Node") => ("nodes", ""),
        _ => {
            let (_, version) = meta::gvk::parse_api_version(api_version);
            let why = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(Status::bad_request(why));
        }
    };
    let object = lookup.get("", resource, namespace, name);
    let object = object.ok_or_else(|| Status::not_found("", resource, name))?;
    if resource == "pods" && object.str(&["spec", "serviceAccountName"]) != account.metadata.name {
        return Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
            account.metadata.name
        )));
    }
    if !uid.is_empty() && uid != object.metadata.uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might \
             have been deleted and then recreated"
        );
        return Err(Status::conflict("", kind, name, &why));
    }
    let bound = Some(reference(&object));
    Ok(match resource {
        "pods" => Bound { pod: bound, node: node_of(&object, lookup), ..Bound::default() },
        "secrets" => Bound { secret: bound, ..Bound::default() },
        _ => Bound { node: bound, ..Bound::default() },
    })
}

/// The pod's node; without a UID if the Node object isn't there.
fn node_of(pod: &Object, lookup: &dyn Lookup) -> Option<ObjectRef> {
    let name = pod.str(&["spec", "nodeName"]);
    let uid = || lookup.get("", "nodes", "", name).map(|n| n.metadata.uid.clone()).unwrap_or_default();
    (!name.is_empty()).then(|| ObjectRef { name: name.to_owned(), uid: uid() })
}

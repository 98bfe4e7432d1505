//! The wording of a refusal (`k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go`).

use meta::{Attributes, Status};

/// `User "x" cannot list resource "pods" in API group "" in the namespace "default"`.
pub fn forbidden_message(a: &Attributes) -> String {
    let (user, verb) = (&a.user.name, &a.verb);
    if !a.is_resource {
        return format!("User {user:?} cannot {verb} path {:?}", a.path);
    }
    let resource = match a.subresource.as_str() {
        "" => a.resource.clone(),
        sub => format!("{}/{sub}", a.resource),
    };
    let scope = match a.namespace.as_str() {
        "" => "at the cluster scope".to_owned(),
        ns => format!("in the namespace {ns:?}"),
    };
    format!("User {user:?} cannot {verb} resource {resource:?} in API group {:?} {scope}", a.group)
}

/// 403 for a request that wasn't allowed; `reason` may be empty. What could look like HTML is escaped, since
/// user names and paths come from outside.
pub fn forbidden(a: &Attributes, reason: &str) -> Status {
    let mut message = forbidden_message(a).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    if !reason.is_empty() {
        message = format!("{message}: {reason}");
    }
    Status::forbidden(&a.group, &a.resource, &a.name, &message)
}

//! NamespaceLifecycle: nothing is made in a namespace that isn't there or is going away, and the system's
//! namespaces stay (`k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle`).

use crate::{Operation, Plugin, Request, View};
use meta::Status;
use serde_json::json;

/// Namespaces that may not be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(crate) struct NamespaceLifecycle;

impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn handles(&self, request: &Request) -> bool {
        request.operation != Operation::Connect
    }

    fn mutate(&self, request: &mut Request, view: &dyn View) -> Result<(), Status> {
        check(request, view)
    }

    fn validate(&self, request: &mut Request, view: &dyn View) -> Result<(), Status> {
        // Deletions and subresources have no mutating pass; for others this narrows the race with a deletion.
        check(request, view)
    }
}

fn check(request: &Request, view: &dyn View) -> Result<(), Status> {
    if request.is_any("", "namespaces") {
        let immortal = IMMORTAL.contains(&request.name.as_str());
        if request.operation == Operation::Delete && request.subresource.is_empty() && immortal {
            return Err(request.forbidden("this namespace may not be deleted"));
        }
        return Ok(());
    }
    // What a review answers must not tell whether the namespace exists.
    let is_review = request.is_any("authorization.k8s.io", "localsubjectaccessreviews");
    if request.namespace.is_empty() || request.operation == Operation::Delete || is_review {
        return Ok(());
    }
    let name = &request.namespace;
    let Some(namespace) = view.get("", "namespaces", "", name) else {
        return Err(Status::not_found("", "namespaces", name));
    };
    if request.operation != Operation::Create || namespace.str(&["status", "phase"]) != "Terminating" {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {name} because it is being terminated");
    let mut status = request.forbidden(why);
    status.details["causes"] = json!([{"reason": "NamespaceTerminating",
        "message": format!("namespace {name} is being terminated"), "field": "metadata.namespace"}]);
    Err(status)
}

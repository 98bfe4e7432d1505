//! NodeRestriction: a node's agent changes only its own node, its own pods and what they need
//! (`plugin/pkg/admission/noderestriction`).

mod certificate;
mod labels;
mod references;
mod token;

use crate::json::{at, items, spec, text};
use crate::{Operation, Plugin, Request, View};
use meta::{Object, Status};
use serde_json::Value;

const MIRROR: &str = "kubernetes.io/config.mirror";
const LEASE_NAMESPACE: &str = "kube-node-lease";

pub(crate) struct NodeRestriction;

impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    fn handles(&self, r: &Request) -> bool {
        r.operation != Operation::Connect && r.user.node_name().is_some()
    }

    fn mutate(&self, r: &mut Request, view: &dyn View) -> Result<(), Status> {
        check(r, view)
    }

    fn validate(&self, r: &mut Request, view: &dyn View) -> Result<(), Status> {
        // Once more: no plugin in between may have made of it what a node may not do.
        check(r, view)
    }
}

fn check(r: &Request, view: &dyn View) -> Result<(), Status> {
    let node = r.user.node_name().unwrap_or_default();
    if node.is_empty() {
        return Err(r.forbidden(format!("could not determine node from user {:?}", r.user.name)));
    }
    let refusal = match (r.resource.group.as_str(), r.resource.resource.as_str(), r.subresource.as_str()) {
        ("", "pods", "") => return pod(r, node, view),
        ("", "pods", "status") => pod_status(r, node),
        ("", "pods", "eviction") => return eviction(r, node, view),
        ("", "pods", other) => {
            Some(format!("unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"))
        }
        ("", "nodes", _) => node_object(r, node),
        ("", "persistentvolumeclaims", "status") => claim_status(r, node),
        ("", "persistentvolumeclaims", _) => Some("may only update PVC status".to_owned()),
        ("", "serviceaccounts", "token") => return token::check(r, node, view),
        ("coordination.k8s.io", "leases", _) => lease(r, node),
        ("storage.k8s.io", "csinodes", _) if name(r) != node => {
            Some("can only access CSINode with the same name as the requesting node".to_owned())
        }
        ("resource.k8s.io", "resourceslices", _) => slice(r, node),
        ("certificates.k8s.io", "certificatesigningrequests", "") => certificate::refusal(r, node),
        _ => None,
    };
    refusal.map_or(Ok(()), |why| Err(r.forbidden(why)))
}

/// The name of the object, which a creation doesn't have in its URL.
fn name(r: &Request) -> &str {
    let object = r.object.as_ref().filter(|_| r.operation == Operation::Create);
    object.map_or(r.name.as_str(), |o| o.metadata.name.as_str())
}

fn operation(r: &Request) -> &'static str {
    match r.operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

fn node_of(pod: &Object) -> &str {
    text(spec(pod), &["nodeName"])
}

fn pod(r: &Request, node: &str, view: &dyn View) -> Result<(), Status> {
    match r.operation {
        Operation::Create => mirror_pod(r, node, view),
        Operation::Delete => {
            let pod = view.get("", "pods", &r.namespace, &r.name);
            let pod = pod.ok_or_else(|| Status::not_found("", "pods", &r.name))?;
            if node_of(&pod) == node {
                return Ok(());
            }
            Err(r.forbidden(format!("node {node:?} can only delete pods with spec.nodeName set to itself")))
        }
        _ => Err(r.forbidden(format!(
            "unexpected operation {:?}, node {node:?} can only create and delete mirror pods",
            operation(r)
        ))),
    }
}

fn mirror_pod(r: &Request, node: &str, view: &dyn View) -> Result<(), Status> {
    let Some(pod) = &r.object else { return Ok(()) };
    let refuse = |why: String| Err(r.forbidden(why));
    if !pod.metadata.annotations.contains_key(MIRROR) {
        return refuse(format!(
            "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
        ));
    }
    if node_of(pod) != node {
        return refuse(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    let owner = match pod.metadata.owner_references.as_slice() {
        [owner] if owner.api_version == "v1" && owner.kind == "Node" && owner.name == node => owner,
        [_, _, ..] => {
            return refuse(format!(
                "node {node:?} can only create pods with a single owner reference set to itself"
            ));
        }
        _ => {
            return refuse(format!(
                "node {node:?} can only create pods with an owner reference set to itself"
            ));
        }
    };
    if owner.controller != Some(true) {
        return refuse(format!(
            "node {node:?} can only create pods with a controller owner reference set to itself"
        ));
    }
    if owner.block_owner_deletion == Some(true) {
        return refuse(format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
    }
    let Some(stored) = view.get("", "nodes", "", node) else {
        return Err(Status::not_found("", "nodes", node));
    };
    if owner.uid != stored.metadata.uid {
        let (expected, got) = (&owner.uid, &stored.metadata.uid);
        return refuse(format!("node {node} UID mismatch: expected {expected} got {got}"));
    }
    match references::of_pod(spec(pod)) {
        None => Ok(()),
        Some(Ok(resource)) => refuse(format!("node {node:?} can not create pods that reference {resource}")),
        Some(Err(why)) => refuse(format!("error checking mirror pod for API references: {why}")),
    }
}

fn pod_status(r: &Request, node: &str) -> Option<String> {
    let (Operation::Update, Some(new), Some(old)) = (r.operation, &r.object, &r.old) else {
        return Some(format!("unexpected operation {:?}", operation(r)));
    };
    let differs = |field: &str| {
        let of = |o: &Object| o.get(&["status", field]).filter(|v| !is_empty(v)).cloned();
        of(new) != of(old)
    };
    if node_of(old) != node {
        return Some(format!(
            "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
        ));
    }
    if new.metadata.labels != old.metadata.labels {
        return Some(format!("node {node:?} cannot update labels through pod status"));
    }
    if differs("resourceClaimStatuses") {
        return Some(format!("node {node:?} cannot update resource claim statues"));
    }
    differs("extendedResourceClaimStatus")
        .then(|| format!("node {node:?} cannot update extended resource claim status"))
}

fn is_empty(v: &Value) -> bool {
    v.is_null() || v.as_array().is_some_and(Vec::is_empty)
}

fn eviction(r: &Request, node: &str, view: &dyn View) -> Result<(), Status> {
    if r.operation != Operation::Create {
        return Err(r.forbidden(format!("unexpected operation {}", operation(r))));
    }
    let own = r.object.as_ref().map(|o| o.metadata.name.as_str()).unwrap_or_default();
    let name = if r.name.is_empty() { own } else { r.name.as_str() };
    if name.is_empty() {
        return Err(r.forbidden("could not determine pod from request data"));
    }
    let pod = view.get("", "pods", &r.namespace, name).ok_or_else(|| Status::not_found("", "pods", name))?;
    if node_of(&pod) != node {
        return Err(r.forbidden(format!("node {node} can only evict pods with spec.nodeName set to itself")));
    }
    Ok(())
}

fn node_object(r: &Request, node: &str) -> Option<String> {
    let named = name(r);
    if named != node {
        return Some(format!("node {node:?} is not allowed to modify node {named:?}"));
    }
    let new = r.object.as_ref()?;
    let source = at(spec(new), &["configSource"]);
    match r.operation {
        Operation::Create if !source.is_null() => {
            Some(format!("node {node:?} is not allowed to create pods with a non-nil configSource"))
        }
        Operation::Create => {
            let forbidden = labels::forbidden(&new.metadata.labels, None);
            let list = forbidden.join(", ");
            (!forbidden.is_empty())
                .then(|| format!("node {node:?} is not allowed to set the following labels: {list}"))
        }
        Operation::Update => node_update(node, new, r.old.as_ref()?),
        _ => None,
    }
}

fn node_update(node: &str, new: &Object, old: &Object) -> Option<String> {
    let source = at(spec(new), &["configSource"]);
    if !source.is_null() && source != at(spec(old), &["configSource"]) {
        return Some(format!(
            "node {node:?} is not allowed to update configSource to a new non-nil configSource"
        ));
    }
    if items(spec(new), &["taints"]) != items(spec(old), &["taints"]) {
        return Some(format!("node {node:?} is not allowed to modify taints"));
    }
    if new.metadata.owner_references != old.metadata.owner_references {
        return Some(format!("node {node:?} is not allowed to modify ownerReferences"));
    }
    let forbidden = labels::forbidden(&new.metadata.labels, Some(&old.metadata.labels));
    (!forbidden.is_empty()).then(|| format!("is not allowed to modify labels: {}", forbidden.join(", ")))
}

fn claim_status(r: &Request, node: &str) -> Option<String> {
    let (Operation::Update, Some(new), Some(old)) = (r.operation, &r.object, &r.old) else {
        return Some(format!("unexpected operation {:?}", operation(r)));
    };
    // Everything but what a node reports must be as it was.
    let frame = |claim: &Object| {
        let mut claim = claim.clone();
        claim.metadata.resource_version.clear();
        claim.metadata.managed_fields.clear();
        if let Some(status) = claim.body.get_mut("status").and_then(Value::as_object_mut) {
            for field in ["capacity", "conditions", "allocatedResourceStatuses", "allocatedResources"] {
                status.remove(field);
            }
        }
        if claim.body.get("status").is_some_and(|s| s.as_object().is_some_and(serde_json::Map::is_empty)) {
            claim.body.remove("status");
        }
        claim
    };
    (frame(new) != frame(old)).then(|| {
        format!(
            "node {node:?} is not allowed to update fields other than status.quantity and status.conditions"
        )
    })
}

fn lease(r: &Request, node: &str) -> Option<String> {
    if r.namespace != LEASE_NAMESPACE {
        return Some(format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace"));
    }
    (name(r) != node)
        .then(|| "can only access node lease with the same name as the requesting node".to_owned())
}

fn slice(r: &Request, node: &str) -> Option<String> {
    let (object, verb) = match r.operation {
        Operation::Create => (r.object.as_ref()?, "create"),
        Operation::Delete => (r.old.as_ref()?, "delete"),
        _ => return None,
    };
    (text(spec(object), &["nodeName"]) != node)
        .then(|| format!("can only {verb} ResourceSlice with the same NodeName as the requesting node"))
}

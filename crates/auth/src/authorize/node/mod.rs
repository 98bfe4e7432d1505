//! What the agent of a node may do (`plugin/pkg/auth/authorizer/node/node_authorizer.go`): fixed rules, and
//! for objects that belong to pods only those of its own pods.

mod graph;
mod refs;
mod rules;

pub use graph::Graph;

use super::Decision;
use meta::Attributes;
use refs::RefKind;
use std::sync::Arc;

fn yes() -> Decision {
    Decision::Allow(Arc::default())
}

fn no(reason: impl Into<String>) -> Decision {
    Decision::NoOpinion(reason.into())
}

/// Decides for users that are node agents; no opinion on others.
pub(super) fn authorize(graph: &Graph, a: &Attributes) -> Decision {
    let Some(node) = a.user.node_name() else { return no("") };
    if node.is_empty() {
        return no(format!("unknown node for user {:?}", a.user.name));
    }
    if !a.is_resource {
        return no("");
    }
    let asked = Asked { graph, node, a };
    match (a.group.as_str(), a.resource.as_str()) {
        ("", "secrets") => asked.read(RefKind::Secret),
        ("", "configmaps") => asked.read(RefKind::ConfigMap),
        ("", "persistentvolumeclaims") if a.subresource == "status" => asked.claim_status(),
        ("", "persistentvolumeclaims") => asked.get(|g, n, ns, name| g.reaches(n, RefKind::Claim, ns, name)),
        ("", "persistentvolumes") => asked.get(|g, n, _, name| g.reaches_volume(n, name)),
        ("", "serviceaccounts") => asked.service_account(),
        ("", "nodes") => asked.node_object(),
        ("", "pods") => asked.pod(),
        ("resource.k8s.io", "resourceclaims") => {
            asked.get(|g, n, ns, name| g.reaches(n, RefKind::ResourceClaim, ns, name))
        }
        ("resource.k8s.io", "resourceslices") => asked.slice(),
        ("storage.k8s.io", "volumeattachments") => asked.get(|g, n, _, name| g.has_attachment(n, name)),
        ("storage.k8s.io", "csinodes") => asked.csi_node(),
        ("coordination.k8s.io", "leases") => asked.lease(),
        _ if rules::rules().iter().any(|r| r.allows(a)) => yes(),
        _ => no(""),
    }
}

/// One request of one node.
struct Asked<'a> {
    graph: &'a Graph,
    node: &'a str,
    a: &'a Attributes,
}

/// Whether the node has a relation to the object of this namespace and name.
type Related = fn(&Graph, &str, &str, &str) -> bool;

impl Asked<'_> {
    fn verb_in(&self, verbs: &[&str]) -> bool {
        verbs.contains(&self.a.verb.as_str())
    }

    fn related(&self, related: impl Fn(&Graph, &str, &str, &str) -> bool) -> Decision {
        if self.a.name.is_empty() {
            return no("No Object name found");
        }
        match related(self.graph, self.node, &self.a.namespace, &self.a.name) {
            true => yes(),
            false => self.unrelated(),
        }
    }

    fn unrelated(&self) -> Decision {
        no(format!("no relationship found between node '{}' and this object", self.node))
    }

    fn get(&self, related: Related) -> Decision {
        if self.a.verb != "get" {
            return no("can only get individual resources of this type");
        }
        if !self.a.subresource.is_empty() {
            return no("cannot get subresource");
        }
        self.related(related)
    }

    fn read(&self, kind: RefKind) -> Decision {
        if !self.verb_in(&["get", "list", "watch"]) {
            return no("can only read resources of this type");
        }
        if !self.a.subresource.is_empty() {
            return no("cannot read subresource");
        }
        if self.a.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        self.related(|g, node, ns, name| g.reaches(node, kind, ns, name))
    }

    fn claim_status(&self) -> Decision {
        if !self.verb_in(&["update", "patch"]) {
            return no("can only get/update/patch this type");
        }
        self.related(|g, node, ns, name| g.reaches(node, RefKind::Claim, ns, name))
    }

    fn service_account(&self) -> Decision {
        let a = self.a;
        if a.verb == "get" && a.subresource.is_empty() {
            return self.read(RefKind::ServiceAccount);
        }
        if a.verb != "create" || a.name.is_empty() {
            return no("can only create tokens for individual service accounts");
        }
        if a.subresource != "token" {
            return no("can only create token subresource of serviceaccount");
        }
        self.related(|g, node, ns, name| g.reaches(node, RefKind::ServiceAccount, ns, name))
    }

    fn lease(&self) -> Decision {
        if !self.verb_in(&["get", "create", "update", "patch", "delete"]) {
            return no("can only get, create, update, patch, or delete a node lease");
        }
        if self.a.namespace != "kube-node-lease" {
            return no("can only access leases in the \"kube-node-lease\" system namespace");
        }
        // A creation doesn't name the object; NodeRestriction checks it.
        if self.a.verb != "create" && self.a.name != self.node {
            return no("can only access node lease with the same name as the requesting node");
        }
        yes()
    }

    fn csi_node(&self) -> Decision {
        if !self.verb_in(&["get", "create", "update", "patch", "delete"]) {
            return no("can only get, create, update, patch, or delete a CSINode");
        }
        if !self.a.subresource.is_empty() {
            return no("cannot authorize CSINode subresources");
        }
        if self.a.verb != "create" && self.a.name != self.node {
            return no("can only access CSINode with the same name as the requesting node");
        }
        yes()
    }

    fn slice(&self) -> Decision {
        if !self.a.subresource.is_empty() {
            return no("cannot authorize ResourceSlice subresources");
        }
        match self.a.verb.as_str() {
            "create" => yes(),
            "get" | "update" | "patch" | "delete" => self.related(|g, node, _, name| g.has_slice(node, name)),
            "watch" | "list" | "deletecollection" if self.selects("spec.nodeName") => yes(),
            "watch" | "list" | "deletecollection" => {
                no("can only list/watch/deletecollection resourceslices with nodeName field selector")
            }
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, \
                 patch, delete, deletecollection",
            ),
        }
    }

    /// Whether the field selector pins `field` to this node.
    fn selects(&self, field: &str) -> bool {
        self.a.field_selector.split(',').any(|requirement| {
            let Some((key, value)) = requirement.split_once('=') else { return false };
            !key.ends_with('!')
                && key.trim() == field
                && value.strip_prefix('=').unwrap_or(value).trim() == self.node
        })
    }

    fn node_object(&self) -> Decision {
        let (node, name) = (self.node, self.a.name.as_str());
        match (self.a.subresource.as_str(), self.a.verb.as_str()) {
            ("", "create" | "update" | "patch") | ("status", "update" | "patch") => yes(),
            ("", "get" | "list" | "watch") if name == node => yes(),
            ("", "get" | "list" | "watch") if name.is_empty() => {
                no(format!("node '{node}' cannot read all nodes, only its own Node object"))
            }
            ("", "get" | "list" | "watch") => {
                no(format!("node '{node}' cannot read '{name}', only its own Node object"))
            }
            _ => no(""),
        }
    }

    fn pod(&self) -> Decision {
        let own: Related = Graph::has_pod;
        match (self.a.subresource.as_str(), self.a.verb.as_str()) {
            ("", "get") => self.get(own),
            ("", "list" | "watch") if self.selects("spec.nodeName") => yes(),
            ("", "list" | "watch") if !self.a.name.is_empty() => self.related(own),
            ("", "list" | "watch") => no("can only list/watch pods with spec.nodeName field selector"),
            // NodeRestriction narrows these to mirror pods and to pods of the node.
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => yes(),
            _ => no(""),
        }
    }
}

#[cfg(test)]
mod tests;

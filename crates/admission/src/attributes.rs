//! What a plugin is asked about (`admission.Attributes` in `k8s.io/apiserver/pkg/admission/interfaces.go`).

use meta::{GroupVersionKind, GroupVersionResource, Object, Status, UserInfo};
use std::sync::Arc;

/// What the write does to the object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Operation {
    /// A new object, or a creating subresource (`pods/binding`, `pods/eviction`, `serviceaccounts/token`).
    #[default]
    Create,
    /// A change: update, patch, apply, or a change through a subresource such as `status`.
    Update,
    /// A deletion of one object; a deletecollection asks once for each.
    Delete,
    /// `exec`, `attach`, `portforward`, `proxy`.
    Connect,
}

/// One write on its way in. The API server fills it; mutating plugins change `object` and add `warnings`.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// What the write does.
    pub operation: Operation,
    /// Resource as the URL names it, without the subresource.
    pub resource: GroupVersionResource,
    /// Kind of `object` (of `old` for deletions).
    pub kind: GroupVersionKind,
    /// Subresource; empty for the resource itself.
    pub subresource: String,
    /// Namespace; empty for cluster-scoped resources. For a write of a Namespace: empty, as in the URL.
    pub namespace: String,
    /// Name; may be empty for a creation with `generateName`.
    pub name: String,
    /// The new object, after defaulting; none for deletions.
    pub object: Option<Object>,
    /// The stored object; none for creations.
    pub old: Option<Object>,
    /// Who writes.
    pub user: Arc<UserInfo>,
    /// Whether nothing is to be stored.
    pub dry_run: bool,
    /// Whether an update through server-side apply or PUT may become a creation.
    pub force_allow_create: bool,
    /// Entropy for generated names; the server draws it freshly for each request.
    pub entropy: u64,
    /// Texts for `Warning:` headers, in order.
    pub warnings: Vec<String>,
    /// Audit annotations (`<plugin>/<key>`), for the audit log.
    pub audit: Vec<(String, String)>,
}

impl Request {
    /// Whether the write is to `group`/`resource` itself and not to a subresource of it.
    pub fn is(&self, group: &str, resource: &str) -> bool {
        self.subresource.is_empty() && self.is_any(group, resource)
    }

    /// Whether the write is to `group`/`resource` or a subresource of it.
    pub fn is_any(&self, group: &str, resource: &str) -> bool {
        self.resource.resource == resource && self.resource.group == group
    }

    /// 403 with upstream's frame: `pods "web" is forbidden: <why>`. An object without a name goes by its
    /// `generateName`, and without that by `Unknown` (`admission.NewForbidden`).
    pub fn forbidden(&self, why: impl std::fmt::Display) -> Status {
        let own = self.object.as_ref().or(self.old.as_ref()).map(|o| &o.metadata);
        let names = [Some(&self.name), own.map(|m| &m.name), own.map(|m| &m.generate_name)];
        let name = names.into_iter().flatten().find(|n| !n.is_empty()).map_or("Unknown", String::as_str);
        Status::forbidden(&self.resource.group, &self.resource.resource, name, &why.to_string())
    }

    /// Adds a warning, once.
    pub fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }
}

/// A write that must be committed before the request's own, with `metadata.resourceVersion` as precondition.
/// If that fails because the object moved on, ask [`crate::charge`] again. Written by the server itself:
/// through no admission, and without changing `metadata.generation`.
#[derive(Clone, Debug, PartialEq)]
pub struct SideWrite {
    /// API group of the object.
    pub group: String,
    /// Plural resource of the object.
    pub resource: String,
    /// The object to store.
    pub object: Object,
}

/// An object that is about to be made by a controller, and without which a request would be refused: the
/// server may wait a moment for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Awaited {
    /// API group of the object.
    pub group: String,
    /// Plural resource of the object.
    pub resource: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}

//! Who asks for what: the vocabulary that authentication, authorization and admission share
//! (`k8s.io/apiserver/pkg/authentication/user`, `.../authorization/authorizer`).

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An authenticated user (`user.Info`; on the wire `authentication.k8s.io/v1 UserInfo`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// The name that policy speaks of, for example `system:serviceaccount:default:web`.
    pub name: String,
    /// Stable id where the authenticator knows one (a service account's UID).
    pub uid: String,
    /// Groups, in the order in which the authenticators added them.
    pub groups: Vec<String>,
    /// Whatever else the authenticator knows, for example the pod of a bound token.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// A user with a name and groups only.
    pub fn new(name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|g| (*g).to_owned()).collect();
        Self { name: name.to_owned(), groups, ..Self::default() }
    }

    /// Whether the user is in `group`.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The node whose agent this is: a `system:node:<name>` in the group `system:nodes`
    /// (`pkg/auth/nodeidentifier/default.go`). An empty name means: an agent, but of an unknown node.
    pub fn node_name(&self) -> Option<&str> {
        let name = self.name.strip_prefix("system:node:")?;
        self.is_in("system:nodes").then_some(name)
    }

    /// Namespace and name, if this is a service account.
    pub fn service_account(&self) -> Option<(&str, &str)> {
        let rest = self.name.strip_prefix("system:serviceaccount:")?;
        rest.split_once(':').filter(|(ns, name)| !ns.is_empty() && !name.is_empty() && !name.contains(':'))
    }

    /// As `authentication.k8s.io/v1 UserInfo`; empty fields are left out.
    pub fn to_value(&self) -> Value {
        let mut v = Map::new();
        for (key, text) in [("username", &self.name), ("uid", &self.uid)] {
            if !text.is_empty() {
                v.insert(key.into(), text.as_str().into());
            }
        }
        if !self.groups.is_empty() {
            v.insert("groups".into(), json!(self.groups));
        }
        if !self.extra.is_empty() {
            v.insert("extra".into(), json!(self.extra));
        }
        Value::Object(v)
    }
}

/// What a request asks for, as policy sees it (`authorizer.Attributes`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Who asks.
    pub user: Arc<UserInfo>,
    /// `get`, `list`, `watch`, `create`, ... for resources, the lower-case HTTP method otherwise.
    pub verb: String,
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural resource.
    pub resource: String,
    /// Subresource; empty for the resource itself.
    pub subresource: String,
    /// Namespace; empty for cluster-scoped resources and for requests across all namespaces.
    pub namespace: String,
    /// Name; empty for collections and for creations.
    pub name: String,
    /// URL path; decisive only where `is_resource` is false.
    pub path: String,
    /// Whether the request is for a resource and not for a plain URL.
    pub is_resource: bool,
    /// The request's `fieldSelector` as written.
    pub field_selector: String,
    /// The request's `labelSelector` as written.
    pub label_selector: String,
}

impl Attributes {
    /// `verb` on `group`/`resource` (`pods`, or `pods/log`) by `user`; set namespace and name on the result.
    pub fn resource(user: &Arc<UserInfo>, verb: &str, group: &str, resource: &str) -> Self {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Self {
            user: user.clone(),
            verb: verb.to_owned(),
            group: group.to_owned(),
            version: "*".to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            is_resource: true,
            ..Self::default()
        }
    }

    /// `verb` on the plain URL `path` by `user`.
    pub fn non_resource(user: &Arc<UserInfo>, verb: &str, path: &str) -> Self {
        Self { user: user.clone(), verb: verb.to_owned(), path: path.to_owned(), ..Self::default() }
    }

    /// The same in a namespace.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.to_owned();
        self
    }

    /// The same for one object.
    pub fn name(mut self, name: &str) -> Self {
        self.name = name.to_owned();
        self
    }

    /// Whether the verb only reads.
    pub fn is_read_only(&self) -> bool {
        matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

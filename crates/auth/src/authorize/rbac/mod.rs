//! Role-based access control (`plugin/pkg/auth/authorizer/rbac`): an index over Roles, ClusterRoles and their
//! bindings, kept up to date object by object.

mod covers;
mod escalate;
mod rule;

pub use covers::{escalation, uncovered};
pub(crate) use escalate::check as check_escalation;
pub use rule::PolicyRule;
pub(crate) use rule::quoted;

use super::Decision;
use meta::{Attributes, Object, UserInfo};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

/// The API group whose objects make the policy.
pub const GROUP: &str = "rbac.authorization.k8s.io";

/// What a binding refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRef {
    /// API group of the role.
    pub group: String,
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// Name of the role.
    pub name: String,
}

impl RoleRef {
    /// The `roleRef` of a RoleBinding or ClusterRoleBinding.
    pub fn of(binding: &Object) -> Self {
        let text = |key| binding.str(&["roleRef", key]).to_owned();
        Self { group: text("apiGroup"), kind: text("kind"), name: text("name") }
    }
}

/// One subject of one binding, as the index holds it.
#[derive(Debug)]
struct Grant {
    /// `<namespace>/<name>` of the binding; the namespace is empty for a ClusterRoleBinding.
    binding: (String, String),
    role: RoleRef,
    /// The reason given with an allowed request, formatted once.
    reason: Arc<str>,
}

/// Grants by who they are for. Service accounts stand under their user names.
#[derive(Debug, Default)]
struct Grants {
    users: HashMap<String, Vec<Arc<Grant>>>,
    groups: HashMap<String, Vec<Arc<Grant>>>,
}

impl Grants {
    /// The grants that apply to `user`.
    fn of<'a>(&'a self, user: &'a UserInfo) -> impl Iterator<Item = &'a Arc<Grant>> {
        let by_user = self.users.get(&user.name).into_iter();
        by_user.chain(user.groups.iter().filter_map(|g| self.groups.get(g))).flatten()
    }

    fn remove(&mut self, binding: &(String, String)) {
        for map in [&mut self.users, &mut self.groups] {
            map.retain(|_, grants| {
                grants.retain(|g| g.binding != *binding);
                !grants.is_empty()
            });
        }
    }
}

/// The whole RBAC policy.
#[derive(Debug, Default)]
pub struct Policy {
    /// By namespace and name.
    roles: HashMap<(String, String), Arc<[PolicyRule]>>,
    cluster_roles: HashMap<String, Arc<[PolicyRule]>>,
    cluster_grants: Grants,
    /// By namespace.
    grants: HashMap<String, Grants>,
}

impl Policy {
    /// Takes in an object of the group; `resource` is its plural.
    pub fn put(&mut self, resource: &str, object: &Object) {
        let (ns, name) = (&object.metadata.namespace, &object.metadata.name);
        match resource {
            "roles" => {
                self.roles.insert((ns.clone(), name.clone()), PolicyRule::of(object).into());
            }
            "clusterroles" => {
                self.cluster_roles.insert(name.clone(), PolicyRule::of(object).into());
            }
            "rolebindings" | "clusterrolebindings" => {
                self.delete(resource, ns, name);
                self.add_binding(object);
            }
            _ => {}
        }
    }

    /// Forgets an object of the group.
    pub fn delete(&mut self, resource: &str, namespace: &str, name: &str) {
        let key = (namespace.to_owned(), name.to_owned());
        match resource {
            "roles" => drop(self.roles.remove(&key)),
            "clusterroles" => drop(self.cluster_roles.remove(name)),
            "clusterrolebindings" => self.cluster_grants.remove(&key),
            "rolebindings" => {
                if let Some(grants) = self.grants.get_mut(namespace) {
                    grants.remove(&key);
                }
            }
            _ => {}
        }
    }

    fn add_binding(&mut self, object: &Object) {
        let (ns, name) = (&object.metadata.namespace, &object.metadata.name);
        let role = RoleRef::of(object);
        let (kind, shown) = match ns.as_str() {
            "" => ("ClusterRoleBinding", name.clone()),
            ns => ("RoleBinding", format!("{name}/{ns}")),
        };
        let grants = match ns.as_str() {
            "" => &mut self.cluster_grants,
            ns => self.grants.entry(ns.to_owned()).or_default(),
        };
        let subjects = object.body.get("subjects").and_then(Value::as_array).map(Vec::as_slice);
        for subject in subjects.unwrap_or_default() {
            let text = |key| subject.get(key).and_then(Value::as_str).unwrap_or_default();
            let (map, key, who) = match text("kind") {
                "User" => (&mut grants.users, text("name").to_owned(), text("name").to_owned()),
                "Group" => (&mut grants.groups, text("name").to_owned(), text("name").to_owned()),
                "ServiceAccount" => {
                    let of = if text("namespace").is_empty() { ns } else { text("namespace") };
                    let user = format!("system:serviceaccount:{of}:{}", text("name"));
                    (&mut grants.users, user, format!("{}/{of}", text("name")))
                }
                _ => continue,
            };
            let reason = format!(
                "RBAC: allowed by {kind} {shown:?} of {} {:?} to {} {who:?}",
                role.kind,
                role.name,
                text("kind")
            );
            let binding = (ns.clone(), name.clone());
            let grant = Grant { binding, role: role.clone(), reason: reason.into() };
            map.entry(key).or_default().push(Arc::new(grant));
        }
    }

    /// Whether some rule allows the request; RBAC never denies.
    pub fn authorize(&self, a: &Attributes) -> Decision {
        let mut errors = Vec::new();
        for (namespace, grant) in self.grants_of(&a.user, &a.namespace) {
            match self.rules_of(&grant.role, namespace) {
                Ok(rules) if rules.iter().any(|r| r.allows(a)) => {
                    return Decision::Allow(grant.reason.clone());
                }
                Ok(_) => {}
                Err(e) if errors.contains(&e) => {}
                Err(e) => errors.push(e),
            }
        }
        Decision::NoOpinion(match errors.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        })
    }

    /// Grants for the user in the cluster, and then in the namespace if one is given; each with the namespace
    /// in which its role is looked up.
    fn grants_of<'a>(
        &'a self,
        user: &'a UserInfo,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Arc<Grant>)> {
        let local = self.grants.get(namespace).filter(|_| !namespace.is_empty());
        let cluster = self.cluster_grants.of(user).map(|g| ("", g));
        cluster.chain(local.into_iter().flat_map(move |g| g.of(user)).map(move |g| (namespace, g)))
    }

    /// The rules of a role that a binding in `namespace` refers to, or why there are none.
    pub fn rules_of(&self, role: &RoleRef, namespace: &str) -> Result<&Arc<[PolicyRule]>, String> {
        let found = match role.kind.as_str() {
            "Role" => self.roles.get(&(namespace.to_owned(), role.name.clone())),
            "ClusterRole" => self.cluster_roles.get(&role.name),
            kind => return Err(format!("unsupported role reference kind: {kind:?}")),
        };
        found.ok_or_else(|| format!("{}.{GROUP} {:?} not found", role.kind.to_lowercase(), role.name))
    }

    /// All rules that apply to the user in the namespace, and in the cluster.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> Vec<PolicyRule> {
        let rules = self.grants_of(user, namespace).filter_map(|(ns, g)| self.rules_of(&g.role, ns).ok());
        rules.flat_map(|r| r.iter().cloned()).collect()
    }

    /// `status` of a SelfSubjectRulesReview (`authorization.k8s.io/v1 SubjectRulesReviewStatus`).
    pub fn rules_review(&self, user: &UserInfo, namespace: &str) -> Value {
        let mut resource_rules = Vec::new();
        let mut non_resource_rules = Vec::new();
        for rule in self.rules_for(user, namespace) {
            if !rule.resources.is_empty() {
                let part = PolicyRule { non_resource_urls: Vec::new(), ..rule.clone() };
                resource_rules.push(json!(part));
            }
            if !rule.non_resource_urls.is_empty() {
                non_resource_rules
                    .push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
            }
        }
        json!({"resourceRules": resource_rules, "nonResourceRules": non_resource_rules, "incomplete": false})
    }
}

#[cfg(test)]
mod tests;

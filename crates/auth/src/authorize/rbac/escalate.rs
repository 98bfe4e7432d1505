//! Nobody grants what they don't hold (`pkg/registry/rbac/{role,clusterrole,rolebinding,clusterrolebinding}/policybased`).

use super::{GROUP, Policy, PolicyRule, RoleRef, covers};
use crate::authorize::{Decision, SYSTEM_MASTERS};
use meta::{Attributes, Object, Status};
use serde_json::Value;

/// Everything: what an aggregation rule could gather.
fn full_authority() -> [PolicyRule; 2] {
    let star = || vec!["*".to_owned()];
    [
        PolicyRule::resources(&["*"], &["*"], &["*"]),
        PolicyRule { verbs: star(), non_resource_urls: star(), ..PolicyRule::default() },
    ]
}

/// Checks a write of a Role, ClusterRole, RoleBinding or ClusterRoleBinding: `attributes` is the request's,
/// `new` the object about to be stored and `old` the stored one. `authorize` answers for the verbs `escalate`
/// and `bind`. Other resources pass.
pub(crate) fn check(
    policy: &Policy,
    authorize: &dyn Fn(&Attributes) -> Decision,
    attributes: &Attributes,
    new: &Object,
    old: Option<&Object>,
) -> Result<(), Status> {
    if attributes.group != GROUP
        || attributes.user.is_in(SYSTEM_MASTERS)
        || old.is_some_and(|old| differs_only_for_gc(new, old))
    {
        return Ok(());
    }
    match attributes.resource.as_str() {
        "roles" | "clusterroles" => check_role(policy, authorize, attributes, new, old),
        "rolebindings" | "clusterrolebindings" => check_binding(policy, authorize, attributes, new),
        _ => Ok(()),
    }
}

/// Whether the write touches only what the garbage collector needs to touch.
fn differs_only_for_gc(new: &Object, old: &Object) -> bool {
    let mut copy = new.clone();
    copy.metadata.owner_references = old.metadata.owner_references.clone();
    copy.metadata.finalizers = old.metadata.finalizers.clone();
    copy.metadata.self_link = old.metadata.self_link.clone();
    copy.metadata.managed_fields = old.metadata.managed_fields.clone();
    copy.metadata.resource_version = old.metadata.resource_version.clone();
    copy == *old
}

fn check_role(
    policy: &Policy,
    authorize: &dyn Fn(&Attributes) -> Decision,
    a: &Attributes,
    new: &Object,
    old: Option<&Object>,
) -> Result<(), Status> {
    let escalate = Attributes::resource(&a.user, "escalate", GROUP, &a.resource);
    if authorize(&escalate.namespace(&a.namespace).name(&a.name)).is_allowed() {
        return Ok(());
    }
    let held = policy.rules_for(&a.user, &a.namespace);
    let refuse = |why: &str| Status::forbidden(GROUP, &a.resource, &new.metadata.name, why);
    if let Some(why) = covers::escalation(&a.user, &held, &PolicyRule::of(new)) {
        return Err(refuse(&why));
    }
    let aggregates = |o: &Object| {
        let selectors = o.get(&["aggregationRule", "clusterRoleSelectors"]).and_then(Value::as_array);
        selectors.is_some_and(|s| !s.is_empty())
    };
    let gathers = aggregates(new) || old.is_some_and(aggregates);
    if gathers && !covers::uncovered(&held, &full_authority()).is_empty() {
        return Err(refuse("must have cluster-admin privileges to use the aggregationRule"));
    }
    Ok(())
}

fn check_binding(
    policy: &Policy,
    authorize: &dyn Fn(&Attributes) -> Decision,
    a: &Attributes,
    new: &Object,
) -> Result<(), Status> {
    let role = RoleRef::of(new);
    let resource = match role.kind.as_str() {
        "Role" => "roles",
        "ClusterRole" => "clusterroles",
        // An unknown kind is left to validation, which words it better.
        _ => return Ok(()),
    };
    let bind = Attributes::resource(&a.user, "bind", &role.group, resource);
    if authorize(&bind.namespace(&a.namespace).name(&role.name)).is_allowed() {
        return Ok(());
    }
    let Ok(rules) = policy.rules_of(&role, &a.namespace) else {
        return Err(Status::not_found(GROUP, resource, &role.name));
    };
    let held = policy.rules_for(&a.user, &a.namespace);
    match covers::escalation(&a.user, &held, rules) {
        Some(why) => Err(Status::forbidden(GROUP, &a.resource, &new.metadata.name, &why)),
        None => Ok(()),
    }
}

//! Roles and their bindings (`pkg/apis/rbac/validation/validation.go`).

use super::at::{At, Faults};
use meta::{FieldError, Object, names};

const GROUP: &str = "rbac.authorization.k8s.io";

fn rules(o: &Object, namespaced: bool, faults: &mut Faults) {
    for rule in At::top(o, "rules").items() {
        if rule.get("verbs").is_empty() {
            faults.push(rule.get("verbs").missing("verbs must contain at least one value"));
        }
        let urls = rule.get("nonResourceURLs");
        let of_resources =
            ["apiGroups", "resources", "resourceNames"].iter().any(|key| !rule.get(key).is_empty());
        if !urls.is_empty() {
            if namespaced {
                faults.push(urls.invalid("namespaced rules cannot apply to non-resource URLs"));
            }
            if of_resources {
                faults
                    .push(urls.invalid("rules cannot apply to both regular resources and non-resource URLs"));
            }
            continue;
        }
        for (key, what) in [("apiGroups", "api group"), ("resources", "resource")] {
            if rule.get(key).is_empty() {
                let why = format!("resource rules must supply at least one {what}");
                faults.push(rule.get(key).missing(why));
            }
        }
    }
}

/// Role.
pub(crate) fn validate_role(o: &Object) -> Faults {
    let mut faults = Vec::new();
    rules(o, true, &mut faults);
    faults
}

/// ClusterRole.
pub(crate) fn validate_cluster_role(o: &Object) -> Faults {
    let mut faults = Vec::new();
    rules(o, false, &mut faults);
    let aggregation = At::top(o, "aggregationRule");
    let selectors = aggregation.get("clusterRoleSelectors");
    if aggregation.is_set() && selectors.is_empty() {
        faults.push(
            selectors.missing("at least one clusterRoleSelector required if aggregationRule is non-nil"),
        );
    }
    selectors.items().for_each(|s| drop(s.selector(&mut faults)));
    faults
}

fn binding(o: &Object, kinds: &[&str], namespaced: bool) -> Faults {
    let mut faults = Vec::new();
    let role = At::top(o, "roleRef");
    role.get("apiGroup").known(&[GROUP], &mut faults);
    role.get("kind").known(kinds, &mut faults);
    role.get("name").required_rule(names::path_segment, &mut faults);
    At::top(o, "subjects").items().for_each(|s| subject(&s, namespaced, &mut faults));
    faults
}

fn subject(subject: &At<'_>, namespaced: bool, faults: &mut Faults) {
    let (name, group, namespace) = (subject.get("name"), subject.get("apiGroup"), subject.get("namespace"));
    name.required(faults);
    match subject.get("kind").str() {
        "ServiceAccount" => {
            name.optional_rule(names::dns1123_subdomain, faults);
            if !group.is_empty() {
                faults.push(FieldError::not_supported(&group.path(), group.str(), &[""]));
            }
            if !namespaced && namespace.is_empty() {
                faults.push(namespace.missing(""));
            }
        }
        "User" | "Group" => group.known(&[GROUP], faults),
        _ => subject.get("kind").known(&["ServiceAccount", "User", "Group"], faults),
    }
}

/// RoleBinding.
pub(crate) fn validate_role_binding(o: &Object) -> Faults {
    binding(o, &["Role", "ClusterRole"], true)
}

/// ClusterRoleBinding.
pub(crate) fn validate_cluster_role_binding(o: &Object) -> Faults {
    binding(o, &["ClusterRole"], false)
}

/// A change of either: the role stays.
pub(crate) fn validate_binding_update(new: &Object, old: &Object) -> Faults {
    let role = At::top(new, "roleRef");
    if Some(role.value()) == old.body.get("roleRef") {
        Vec::new()
    } else {
        let text = |key| role.get(key).str();
        let shown =
            serde_json::json!({"APIGroup": text("apiGroup"), "Kind": text("kind"), "Name": text("name")});
        vec![FieldError::invalid(&role.path(), shown, "cannot change roleRef")]
    }
}

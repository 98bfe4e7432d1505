//! `rolebindings` (rbac.authorization.k8s.io/v1).

use crate::fill::{set_zero, text};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy, Update, WHOLE};
use crate::table::{age, items, name};
use crate::validate::rbac::{validate_binding_update, validate_role_binding};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Map, Value};

/// The group of all RBAC kinds.
pub(super) const GROUP: &str = "rbac.authorization.k8s.io";
/// The table of both kinds of bindings.
pub(super) const COLUMNS: &[&str] = &["Name", "Role", "Age", "Users*", "Groups*", "ServiceAccounts*"];

pub(super) fn kind() -> Kind {
    Kind::namespaced(GROUP, "v1", "RoleBinding", "rolebindings").table(COLUMNS, row).strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default,
    validate: validate_role_binding,
    update: Update { validate: validate_binding_update, ..WHOLE },
    validate_name: crate::names::path_segment,
    create_on_update: true,
    ..PLAIN
};

/// Users, groups and roles are RBAC's own kinds where nothing else is said.
pub(super) fn default(o: &mut Object) {
    let role = o.body.entry("roleRef").or_insert_with(|| Value::Object(Map::new()));
    set_zero(role, "apiGroup", GROUP);
    let Some(Value::Array(subjects)) = o.body.get_mut("subjects") else { return };
    for subject in subjects.iter_mut().filter(|s| matches!(text(s, "kind"), "User" | "Group")) {
        set_zero(subject, "apiGroup", GROUP);
    }
}

/// A row of either kind of bindings.
pub(super) fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let subjects = |kind: &str| {
        let show = |s: &Value| match (kind, text(s, "namespace")) {
            ("ServiceAccount", namespace) if !namespace.is_empty() => {
                format!("{namespace}/{}", text(s, "name"))
            }
            _ => text(s, "name").to_owned(),
        };
        let of_kind = items(o, &["subjects"]).iter().filter(|s| text(s, "kind") == kind);
        Value::from(of_kind.map(show).collect::<Vec<_>>().join(", "))
    };
    let role = format!("{}/{}", o.str(&["roleRef", "kind"]), o.str(&["roleRef", "name"]));
    vec![name(o), role.into(), age(o, now), subjects("User"), subjects("Group"), subjects("ServiceAccount")]
}

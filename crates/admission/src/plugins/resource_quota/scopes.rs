//! Which objects a quota is about (`spec.scopes`, `spec.scopeSelector`).

use super::usage::{Evaluator, Kind, crosses_namespaces, is_best_effort, is_terminating};
use crate::json::{at, items, spec, strings, text};
use meta::Object;
use serde_json::Value;
use std::collections::BTreeSet;

/// One requirement on the scope of an object.
struct Requirement<'a> {
    scope: &'a str,
    operator: &'a str,
    values: Vec<&'a str>,
}

impl Requirement<'_> {
    /// Whether one of the names satisfies it (for scopes that name a class).
    fn accepts(&self, names: &BTreeSet<&str>) -> bool {
        let any = names.iter().any(|n| self.values.contains(n));
        match self.operator {
            "Exists" => !names.is_empty(),
            "DoesNotExist" => names.is_empty(),
            "In" => any,
            "NotIn" => !any,
            _ => false,
        }
    }
}

/// Whether the object is in all scopes of the quota; a quota without scopes is about everything.
pub(super) fn matches(quota: &Object, evaluator: &Evaluator, object: &Object) -> bool {
    let plain = strings(spec(quota), &["scopes"]);
    let plain = plain.map(|scope| Requirement { scope, operator: "Exists", values: Vec::new() });
    let selected = items(spec(quota), &["scopeSelector", "matchExpressions"]).iter().map(|e| Requirement {
        scope: text(e, &["scopeName"]),
        operator: text(e, &["operator"]),
        values: strings(e, &["values"]).collect(),
    });
    plain.chain(selected).all(|requirement| in_scope(&requirement, evaluator.kind, object))
}

fn in_scope(requirement: &Requirement<'_>, kind: Kind, object: &Object) -> bool {
    let named = |values: [&'_ Value; 3]| -> BTreeSet<String> {
        values.iter().filter_map(|v| v.as_str()).filter(|s| !s.is_empty()).map(str::to_owned).collect()
    };
    let accepts = |names: BTreeSet<String>| requirement.accepts(&names.iter().map(String::as_str).collect());
    match (kind, requirement.scope) {
        (Kind::Pod, "Terminating") => is_terminating(object),
        (Kind::Pod, "NotTerminating") => !is_terminating(object),
        (Kind::Pod, "BestEffort") => is_best_effort(object),
        (Kind::Pod, "NotBestEffort") => !is_best_effort(object),
        (Kind::Pod, "CrossNamespacePodAffinity") => crosses_namespaces(object),
        (Kind::Pod, "PriorityClass") => {
            accepts(named([at(spec(object), &["priorityClassName"]), &Value::Null, &Value::Null]))
        }
        (Kind::Claim, "VolumeAttributesClass") => {
            let status = object.body.get("status").unwrap_or(&Value::Null);
            accepts(named([
                at(spec(object), &["volumeAttributesClassName"]),
                at(status, &["currentVolumeAttributesClassName"]),
                at(status, &["modifyVolumeStatus", "targetVolumeAttributesClassName"]),
            ]))
        }
        _ => false,
    }
}

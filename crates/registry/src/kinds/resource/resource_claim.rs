//! `resourceclaims` (resource.k8s.io/v1).

use crate::fill::{at, each, part, set_zero, text};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy, Update, WHOLE};
use crate::table::{age, count, name};
use jiff::Timestamp;
use meta::{FieldError, FieldPath, Object};
use serde_json::{Value, json};

pub(super) fn kind() -> Kind {
    Kind::namespaced("resource.k8s.io", "v1", "ResourceClaim", "resourceclaims")
        .status(json!({}))
        .table(&["Name", "State", "Age"], row)
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default: |o| claim_spec(part(o, "spec")),
    update: Update { validate: immutable_spec, ..WHOLE },
    ..PLAIN
};

/// Defaults of a claim's spec, in a claim and in a template of claims.
pub(super) fn claim_spec(spec: &mut Value) {
    let Some(devices) = at(spec, &["devices"]) else { return };
    for request in each(devices, "requests") {
        at(request, &["exactly"]).into_iter().for_each(exact_count);
        each(request, "firstAvailable").for_each(exact_count);
    }
}

fn exact_count(request: &mut Value) {
    set_zero(request, "allocationMode", "ExactCount");
    if text(request, "allocationMode") == "ExactCount" {
        set_zero(request, "count", 1);
    }
}

/// A claim's spec is for good.
pub(super) fn immutable_spec(new: &Object, old: &Object) -> Vec<FieldError> {
    crate::validate::immutable(new, old, &["spec"], &FieldPath::new("spec"))
}

fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let allocated = o.get(&["status", "allocation"]).is_some_and(Value::is_object);
    let mut states = Vec::new();
    if o.metadata.is_deleting() {
        states.push("deleted");
    }
    if allocated {
        states.push("allocated");
        if count(o, &["status", "reservedFor"]) > 0 {
            states.push("reserved");
        }
    } else if states.is_empty() {
        states.push("pending");
    }
    vec![name(o), states.join(",").into(), age(o, now)]
}

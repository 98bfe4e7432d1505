//! Updates of parts of a pod (`pkg/registry/core/pod/strategy.go`).

use crate::fill::{each, make};
use crate::strategy::{Context, STATUS_PART, Update, keep_all_but_status};
use crate::validate::pod as validate;
use meta::Object;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// `pods/status`: owners stay, and so do the class of service and observed generations that a client leaves out.
pub(crate) static STATUS: Update =
    Update { prepare: prepare_status, validate: validate::validate_pod_status_update, ..STATUS_PART };

/// `pods/ephemeralcontainers`: of the spec only that list counts.
pub(crate) static EPHEMERAL_CONTAINERS: Update = Update {
    prepare: prepare_ephemeral,
    validate: validate::validate_ephemeral_update,
    counts_generation: true,
};

/// `pods/resize`: of the spec only the containers' resources count.
pub(crate) static RESIZE: Update =
    Update { prepare: prepare_resize, validate: validate::validate_resize, counts_generation: true };

fn prepare_status(new: &mut Object, old: &Object, context: &Context) {
    keep_all_but_status(new, old, context);
    new.metadata.owner_references.clone_from(&old.metadata.owner_references);
    new.metadata.deletion_timestamp = old.metadata.deletion_timestamp;
    if new.str(&["status", "qosClass"]).is_empty() && !old.str(&["status", "qosClass"]).is_empty() {
        new.set(&["status", "qosClass"], old.str(&["status", "qosClass"]).into());
    }
    if let (None, Some(seen)) =
        (new.get(&["status", "observedGeneration"]), old.get(&["status", "observedGeneration"]))
    {
        let seen = seen.clone();
        new.set(&["status", "observedGeneration"], seen);
    }
    keep_condition_generations(new, old);
}

fn keep_condition_generations(new: &mut Object, old: &Object) {
    let before = crate::table::items(old, &["status", "conditions"]);
    let Some(status) = new.body.get_mut("status") else { return };
    for condition in each(status, "conditions") {
        let same = before.iter().find(|c| c["type"] == condition["type"]);
        if let Some(generation) = same.and_then(|c| c.get("observedGeneration")).cloned() {
            crate::fill::set_zero(condition, "observedGeneration", generation);
        }
    }
}

/// The old pod with one field of the new one's spec; metadata is the old one's but for what every write carries.
fn old_but(new: &mut Object, old: &Object, take: impl FnOnce(&mut Value, &Value)) {
    let wanted = new.body.get("spec").cloned().unwrap_or_default();
    new.body = old.body.clone();
    take(new.body.entry("spec").or_insert(Value::Null), &wanted);
}

fn prepare_ephemeral(new: &mut Object, old: &Object, _: &Context) {
    old_but(new, old, |spec, wanted| match wanted.get("ephemeralContainers") {
        Some(list) => spec["ephemeralContainers"] = list.clone(),
        None => drop(spec.as_object_mut().map(|s| s.remove("ephemeralContainers"))),
    });
}

fn prepare_resize(new: &mut Object, old: &Object, _: &Context) {
    old_but(new, old, |spec, wanted| {
        for list in ["containers", "initContainers"] {
            let wanted = wanted.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
            for container in each(spec, list) {
                let Some(same) = wanted.iter().find(|c| c["name"] == container["name"]) else { continue };
                for key in ["resources", "resizePolicy"] {
                    if let Some(value) = same.get(key) {
                        container[key] = value.clone();
                    }
                }
            }
        }
    });
}

/// Puts the values of `matchLabelKeys` (and `mismatchLabelKeys`) into the selectors beside them, so that the scheduler
/// reads selectors only (KEP-3633, KEP-3243).
pub(crate) fn apply_match_label_keys(spec: &mut Value, labels: &BTreeMap<String, String>) {
    for constraint in each(spec, "topologySpreadConstraints") {
        extend_selector(constraint, "matchLabelKeys", "In", labels);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(affinity) = spec.pointer_mut(&format!("/affinity/{kind}")) else { continue };
        for term in each(affinity, "requiredDuringSchedulingIgnoredDuringExecution") {
            extend_selector(term, "matchLabelKeys", "In", labels);
            extend_selector(term, "mismatchLabelKeys", "NotIn", labels);
        }
        for weighted in each(affinity, "preferredDuringSchedulingIgnoredDuringExecution") {
            let Some(term) = weighted.get_mut("podAffinityTerm") else { continue };
            extend_selector(term, "matchLabelKeys", "In", labels);
            extend_selector(term, "mismatchLabelKeys", "NotIn", labels);
        }
    }
}

fn extend_selector(term: &mut Value, keys: &str, operator: &str, labels: &BTreeMap<String, String>) {
    let keys = term.get(keys).and_then(Value::as_array).cloned().unwrap_or_default();
    if !term["labelSelector"].is_object() {
        return;
    }
    for key in keys.iter().filter_map(Value::as_str) {
        let Some(value) = labels.get(key) else { continue };
        let wanted = json!({"key": key, "operator": operator, "values": [value]});
        let selector = make(term, "labelSelector");
        let have = selector.get("matchExpressions").and_then(Value::as_array).cloned().unwrap_or_default();
        if !have.contains(&wanted) {
            selector["matchExpressions"] = have.into_iter().chain([wanted]).collect();
        }
    }
}

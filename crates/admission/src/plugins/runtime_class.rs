//! RuntimeClass: what a pod's runtime costs and where it runs (`plugin/pkg/admission/runtimeclass`).

use crate::json::{at, items, list_mut, map_mut, resources, spec, text, to_value};
use crate::{Operation, Plugin, Request, View};
use meta::{Object, Status};
use serde_json::Value;
use std::sync::Arc;

pub(crate) struct RuntimeClass;

impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn handles(&self, r: &Request) -> bool {
        r.operation == Operation::Create && r.is("", "pods")
    }

    fn mutate(&self, r: &mut Request, view: &dyn View) -> Result<(), Status> {
        let Some(class) = class_of(r, view)? else { return Ok(()) };
        set_overhead(r, &class)?;
        set_scheduling(r, &class)
    }

    fn validate(&self, r: &mut Request, view: &dyn View) -> Result<(), Status> {
        let overhead = class_of(r, view)?.and_then(|class| overhead(&class));
        let Some(pod) = &r.object else { return Ok(()) };
        let given = at(spec(pod), &["overhead"]);
        match overhead {
            Some(overhead) if resources(given, &[]) != overhead => Err(r.forbidden(MISMATCH)),
            None if !given.is_null() => Err(r.forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
            )),
            _ => Ok(()),
        }
    }
}

const MISMATCH: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";

fn class_of(r: &Request, view: &dyn View) -> Result<Option<Arc<Object>>, Status> {
    let name = r.object.as_ref().and_then(|pod| at(spec(pod), &["runtimeClassName"]).as_str());
    let Some(name) = name else { return Ok(None) };
    match view.get("node.k8s.io", "runtimeclasses", "", name) {
        Some(class) => Ok(Some(class)),
        None => Err(r.forbidden(format!("pod rejected: RuntimeClass {name:?} not found"))),
    }
}

fn overhead(class: &Object) -> Option<crate::json::Resources> {
    let overhead = class.body.get("overhead").filter(|o| !o.is_null())?;
    Some(resources(overhead, &["podFixed"]))
}

fn set_overhead(r: &mut Request, class: &Object) -> Result<(), Status> {
    let (Some(overhead), Some(pod)) = (overhead(class), &r.object) else { return Ok(()) };
    let given = resources(spec(pod), &["overhead"]);
    if !given.is_empty() && given != overhead {
        return Err(r.forbidden(MISMATCH));
    }
    if let Some(pod) = &mut r.object {
        pod.set(&["spec", "overhead"], to_value(&overhead));
    }
    Ok(())
}

fn set_scheduling(r: &mut Request, class: &Object) -> Result<(), Status> {
    let Some(scheduling) = class.body.get("scheduling").filter(|s| !s.is_null()) else { return Ok(()) };
    let Some(pod) = &r.object else { return Ok(()) };
    let wanted = at(scheduling, &["nodeSelector"]).as_object().cloned().unwrap_or_default();
    for (key, value) in &wanted {
        let given = at(spec(pod), &["nodeSelector", key]);
        if !given.is_null() && given != value {
            let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
            return Err(r.forbidden(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                text(value),
                text(given)
            )));
        }
    }
    let Some(spec) = r.object.as_mut().and_then(|o| o.body.get_mut("spec")) else { return Ok(()) };
    if !wanted.is_empty()
        && let Some(selector) = map_mut(spec, "nodeSelector")
    {
        selector.extend(wanted);
    }
    let added = items(scheduling, &["tolerations"]);
    if !added.is_empty()
        && let Some(tolerations) = list_mut(spec, "tolerations")
    {
        merge_tolerations(tolerations, added);
    }
    Ok(())
}

/// Adds those that no other one covers; of two equal ones the first stays (`pkg/util/tolerations`).
fn merge_tolerations(tolerations: &mut Vec<Value>, added: &[Value]) {
    let mut all: Vec<Value> = std::mem::take(tolerations);
    all.extend(added.iter().cloned());
    for (i, one) in all.iter().enumerate() {
        let before = tolerations.iter().any(|kept| is_superset(kept, one));
        let after = all[i + 1..].iter().any(|later| later != one && is_superset(later, one));
        if !before && !after {
            tolerations.push(one.clone());
        }
    }
}

/// Whether `a` tolerates everything that `b` does.
fn is_superset(a: &Value, b: &Value) -> bool {
    let same = |key: &str| text(a, &[key]) == text(b, &[key]);
    let seconds = |v: &Value| at(v, &["tolerationSeconds"]).as_i64();
    let exists = text(a, &["operator"]) == "Exists";
    let key = same("key") || (text(a, &["key"]).is_empty() && exists);
    let effect = same("effect") || text(a, &["effect"]).is_empty();
    let long_enough = match (text(a, &["effect"]), seconds(a)) {
        ("NoExecute", Some(a)) => seconds(b).is_some_and(|b| b <= a),
        _ => true,
    };
    let value = exists || (text(b, &["operator"]) == "Equal" && same("value"));
    a == b || (key && effect && long_enough && value)
}

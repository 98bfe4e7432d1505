//! What may change in a pod (`pkg/apis/core/validation/validation.go`: `ValidatePodUpdate` and its kin).

use super::at::{At, Faults};
use super::tolerations;
use meta::{FieldError, FieldPath, Object};
use serde_json::Value;

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
     `spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be \
     set to 1 if it was previously negative)";

/// Most differences that a message lists.
const DIFFERENCES_MAX: usize = 16;

/// An update of the whole pod.
pub(super) fn update(new: &Object, old: &Object, faults: &mut Faults) {
    let (spec, before) = (At::top(new, "spec"), At::top(old, "spec"));
    for list in ["containers", "initContainers"] {
        if spec.get(list).len() != before.get(list).len() {
            faults.push(spec.get(list).forbidden("pod updates may not add or remove containers"));
            return;
        }
    }
    if !deadline(&spec, &before, faults) {
        return;
    }
    added_tolerations(&spec.get("tolerations"), &before.get("tolerations"), faults);
    removed_gates(&spec.get("schedulingGates"), &before.get("schedulingGates"), faults);
    if !before.get("schedulingGates").is_empty() {
        narrowed_selector(&spec.get("nodeSelector"), &before.get("nodeSelector"), faults);
    }
    let allowed = with_updatable_fields_of(spec.value(), before.value());
    let mut differences = Vec::new();
    differ(before.value(), &allowed, "", &mut differences);
    if !differences.is_empty() {
        differences.truncate(DIFFERENCES_MAX);
        let why =
            format!("pod updates may not change fields other than {UPDATABLE}\n{}", differences.join("\n"));
        faults.push(spec.forbidden(why));
    }
}

/// False where there is no point in looking further.
fn deadline(spec: &At<'_>, before: &At<'_>, faults: &mut Faults) -> bool {
    let (at, old) = (spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds").int());
    let Some(n) = at.int() else {
        if old.is_some() {
            faults.push(at.invalid("must not update from a positive integer to nil value"));
        }
        return true;
    };
    let found = faults.len();
    at.within(0, i64::from(i32::MAX), faults);
    if faults.len() == found && old.is_some_and(|old| old < n) {
        faults.push(at.invalid("must be less than or equal to previous value"));
    }
    faults.len() == found
}

fn added_tolerations(new: &At<'_>, old: &At<'_>, faults: &mut Faults) {
    let without_seconds = |t: &At<'_>| {
        let mut value = t.value().clone();
        value.as_object_mut().map(|v| v.remove("tolerationSeconds"));
        value
    };
    let all: Vec<Value> = new.items().map(|t| without_seconds(&t)).collect();
    if old.items().any(|t| !all.contains(&without_seconds(&t))) {
        faults.push(new.forbidden("existing toleration can not be modified except its tolerationSeconds"));
        return;
    }
    if new.value() != old.value() {
        tolerations::tolerations(new, faults);
    }
}

fn removed_gates(new: &At<'_>, old: &At<'_>, faults: &mut Faults) {
    let before: Vec<&str> = old.items().map(|g| g.get("name").str()).collect();
    for name in new.items().map(|g| g.get("name")).filter(|n| !before.contains(&n.str())) {
        let why = format!("only deletion is allowed, but found new scheduling gate '{}'", name.str());
        faults.push(name.forbidden(why));
    }
}

/// While a pod waits behind a gate, its node selector may grow (KEP-3838).
fn narrowed_selector(new: &At<'_>, old: &At<'_>, faults: &mut Faults) {
    let kept =
        |(key, value): (&str, At<'_>)| new.entries().any(|(k, v)| k == key && v.value() == value.value());
    if !old.entries().all(kept) {
        faults
            .push(new.invalid("only additions to spec.nodeSelector are allowed (no mutations or deletions)"));
    }
}

/// The new spec with everything that may change put back.
fn with_updatable_fields_of(new: &Value, old: &Value) -> Value {
    let mut spec = new.clone();
    let copy = |to: &mut Value, from: &Value, key: &str| match (to, from.get(key)) {
        (Value::Object(to), Some(v)) => drop(to.insert(key.to_owned(), v.clone())),
        (Value::Object(to), None) => drop(to.remove(key)),
        _ => {}
    };
    for list in ["containers", "initContainers"] {
        let before = old.get(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for (container, before) in containers.into_iter().flatten().zip(before) {
            copy(container, before, "image");
        }
    }
    for key in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        copy(&mut spec, old, key);
    }
    let grace = "terminationGracePeriodSeconds";
    if old[grace].as_i64().is_some_and(|n| n < 0) && new[grace] == 1 {
        copy(&mut spec, old, grace);
    }
    if old["schedulingGates"].as_array().is_some_and(|g| !g.is_empty()) {
        // Before it is let go, a pod's place may be narrowed (KEP-3838).
        copy(&mut spec, old, "nodeSelector");
        let node = old.pointer("/affinity/nodeAffinity").cloned();
        match (spec.get_mut("affinity"), node) {
            (Some(Value::Object(affinity)), Some(node)) => drop(affinity.insert("nodeAffinity".into(), node)),
            (Some(Value::Object(affinity)), None) => drop(affinity.remove("nodeAffinity")),
            (_, Some(_)) => copy(&mut spec, old, "affinity"),
            _ => {}
        }
        if old.get("affinity").is_none()
            && spec["affinity"].as_object().is_some_and(serde_json::Map::is_empty)
        {
            spec.as_object_mut().map(|s| s.remove("affinity"));
        }
    }
    spec
}

/// The lowest places where two values differ, as `path: old -> new`.
fn differ(old: &Value, new: &Value, path: &str, out: &mut Vec<String>) {
    match (old, new) {
        (a, b) if a == b || out.len() > DIFFERENCES_MAX => {}
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let at = |m: &serde_json::Map<String, Value>| m.get(key).cloned().unwrap_or_default();
                differ(&at(a), &at(b), &format!("{path}.{key}"), out);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                differ(a, b, &format!("{path}[{i}]"), out);
            }
        }
        (a, b) => out.push(format!("  {}: {a} -> {b}", path.trim_start_matches('.'))),
    }
}

/// `pods/status`.
pub(super) fn status(new: &Object, old: &Object, faults: &mut Faults) {
    let status = At::top(new, "status");
    for condition in status.get("conditions").items() {
        condition.get("observedGeneration").non_negative(faults);
    }
    let nominated = status.get("nominatedNodeName");
    if nominated.str() != old.str(&["status", "nominatedNodeName"]) {
        nominated.optional_rule(meta::names::dns1123_subdomain, faults);
    }
    faults.extend(super::immutable(new, old, &["status", "qosClass"], &FieldPath::new("status.qosClass")));
    for list in ["containerStatuses", "initContainerStatuses"] {
        state_transitions(new, old, list, faults);
    }
    for list in [status.get("podIPs"), status.get("hostIPs")] {
        for item in list.items() {
            let text = item.get("ip").str();
            let rule = meta::names::legacy_ip(text).into_iter();
            faults.extend(rule.map(|why| FieldError::invalid(&item.path(), text, why)));
        }
    }
}

/// Whether a container that ended with `code` is to run again (`podutil.ContainerShouldRestart`).
fn may_restart(container: &Value, of_pod: &str, code: i64) -> bool {
    let own = container["restartPolicy"].as_str();
    if own.is_some() {
        let rules = container["restartPolicyRules"].as_array().into_iter().flatten();
        let matching = rules.into_iter().find(|rule| {
            let listed = rule["exitCodes"]["values"].as_array().is_some_and(|v| v.contains(&code.into()));
            match rule["exitCodes"]["operator"].as_str() {
                Some("In") => listed,
                Some("NotIn") => !listed,
                _ => false,
            }
        });
        if let Some(rule) = matching {
            return matches!(rule["action"].as_str(), Some("Restart" | "RestartAllContainers"));
        }
    }
    match own.unwrap_or(of_pod) {
        "Never" => false,
        "OnFailure" => code != 0,
        _ => true,
    }
}

/// Whether a container's end may start the whole pod over (`podutil.AllContainersCouldRestart`).
fn all_may_restart(pod: &Object) -> bool {
    let lists = ["initContainers", "containers"];
    let all = lists.iter().flat_map(|list| crate::table::items(pod, &["spec", list]));
    let rules = all.flat_map(|c| c["restartPolicyRules"].as_array().into_iter().flatten());
    rules.into_iter().any(|rule| rule["action"] == "RestartAllContainers")
}

/// A container that has ended for good stays ended (`ValidateContainerStateTransition`).
fn state_transitions(new: &Object, old: &Object, list: &'static str, faults: &mut Faults) {
    if all_may_restart(old) {
        return;
    }
    let of_pod = old.str(&["spec", "restartPolicy"]);
    let containers = if list == "containerStatuses" { "containers" } else { "initContainers" };
    let restarts = |name: &str, code: i64| {
        let found = crate::table::items(old, &["spec", containers]).iter().find(|c| c["name"] == name);
        found.is_some_and(|c| may_restart(c, of_pod, code))
    };
    let after = At::top(new, "status").get(list);
    for (i, status) in At::top(old, "status").get(list).items().enumerate() {
        let ended = status.get("state").get("terminated");
        let code = ended.get("exitCode").int().unwrap_or(0);
        if !ended.is_set() || restarts(status.get("name").str(), code) {
            continue;
        }
        let same = after.items().find(|s| s.get("name").str() == status.get("name").str());
        if same.is_some_and(|s| !s.get("state").get("terminated").is_set()) {
            let path = after.path().index(i).child("state");
            faults.push(FieldError::forbidden(&path, "may not be transitioned to non-terminated state"));
        }
    }
}

/// `pods/ephemeralcontainers`: may be added, and never changed or removed.
pub(super) fn ephemeral(new: &Object, old: &Object, faults: &mut Faults) {
    if old.metadata.annotations.contains_key("kubernetes.io/config.mirror") {
        faults.push(FieldError::forbidden(
            &FieldPath::default(),
            "static pods do not support ephemeral containers",
        ));
        return;
    }
    let list = At::top(new, "spec").get("ephemeralContainers");
    for before in At::top(old, "spec").get("ephemeralContainers").items() {
        let name = before.get("name").str();
        match list.items().find(|c| c.get("name").str() == name) {
            None => {
                let why = format!("existing ephemeral containers {name:?} may not be removed\n");
                faults.push(list.forbidden(why));
            }
            Some(c) if c.value() != before.value() => {
                let mut differences = Vec::new();
                differ(before.value(), c.value(), "", &mut differences);
                let why = format!(
                    "existing ephemeral containers {name:?} may not be changed\n{}",
                    differences.join("\n")
                );
                faults.push(list.forbidden(why));
            }
            Some(_) => {}
        }
    }
}

/// `pods/resize`: the class of service stays, and so do resources other than CPU and memory.
pub(super) fn resize(new: &Object, old: &Object, faults: &mut Faults) {
    let (spec, before) = (At::top(new, "spec"), At::top(old, "spec"));
    let path = FieldPath::new("spec");
    if old.metadata.annotations.contains_key("kubernetes.io/config.mirror") {
        faults.push(FieldError::forbidden(&FieldPath::default(), "static pods cannot be resized"));
    }
    if crate::pod::resources::qos_class(spec.value()) != crate::pod::resources::qos_class(before.value()) {
        let why = "Pod QOS Class may not change as a result of resizing";
        faults.push(FieldError::invalid(&path, old.str(&["status", "qosClass"]), why));
    }
    for list in ["containers", "initContainers"] {
        for (now, was) in spec.get(list).items().zip(before.get(list).items()) {
            for kind in ["limits", "requests"] {
                no_removal(&now.get("resources").get(kind), &was.get("resources").get(kind), kind, faults);
                let others = |at: &At<'_>| -> Vec<String> {
                    let all = at.get("resources").get(kind).entries();
                    all.filter(|(n, _)| !matches!(*n, "cpu" | "memory"))
                        .map(|(n, v)| format!("{n}={}", v.value()))
                        .collect()
                };
                if others(&now) != others(&was) {
                    faults.push(FieldError::forbidden(&path, "only cpu and memory resources are mutable"));
                    return;
                }
            }
        }
    }
}

/// What was asked for, or limited, stays so: its amount may change only.
fn no_removal(now: &At<'_>, was: &At<'_>, kind: &str, faults: &mut Faults) {
    let kept = |name: &str| now.entries().any(|(n, _)| n == name);
    if was.entries().any(|(name, _)| matches!(name, "cpu" | "memory") && !kept(name)) {
        faults.push(now.forbidden(format!("resource {kind} cannot be removed")));
    }
}

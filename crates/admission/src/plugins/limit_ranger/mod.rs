//! LimitRanger: what containers, pods and claims must and may ask for (`plugin/pkg/admission/limitranger`).

mod constraints;

use crate::json::{Resources, at, items, map_mut, pod_resources, resources, spec, text};
use crate::{Operation, Plugin, Request, View};
use constraints::Asked;
use meta::{Object, Status};
use serde_json::Value;
use std::sync::Arc;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

pub(crate) struct LimitRanger;

impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn handles(&self, r: &Request) -> bool {
        let pod = match r.operation {
            Operation::Create => r.is("", "pods"),
            Operation::Update => r.is_any("", "pods") && r.subresource == "resize",
            _ => false,
        };
        let claim = matches!(r.operation, Operation::Create | Operation::Update);
        let deleting = r.old.as_ref().is_some_and(|o| o.metadata.is_deleting());
        (pod || (claim && r.is("", "persistentvolumeclaims"))) && !deleting
    }

    fn mutate(&self, r: &mut Request, view: &dyn View) -> Result<(), Status> {
        if r.is_any("", "pods") {
            for range in ranges(r, view) {
                if let Some(pod) = &mut r.object {
                    set_defaults(pod, &range);
                }
            }
        }
        Ok(())
    }

    fn validate(&self, r: &mut Request, view: &dyn View) -> Result<(), Status> {
        let Some(object) = &r.object else { return Ok(()) };
        for range in ranges(r, view) {
            let mut faults = Vec::new();
            for limit in items(spec(&range), &["limits"]) {
                match r.resource.resource.as_str() {
                    "pods" => check_pod(limit, spec(object), &mut faults),
                    _ => check_claim(limit, spec(object), &mut faults),
                }
            }
            // As upstream's aggregate shows them: each once, several in brackets.
            let mut seen = Vec::new();
            faults.retain(|f| !seen.contains(f) && (seen.push(f.clone()), true).1);
            match faults.as_slice() {
                [] => {}
                [one] => return Err(r.forbidden(one)),
                many => return Err(r.forbidden(format!("[{}]", many.join(", ")))),
            }
        }
        Ok(())
    }
}

fn ranges(r: &Request, view: &dyn View) -> Vec<Arc<Object>> {
    view.list("", "limitranges", &r.namespace)
}

/// Fills in requests and limits that containers leave open, and notes on the pod what was done.
fn set_defaults(pod: &mut Object, range: &Object) {
    let (mut requests, mut limits) = (serde_json::Map::new(), serde_json::Map::new());
    for limit in items(spec(range), &["limits"]).iter().filter(|l| text(l, &["type"]) == "Container") {
        let of = |key| at(limit, &[key]).as_object().cloned().unwrap_or_default();
        requests.extend(of("defaultRequest"));
        limits.extend(of("default"));
    }
    let mut notes = Vec::new();
    for (which, word) in [("containers", "container"), ("initContainers", "init container")] {
        let list = pod.body.get_mut("spec").and_then(|s| s.get_mut(which)).and_then(Value::as_array_mut);
        for container in list.into_iter().flatten() {
            let name = text(container, &["name"]).to_owned();
            for (kind, note, defaults) in [("requests", "request", &requests), ("limits", "limit", &limits)] {
                let set = merge(container, kind, defaults);
                if !set.is_empty() {
                    notes.push(format!("{} {note} for {word} {name}", set.join(", ")));
                }
            }
        }
    }
    if !notes.is_empty() {
        let note = format!("LimitRanger plugin set: {}", notes.join("; "));
        pod.metadata.annotations.insert(ANNOTATION.to_owned(), note);
    }
}

/// Sets the resources that the container doesn't have; their names, sorted.
fn merge(container: &mut Value, kind: &str, defaults: &serde_json::Map<String, Value>) -> Vec<String> {
    let missing = |name: &&String| at(container, &["resources", kind, name]).is_null();
    let mut names: Vec<String> = defaults.keys().filter(missing).cloned().collect();
    names.sort();
    if names.is_empty() || map_mut(container, "resources").is_none() {
        return Vec::new();
    }
    if let Some(resources) = container.get_mut("resources").and_then(|r| map_mut(r, kind)) {
        for name in &names {
            resources.insert(name.clone(), defaults.get(name).cloned().unwrap_or_default());
        }
    }
    names
}

fn check_pod(limit: &Value, spec: &Value, faults: &mut Vec<String>) {
    match text(limit, &["type"]) {
        "Container" => {
            for which in ["containers", "initContainers"] {
                for container in items(spec, &[which]) {
                    let of = |kind| resources(container, &["resources", kind]);
                    check_all(limit, "Container", of("requests"), of("limits"), faults);
                }
            }
        }
        "Pod" => {
            let (requests, limits) = (pod_resources(spec, "requests"), pod_resources(spec, "limits"));
            check_all(limit, "Pod", requests, limits, faults);
        }
        _ => {}
    }
}

fn check_all(limit: &Value, kind: &str, requests: Resources, limits: Resources, faults: &mut Vec<String>) {
    let asked = |name: &str| Asked { request: requests.get(name), limit: limits.get(name) };
    for (name, min) in resources(limit, &["min"]) {
        faults.extend(constraints::min(kind, &name, &min, asked(&name)));
    }
    for (name, max) in resources(limit, &["max"]) {
        faults.extend(constraints::max(kind, &name, &max, asked(&name)));
    }
    for (name, ratio) in resources(limit, &["maxLimitRequestRatio"]) {
        faults.extend(constraints::ratio(kind, &name, &ratio, asked(&name)));
    }
}

fn check_claim(limit: &Value, spec: &Value, faults: &mut Vec<String>) {
    let kind = "PersistentVolumeClaim";
    if text(limit, &["type"]) != kind {
        return;
    }
    let requests = resources(spec, &["resources", "requests"]);
    let asked = |name: &str| Asked { request: requests.get(name), limit: None };
    for (name, min) in resources(limit, &["min"]) {
        faults.extend(constraints::min(kind, &name, &min, asked(&name)));
    }
    for (name, max) in resources(limit, &["max"]) {
        faults.extend(constraints::max_request(kind, &name, &max, asked(&name)));
    }
}

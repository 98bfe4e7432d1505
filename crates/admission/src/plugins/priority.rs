//! Priority: `priorityClassName` becomes a number (`plugin/pkg/admission/priority`).

use crate::json::{at, spec, text};
use crate::{Operation, Plugin, Request, View};
use meta::{Object, Status};
use serde_json::Value;
use std::sync::Arc;

const GROUP: &str = "scheduling.k8s.io";

pub(crate) struct Priority;

impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn handles(&self, r: &Request) -> bool {
        matches!(r.operation, Operation::Create | Operation::Update)
            && (r.is("", "pods") || r.is(GROUP, "priorityclasses"))
    }

    fn mutate(&self, r: &mut Request, view: &dyn View) -> Result<(), Status> {
        match (r.is("", "pods"), r.operation) {
            (true, Operation::Create) => resolve(r, view),
            (true, _) => {
                keep(r);
                Ok(())
            }
            (false, _) => Ok(()),
        }
    }

    fn validate(&self, r: &mut Request, view: &dyn View) -> Result<(), Status> {
        let Some(class) = r.object.as_ref().filter(|_| r.is(GROUP, "priorityclasses")) else { return Ok(()) };
        if class.body.get("globalDefault") != Some(&Value::Bool(true)) {
            return Ok(());
        }
        match default_class(view) {
            Some(old) if r.operation == Operation::Create || old.metadata.name != class.metadata.name => {
                let name = &old.metadata.name;
                Err(r.forbidden(format!(
                    "PriorityClass {name} is already marked as default. Only one default can exist"
                )))
            }
            _ => Ok(()),
        }
    }
}

fn value(class: &Object) -> i64 {
    class.body.get("value").and_then(Value::as_i64).unwrap_or_default()
}

/// The default class; if a race made several, the lowest.
fn default_class(view: &dyn View) -> Option<Arc<Object>> {
    let classes = view.list(GROUP, "priorityclasses", "").into_iter();
    classes.filter(|c| c.body.get("globalDefault") == Some(&Value::Bool(true))).min_by_key(|c| value(c))
}

/// What an update leaves out stays as the creation set it.
fn keep(r: &mut Request) {
    let (Some(pod), Some(old)) = (&mut r.object, &r.old) else { return };
    for field in ["priority", "preemptionPolicy"] {
        let stored = at(spec(old), &[field]);
        if at(spec(pod), &[field]).is_null() && !stored.is_null() {
            pod.set(&["spec", field], stored.clone());
        }
    }
}

fn resolve(r: &mut Request, view: &dyn View) -> Result<(), Status> {
    let Some(pod) = &r.object else { return Ok(()) };
    let name = text(spec(pod), &["priorityClassName"]);
    let class = match name {
        "" => default_class(view),
        name => match view.get(GROUP, "priorityclasses", "", name) {
            Some(class) => Some(class),
            None => return Err(r.forbidden(format!("no PriorityClass with name {name} was found"))),
        },
    };
    let computed = class.as_ref().map_or(0, |c| value(c));
    let policy = match &class {
        Some(class) => class.body.get("preemptionPolicy").and_then(Value::as_str).map(str::to_owned),
        None => Some("PreemptLowerPriority".to_owned()),
    };
    if let Some(given) = at(spec(pod), &["priority"]).as_i64().filter(|given| *given != computed) {
        return Err(r.forbidden(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission \
             controller computed {computed} from the given PriorityClass name"
        )));
    }
    let given = text(spec(pod), &["preemptionPolicy"]);
    if let Some(policy) = policy.as_ref().filter(|policy| !given.is_empty() && given != policy.as_str()) {
        return Err(r.forbidden(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority \
             admission controller computed {policy} from the given PriorityClass name"
        )));
    }
    let Some(pod) = &mut r.object else { return Ok(()) };
    if let Some(class) = class {
        pod.set(&["spec", "priorityClassName"], class.metadata.name.as_str().into());
    }
    pod.set(&["spec", "priority"], computed.into());
    if let Some(policy) = policy {
        pod.set(&["spec", "preemptionPolicy"], policy.into());
    }
    Ok(())
}

//! What the kinds of `admissionregistration.k8s.io` share (`pkg/apis/admissionregistration/v1/defaults.go`, and the
//! printers of `pkg/printers/internalversion/printers.go`).

use crate::fill::{at, each, make, part, set};
use crate::table::{age, count, name, selector, text};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Map, Value};

fn rules(holder: &mut Value, key: &str) {
    each(holder, key).for_each(|r| set(r, "scope", "*"));
}

/// Defaults of each webhook of a configuration.
pub(crate) fn webhooks(o: &mut Object, mutating: bool) {
    let Some(Value::Array(hooks)) = o.body.get_mut("webhooks") else { return };
    for hook in hooks.iter_mut().filter(|h| h.is_object()) {
        set(hook, "failurePolicy", "Fail");
        set(hook, "timeoutSeconds", 10);
        if mutating {
            set(hook, "reinvocationPolicy", "Never");
        }
        at(hook, &["clientConfig", "service"]).into_iter().for_each(|s| set(s, "port", 443));
        matching(hook);
        rules(hook, "rules");
    }
}

/// What a webhook and a policy's constraints match by default: everything.
fn matching(holder: &mut Value) {
    set(holder, "matchPolicy", "Equivalent");
    set(holder, "namespaceSelector", Map::new());
    set(holder, "objectSelector", Map::new());
    rules(holder, "resourceRules");
    rules(holder, "excludeResourceRules");
}

/// Defaults of a policy.
pub(crate) fn policy(o: &mut Object) {
    let spec = part(o, "spec");
    set(spec, "failurePolicy", "Fail");
    at(spec, &["matchConstraints"]).into_iter().for_each(matching);
}

/// Defaults of a policy's binding.
pub(crate) fn binding(o: &mut Object) {
    if let Some(resources) = at(part(o, "spec"), &["matchResources"]) {
        matching(resources);
        make(resources, "objectSelector");
    }
}

/// The row of a webhook configuration.
pub(crate) fn configuration_row(o: &Object, now: Timestamp) -> Vec<Value> {
    vec![name(o), count(o, &["webhooks"]).into(), age(o, now)]
}

/// The row of a policy that counts what stands at `spec.<list>`.
pub(crate) fn policy_row(o: &Object, now: Timestamp, list: &str) -> Vec<Value> {
    let kind = match o.get(&["spec", "paramKind"]).filter(|k| k.is_object()) {
        Some(_) => {
            format!(
                "{}/{}",
                o.str(&["spec", "paramKind", "apiVersion"]),
                o.str(&["spec", "paramKind", "kind"])
            )
        }
        None => "<unset>".to_owned(),
    };
    vec![name(o), count(o, &["spec", list]).into(), kind.into(), age(o, now)]
}

/// The row of a policy's binding.
pub(crate) fn binding_row(o: &Object, now: Timestamp) -> Vec<Value> {
    let reference = |key| o.str(&["spec", "paramRef", key]);
    let param: Value = match (reference("name"), reference("namespace")) {
        ("", _) => match o.get(&["spec", "paramRef", "selector"]) {
            Some(s) => selector(Some(s)),
            None => "<unset>".into(),
        },
        (name, "") => format!("*/{name}").into(),
        (name, namespace) => format!("{namespace}/{name}").into(),
    };
    vec![name(o), text(o, &["spec", "policyName"]), param, age(o, now)]
}

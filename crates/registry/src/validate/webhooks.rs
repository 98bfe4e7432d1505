//! Webhook configurations (`pkg/apis/admissionregistration/validation/validation.go`).

use super::at::{At, Faults, Unique};
use meta::{FieldError, Object, names};

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
/// Longest wait for a webhook.
const TIMEOUT_SECONDS_MAX: i64 = 30;

/// A configuration of either kind.
pub(crate) fn validate_configuration(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let mut seen = Unique::default();
    for hook in At::top(o, "webhooks").items() {
        webhook(&hook, &mut faults);
        seen.check(&hook.get("name"), &mut faults);
    }
    faults
}

fn webhook(hook: &At<'_>, faults: &mut Faults) {
    let name = hook.get("name");
    if name.required(faults) {
        name.rule(names::dns1123_subdomain, faults);
        if name.str().split('.').count() < 3 {
            faults.push(name.invalid("should be a domain with at least three segments separated by dots"));
        }
    }
    hook.get("rules").items().for_each(|r| rule(&r, faults));
    hook.get("failurePolicy").optional_one_of(&["Fail", "Ignore"], faults);
    hook.get("matchPolicy").optional_one_of(&["Equivalent", "Exact"], faults);
    hook.get("reinvocationPolicy").optional_one_of(&["IfNeeded", "Never"], faults);
    let effects = hook.get("sideEffects");
    if effects.is_empty() {
        faults.push(effects.missing("must specify one of None, NoneOnDryRun"));
    } else {
        effects.known(&["None", "NoneOnDryRun"], faults);
    }
    let timeout = hook.get("timeoutSeconds");
    if timeout.int().is_some_and(|n| !(1..=TIMEOUT_SECONDS_MAX).contains(&n)) {
        faults.push(
            timeout.invalid(format!("the timeout value must be between 1 and {TIMEOUT_SECONDS_MAX} seconds")),
        );
    }
    hook.get("namespaceSelector").selector(faults);
    hook.get("objectSelector").selector(faults);
    let config = hook.get("clientConfig");
    let (url, service) = (config.get("url"), config.get("service"));
    if url.is_set() == service.is_set() {
        faults.push(config.missing("exactly one of url or service is required"));
    }
    if url.is_set() && !url.str().starts_with("https://") {
        let why = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
        faults.push(url.invalid(why));
    }
    if service.is_set() {
        let mut require = |key: &'static str, what: &str| {
            if service.get(key).is_empty() {
                faults.push(service.get(key).missing(format!("service {what} is required")));
            }
        };
        require("name", "name");
        require("namespace", "namespace");
        if service.get("port").is_set() {
            service.get("port").port(faults);
        }
    }
    let versions = hook.get("admissionReviewVersions");
    if versions.is_empty() {
        faults.push(versions.missing("must specify one of v1, v1beta1"));
    } else if !versions.items().any(|v| matches!(v.str(), "v1" | "v1beta1")) {
        faults.push(versions.invalid("must include at least one of v1, v1beta1"));
    }
}

fn rule(rule: &At<'_>, faults: &mut Faults) {
    for key in ["operations", "apiGroups", "apiVersions", "resources"] {
        let list = rule.get(key);
        if list.is_empty() {
            faults.push(list.missing(""));
        }
        if list.len() > 1 && key != "resources" && list.items().any(|i| i.str() == "*") {
            let why = match key {
                "operations" => "if '*' is present, must not specify other operations",
                "apiGroups" => "if '*' is present, must not specify other API groups",
                _ => "if '*' is present, must not specify other API versions",
            };
            faults.push(list.invalid(why));
        }
    }
    rule.get("operations").items().for_each(|op| op.known(&OPERATIONS, faults));
    for version in rule.get("apiVersions").items().filter(At::is_empty) {
        faults.push(FieldError::required(&version.path(), ""));
    }
    let resources = rule.get("resources");
    let mut seen = Unique::default();
    for resource in resources.items() {
        resource.required(faults);
        if seen.has(resource.str()) {
            faults.push(resource.duplicate());
        }
    }
    if resources.len() > 1 && resources.items().any(|r| r.str() == "*/*") {
        faults.push(resources.invalid("if '*/*' is present, must not specify other resources"));
    }
    rule.get("scope").optional_one_of(&["*", "Cluster", "Namespaced"], faults);
}

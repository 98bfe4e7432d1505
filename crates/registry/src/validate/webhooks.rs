//! Webhook configurations (`pkg/apis/admissionregistration/validation/validation.go`).

use super::admission_policy::match_conditions;
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
        let wrong = names::dns1123_subdomain(name.str());
        if !wrong.is_empty() {
            faults.push(name.invalid(wrong.join(",")));
        } else if name.str().split('.').count() < 3 {
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
    match (url.is_set(), service.is_set()) {
        (true, false) => address(&url, faults),
        (false, true) => service_reference(&service, faults),
        _ => faults.push(config.missing("exactly one of url or service is required")),
    }
    match_conditions(&hook.get("matchConditions"), faults);
    review_versions(&hook.get("admissionReviewVersions"), faults);
}

/// Which versions of the review a webhook understands.
fn review_versions(versions: &At<'_>, faults: &mut Faults) {
    if versions.is_empty() {
        return faults.push(versions.missing("must specify one of v1, v1beta1"));
    }
    let mut seen = Unique::default();
    for version in versions.items() {
        match seen.has(version.str()) {
            true => faults.push(version.invalid("duplicate version")),
            false => version.rule(names::dns1035_label, faults),
        }
    }
    if !versions.items().any(|v| matches!(v.str(), "v1" | "v1beta1")) {
        faults.push(versions.invalid("must include at least one of v1, v1beta1"));
    }
}

/// A webhook's URL (`apiserver/pkg/util/webhook/validation.go`).
pub(super) fn address(url: &At<'_>, faults: &mut Faults) {
    let form = "; desired format: https://host[/path]";
    let (scheme, rest) = url.str().split_once("://").unwrap_or(("", ""));
    let mut say = |what: &str, why: String| faults.push(FieldError::invalid(&url.path(), what, why));
    if scheme != "https" {
        say(scheme, format!("'https' is the only allowed URL scheme{form}"));
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let host = rest.split('/').next().unwrap_or_default();
    let (user, host) = host.rsplit_once('@').unwrap_or(("", host));
    if host.is_empty() {
        say("", format!("host must be specified{form}"));
    }
    for (what, why) in [
        (user, "user information is not permitted in the URL"),
        (fragment, "fragments are not permitted in the URL"),
        (query, "query parameters are not permitted in the URL"),
    ] {
        if !what.is_empty() {
            say(what, why.to_owned());
        }
    }
}

/// The service that a webhook is reached by.
pub(super) fn service_reference(service: &At<'_>, faults: &mut Faults) {
    // Upstream mixes up its two arguments here: a missing name is told of the namespace, and the other way round.
    for (key, told) in [("namespace", "name"), ("name", "namespace")] {
        if service.get(key).is_empty() {
            faults.push(service.get(told).missing(""));
        }
    }
    let port = service.get("port");
    let wrong = names::port_number(port.int().unwrap_or(0));
    if port.is_set() && !wrong.is_empty() {
        faults.push(port.invalid(format!("port is not valid: {}", wrong.join(", "))));
    }
    let path = service.get("path");
    let text = path.str();
    if matches!(text, "" | "/") {
        return;
    }
    if text == "//" {
        return faults.push(path.invalid("segment[0] may not be empty"));
    }
    if !text.starts_with('/') {
        faults.push(path.invalid("must start with a '/'"));
    }
    let steps: String = text.chars().skip(1).collect();
    for (i, step) in steps.strip_suffix('/').unwrap_or(&steps).split('/').enumerate() {
        if step.is_empty() {
            faults.push(path.invalid(format!("segment[{i}] may not be empty")));
            continue;
        }
        let wrong = names::dns1123_subdomain(step).into_iter();
        faults.extend(wrong.map(|why| path.invalid(format!("segment[{i}]: {why}"))));
    }
}

/// What a webhook or a policy is about.
pub(super) fn rule(rule: &At<'_>, faults: &mut Faults) {
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
    for resource in resources.items() {
        resource.required(faults);
    }
    if resources.len() > 1 && resources.items().any(|r| r.str() == "*/*") {
        faults.push(resources.invalid("if '*/*' is present, must not specify other resources"));
    }
    rule.get("scope").optional_one_of(&["*", "Cluster", "Namespaced"], faults);
}

//! Admission policies and their bindings (`pkg/apis/admissionregistration/validation/validation.go`). Expressions are
//! not compiled: nothing here evaluates them.

use super::at::{At, Faults, Unique};
use super::webhooks;
use meta::{FieldError, Object, names};

/// Most conditions of a webhook or policy.
const CONDITIONS_MAX: usize = 64;
/// Most audit annotations of a policy.
const AUDIT_ANNOTATIONS_MAX: usize = 20;
/// A text that must not be blank.
fn expression(at: &At<'_>, why: &str, faults: &mut Faults) {
    if at.str().trim().is_empty() {
        faults.push(at.missing(why));
    }
}

/// Conditions that a request must meet before it is looked at.
pub(super) fn match_conditions(list: &At<'_>, faults: &mut Faults) {
    if list.len() > CONDITIONS_MAX {
        faults.push(FieldError::too_many(&list.path(), list.len(), CONDITIONS_MAX));
    }
    let mut seen = Unique::default();
    for condition in list.items() {
        expression(&condition.get("expression"), "", faults);
        let name = condition.get("name");
        name.required_rule(names::qualified_name, faults);
        if !name.is_empty() {
            seen.check(&name, faults);
        }
    }
}

fn match_resources(at: &At<'_>, faults: &mut Faults) {
    at.get("matchPolicy").optional_one_of(&["Equivalent", "Exact"], faults);
    at.get("namespaceSelector").selector(faults);
    at.get("objectSelector").selector(faults);
    for rule in ["resourceRules", "excludeResourceRules"].iter().flat_map(|list| at.get(list).items()) {
        let mut seen = Unique::default();
        for name in rule.get("resourceNames").items() {
            name.rule(names::path_segment, faults);
            seen.check(&name, faults);
        }
        webhooks::rule(&rule, faults);
    }
}

fn param_kind(at: &At<'_>, faults: &mut Faults) {
    let (version, kind) = (at.get("apiVersion"), at.get("kind"));
    if version.required(faults) {
        let (group, short) = version.str().split_once('/').unwrap_or(("", version.str()));
        if short.contains('/') {
            faults.push(version.invalid(format!("unexpected GroupVersion string: {}", version.str())));
        } else {
            let mut check = |text: &str, wrong: Vec<String>| {
                if !wrong.is_empty() {
                    faults.push(FieldError::invalid(&version.path(), text, wrong.join(",")));
                }
            };
            if !group.is_empty() {
                check(group, names::dns1123_subdomain(group));
            }
            match short {
                "" => check(version.str(), vec!["version must be specified".to_owned()]),
                short => check(short, names::dns1035_label(short)),
            }
        }
    }
    if kind.required(faults) {
        let wrong = names::dns1035_label(&kind.str().to_lowercase());
        if !wrong.is_empty() {
            let why = "may have mixed case, but should otherwise match: ";
            faults.push(kind.invalid(format!("{why}{}", wrong.join(","))));
        }
    }
}

fn variables(list: &At<'_>, faults: &mut Faults) {
    for variable in list.items() {
        let name = variable.get("name");
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.str().trim().is_empty() {
            faults.push(name.missing("name is not specified"));
        } else if !name.str().chars().all(word)
            || name.str().starts_with(|c: char| c.is_ascii_digit())
            || schema::CEL_RESERVED.contains(&name.str())
        {
            faults.push(name.invalid("must be a valid CEL identifier"));
        }
        expression(&variable.get("expression"), "expression is not specified", faults);
    }
}

fn validation(at: &At<'_>, faults: &mut Faults) {
    expression(&at.get("expression"), "expression is not specified", faults);
    for key in ["messageExpression", "message"] {
        let text = at.get(key);
        if !text.is_empty() && text.str().trim().is_empty() {
            faults.push(text.invalid("must be non-empty if specified"));
        } else if key == "message" && text.str().trim().contains(['\n', '\r']) {
            faults.push(text.invalid("must not contain line breaks"));
        }
    }
    let reasons = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
    at.get("reason").optional_one_of(&reasons, faults);
}

fn audit_annotations(policy: &str, list: &At<'_>, faults: &mut Faults) {
    if list.len() > AUDIT_ANNOTATIONS_MAX {
        faults
            .push(list.invalid(format!("must not have more than {AUDIT_ANNOTATIONS_MAX} auditAnnotations")));
    }
    let mut seen = Unique::default();
    for annotation in list.items() {
        let key = annotation.get("key");
        if policy.is_empty() {
            faults.push(key.invalid("requires metadata.name be non-empty"));
        } else {
            let full = format!("{policy}/{}", key.str());
            let wrong = names::qualified_name(&full).into_iter();
            faults.extend(wrong.map(|why| FieldError::invalid(&key.path(), full.as_str(), why)));
        }
        expression(&annotation.get("valueExpression"), "valueExpression is not specified", faults);
        seen.check(&key, faults);
    }
}

/// ValidatingAdmissionPolicy.
pub(crate) fn validate_policy(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    spec.get("failurePolicy").optional_one_of(&["Fail", "Ignore"], &mut faults);
    if spec.get("paramKind").is_set() {
        param_kind(&spec.get("paramKind"), &mut faults);
    }
    let constraints = spec.get("matchConstraints");
    if constraints.is_set() {
        match_resources(&constraints, &mut faults);
        constraints.get("resourceRules").required(&mut faults);
    } else {
        faults.push(constraints.missing(""));
    }
    match_conditions(&spec.get("matchConditions"), &mut faults);
    variables(&spec.get("variables"), &mut faults);
    let lists = [spec.get("validations"), spec.get("auditAnnotations")];
    if lists.iter().all(At::is_empty) {
        let why = "validations or auditAnnotations must contain at least one item";
        faults.extend(lists.iter().map(|list| list.missing(why)));
    }
    lists[0].items().for_each(|v| validation(&v, &mut faults));
    audit_annotations(&o.metadata.name, &lists[1], &mut faults);
    faults
}

fn param_reference(at: &At<'_>, faults: &mut Faults) {
    let (name, selector) = (at.get("name"), at.get("selector"));
    let why = "name and selector are mutually exclusive";
    name.optional_rule(names::path_segment, faults);
    if !name.is_empty() && selector.is_set() {
        faults.push(name.forbidden(why));
    }
    selector.selector(faults);
    if !name.is_empty() && selector.is_set() {
        faults.push(selector.forbidden(why));
    }
    if name.is_empty() && !selector.is_set() {
        faults.push(at.missing("one of name or selector must be specified"));
    }
    at.get("parameterNotFoundAction").one_of(&["Deny", "Allow"], faults);
}

/// ValidatingAdmissionPolicyBinding.
pub(crate) fn validate_binding(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    spec.get("policyName").required_rule(names::dns1123_subdomain, &mut faults);
    if spec.get("paramRef").is_set() {
        param_reference(&spec.get("paramRef"), &mut faults);
    }
    if spec.get("matchResources").is_set() {
        match_resources(&spec.get("matchResources"), &mut faults);
    }
    let (actions, mut seen) = (spec.get("validationActions"), Unique::default());
    for action in actions.items() {
        action.known(&["Audit", "Deny", "Warn"], &mut faults);
        seen.check(&action, &mut faults);
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                   response and headers serves no purpose)";
        faults.push(actions.invalid(why));
    }
    if actions.is_empty() {
        faults.push(actions.missing("at least one validation action is required"));
    }
    faults
}

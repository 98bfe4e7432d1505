//! Where a pod may go: affinity and spreading (`pkg/apis/core/validation/validation.go`: `validateAffinity`,
//! `validateTopologySpreadConstraints`).

use super::at::{At, Faults};
use meta::FieldError;
use meta::names;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn affinity(affinity: &At<'_>, faults: &mut Faults) {
    let node = affinity.get("nodeAffinity");
    if node.get(REQUIRED).is_set() {
        node_selector(&node.get(REQUIRED), faults);
    }
    for term in node.get(PREFERRED).items() {
        weight(&term, faults);
        node_term(&term.get("preference"), false, faults);
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let of_pods = affinity.get(kind);
        of_pods.get(REQUIRED).items().for_each(|term| pod_term(&term, faults));
        for term in of_pods.get(PREFERRED).items() {
            weight(&term, faults);
            pod_term(&term.get("podAffinityTerm"), faults);
        }
    }
}

fn weight(term: &At<'_>, faults: &mut Faults) {
    let weight = term.get("weight");
    if !(1..=100).contains(&weight.int().unwrap_or(0)) {
        let why = "must be in the range 1-100";
        faults.push(FieldError::invalid(&weight.path(), weight.int().unwrap_or(0), why));
    }
}

/// A node selector, in pods and in persistent volumes.
pub(super) fn node_selector(selector: &At<'_>, faults: &mut Faults) {
    let terms = selector.get("nodeSelectorTerms");
    if terms.is_empty() {
        faults.push(terms.missing("must have at least one node selector term"));
    }
    terms.items().for_each(|term| node_term(&term, true, faults));
}

fn node_term(term: &At<'_>, strict_values: bool, faults: &mut Faults) {
    for requirement in term.get("matchExpressions").items() {
        node_requirement(&requirement, strict_values, faults);
    }
    for requirement in term.get("matchFields").items() {
        let (key, operator, values) =
            (requirement.get("key"), requirement.get("operator"), requirement.get("values"));
        match operator.str() {
            "In" | "NotIn" if values.len() != 1 => {
                let why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                faults.push(values.missing(why));
            }
            "In" | "NotIn" => {}
            _ => faults.push(operator.invalid("not a valid selector operator")),
        }
        if key.str() == "metadata.name" {
            values.items().for_each(|v| v.rule(names::dns1123_subdomain, faults));
        } else {
            faults.push(key.invalid("not a valid field selector key"));
        }
    }
}

fn node_requirement(requirement: &At<'_>, strict_values: bool, faults: &mut Faults) {
    let (operator, values) = (requirement.get("operator"), requirement.get("values"));
    match (operator.str(), values.len()) {
        ("In" | "NotIn", 0) => {
            faults.push(values.missing("must be specified when `operator` is 'In' or 'NotIn'"));
        }
        ("Exists" | "DoesNotExist", 1..) => {
            faults
                .push(values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
        }
        ("Gt" | "Lt", n) if n != 1 => {
            faults.push(values.missing("must be specified single value when `operator` is 'Lt' or 'Gt'"));
        }
        ("In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt", _) => {}
        (other, _) => {
            let why = "not a valid selector operator";
            faults.push(FieldError::invalid(&operator.path(), other, why));
        }
    }
    requirement.get("key").rule(names::qualified_name, faults);
    if strict_values {
        values.items().for_each(|v| v.rule(names::label_value, faults));
    }
}

fn pod_term(term: &At<'_>, faults: &mut Faults) {
    term.get("labelSelector").selector(faults);
    term.get("namespaceSelector").selector(faults);
    for namespace in term.get("namespaces").items() {
        let at = At::new(namespace.value(), term.path().child("namespace"));
        at.rule(names::dns1123_label, faults);
    }
    label_keys(term, faults);
    let key = term.get("topologyKey");
    if key.is_empty() {
        faults.push(key.missing("can not be empty"));
    }
    key.rule(names::qualified_name, faults);
}

fn label_keys(term: &At<'_>, faults: &mut Faults) {
    let (matching, differing) = (term.get("matchLabelKeys"), term.get("mismatchLabelKeys"));
    for list in [&matching, &differing] {
        if !list.is_empty() && !term.get("labelSelector").is_set() {
            faults.push(list.forbidden("must not be specified when labelSelector is not set"));
        }
        list.items().for_each(|key| key.rule(names::qualified_name, faults));
    }
    for key in matching.items() {
        if differing.items().any(|k| k.str() == key.str()) {
            faults.push(key.invalid("exists in both matchLabelKeys and mismatchLabelKeys"));
        }
    }
}

pub(super) fn spread_constraints(list: &At<'_>, faults: &mut Faults) {
    let both =
        |c: &At<'_>| format!("{{{}, {}}}", c.get("topologyKey").str(), c.get("whenUnsatisfiable").str());
    for (i, constraint) in list.items().enumerate() {
        let (key, action) = (constraint.get("topologyKey"), constraint.get("whenUnsatisfiable"));
        above_zero(&constraint.get("maxSkew"), faults);
        if key.is_empty() {
            faults.push(key.missing("can not be empty"));
        }
        action.known(&["DoNotSchedule", "ScheduleAnyway"], faults);
        // Upstream says it of the first of two.
        if list.items().skip(i + 1).any(|later| both(&later) == both(&constraint)) {
            let path = constraint.path().child("{topologyKey, whenUnsatisfiable}");
            faults.push(FieldError::duplicate(&path, both(&constraint)));
        }
        min_domains(&constraint, faults);
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            constraint.get(policy).optional_one_of(&["Honor", "Ignore"], faults);
        }
        constraint.get("labelSelector").selector(faults);
        label_keys(&constraint, faults);
    }
}

fn above_zero(at: &At<'_>, faults: &mut Faults) {
    let n = at.int().unwrap_or(0);
    if n <= 0 {
        faults.push(FieldError::invalid(&at.path(), n, "must be greater than zero"));
    }
}

fn min_domains(constraint: &At<'_>, faults: &mut Faults) {
    let domains = constraint.get("minDomains");
    if !domains.is_set() {
        return;
    }
    above_zero(&domains, faults);
    let action = constraint.get("whenUnsatisfiable").str();
    if action != "DoNotSchedule" {
        let why = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
        faults.push(domains.invalid(why));
    }
}

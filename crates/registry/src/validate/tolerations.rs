//! Taints and tolerations (`pkg/apis/core/validation/validation.go`: `ValidateTolerations`).

use super::at::{At, Faults};
use meta::names;

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub(super) fn effect(at: &At<'_>, faults: &mut Faults) {
    at.known(&EFFECTS, faults);
}

pub(super) fn tolerations(list: &At<'_>, faults: &mut Faults) {
    for toleration in list.items() {
        let (key, operator) = (toleration.get("key"), toleration.get("operator"));
        key.optional_rule(names::qualified_name, faults);
        if key.is_empty() && operator.str() != "Exists" {
            let why =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            faults.push(meta::FieldError::invalid(&operator.path(), operator.str(), why));
        }
        let at = toleration.get("effect");
        if toleration.get("tolerationSeconds").is_set() && at.str() != "NoExecute" {
            let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            faults.push(meta::FieldError::invalid(&at.path(), at.str(), why));
        }
        value(&toleration, faults);
        if !at.is_empty() {
            effect(&at, faults);
        }
    }
}

fn value(toleration: &At<'_>, faults: &mut Faults) {
    let (operator, value) = (toleration.get("operator"), toleration.get("value"));
    let mut wrong = |why: String| faults.push(meta::FieldError::invalid(&operator.path(), value.str(), why));
    match operator.str() {
        "" | "Equal" => {
            let rule = names::label_value(value.str());
            if !rule.is_empty() {
                wrong(rule.join(";"));
            }
        }
        "Exists" if !value.is_empty() => wrong("value must be empty when `operator` is 'Exists'".to_owned()),
        "Exists" => {}
        "Lt" | "Gt" => value.rule(names::decimal_integer, faults),
        _ => operator.known(&["Equal", "Exists"], faults),
    }
}

//! HorizontalPodAutoscalers, in the form of v2 (`pkg/apis/autoscaling/validation/validation.go`).

use super::at::{At, Faults};
use meta::{FieldError, Object, names};

/// Type of a metric and the field that holds it.
const METRICS: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];
/// Longest look back: an hour.
const WINDOW_SECONDS_MAX: i64 = 3600;
/// Longest period of a policy: half an hour.
const PERIOD_SECONDS_MAX: i64 = 1800;

/// HorizontalPodAutoscaler.
pub(crate) fn validate_autoscaler(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    let (min, max) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    let scales_to_zero =
        spec.get("metrics").items().any(|m| matches!(m.get("type").str(), "Object" | "External"));
    if min.int().is_some_and(|n| n < 1) && !(min.int() == Some(0) && scales_to_zero) {
        faults.push(min.invalid("must be greater than or equal to 1"));
    }
    match max.int().unwrap_or(0) {
        0 => faults.push(max.missing("must be set and greater than 0")),
        n if n < 0 => faults.push(max.invalid("must be greater than or equal to 1")),
        n if min.int().is_some_and(|min| n < min) => {
            faults.push(max.invalid("must be greater than or equal to `minReplicas`"));
        }
        _ => {}
    }
    reference(&spec.get("scaleTargetRef"), &mut faults);
    spec.get("metrics").items().for_each(|m| metric(&m, &mut faults));
    for direction in ["scaleUp", "scaleDown"] {
        rules(&spec.get("behavior").get(direction), &mut faults);
    }
    faults
}

fn reference(at: &At<'_>, faults: &mut Faults) {
    at.get("kind").required_rule(names::path_segment, faults);
    at.get("name").required_rule(names::path_segment, faults);
}

fn metric(metric: &At<'_>, faults: &mut Faults) {
    let kind = metric.get("type");
    if kind.is_empty() {
        faults.push(kind.missing("must specify a metric source type"));
    }
    let Some((_, key)) = METRICS.iter().find(|(name, _)| *name == kind.str()) else {
        return kind.known(&METRICS.map(|(name, _)| name), faults);
    };
    let source = metric.get(key);
    if !source.is_set() {
        faults.push(source.missing("must populate information for the given metric source"));
    }
    for other in
        METRICS.iter().map(|(_, k)| metric.get(k)).filter(|m| m.is_set() && m.path() != source.path())
    {
        faults.push(other.forbidden("must populate the given metric source only"));
    }
    if !source.is_set() {
        return;
    }
    let target = source.get("target");
    metric_target(&target, faults);
    let set = |name: &'static str| target.get(name).is_set();
    match kind.str() {
        "Resource" | "ContainerResource" => {
            if source.get("name").is_empty() {
                faults.push(source.get("name").missing("must specify a resource name"));
            }
            if kind.str() == "ContainerResource" && source.get("container").is_empty() {
                faults.push(source.get("container").missing("must specify a container"));
            }
            let at = target.get("averageUtilization");
            match (set("averageUtilization"), set("averageValue")) {
                (false, false) => {
                    faults.push(at.missing("must set either a target raw value or a target utilization"));
                }
                (true, true) => faults.push(
                    target
                        .get("averageValue")
                        .forbidden("may not set both a target raw value and a target utilization"),
                ),
                _ => {}
            }
        }
        "Pods" => {
            metric_name(&source, faults);
            if !set("averageValue") {
                faults
                    .push(target.get("averageValue").missing("must specify a positive target averageValue"));
            }
        }
        _ => {
            if kind.str() == "Object" {
                reference(&source.get("describedObject"), faults);
            }
            metric_name(&source, faults);
            if !set("value") && !set("averageValue") {
                let at = target.get("averageValue");
                faults.push(at.missing("must set either a target value for metric or a per-pod target"));
            }
        }
    }
}

fn metric_name(source: &At<'_>, faults: &mut Faults) {
    let name = source.get("metric").get("name");
    if name.is_empty() {
        faults.push(name.missing("must specify a metric name"));
    } else {
        name.rule(names::path_segment, faults);
    }
}

fn metric_target(target: &At<'_>, faults: &mut Faults) {
    let kind = target.get("type");
    if kind.is_empty() {
        faults.push(kind.missing("must specify a metric target type"));
    }
    if !matches!(kind.str(), "Utilization" | "Value" | "AverageValue") {
        let why = "must be either Utilization, Value, or AverageValue";
        faults.push(FieldError::invalid(&kind.path(), kind.str(), why));
    }
    for key in ["value", "averageValue"] {
        let at = target.get(key);
        if at.is_set() && at.quantity().is_some_and(|q| q.signum() != 1) {
            faults.push(at.invalid("must be positive"));
        }
    }
    let percent = target.get("averageUtilization");
    if percent.int().is_some_and(|n| n < 1) {
        faults.push(percent.invalid("must be greater than 0"));
    }
}

fn rules(rules: &At<'_>, faults: &mut Faults) {
    if !rules.is_set() {
        return;
    }
    let window = rules.get("stabilizationWindowSeconds");
    if window.int().is_some_and(|n| n < 0) {
        faults.push(window.invalid("must be greater than or equal to zero"));
    }
    if window.int().is_some_and(|n| n > WINDOW_SECONDS_MAX) {
        faults.push(window.invalid(format!("must be less than or equal to {WINDOW_SECONDS_MAX}")));
    }
    rules.get("selectPolicy").optional_one_of(&["Disabled", "Max", "Min"], faults);
    let policies = rules.get("policies");
    if policies.is_empty() {
        faults.push(policies.missing("must specify at least one Policy"));
    }
    for policy in policies.items() {
        policy.get("type").known(&["Percent", "Pods"], faults);
        for key in ["value", "periodSeconds"] {
            if policy.get(key).int().unwrap_or(0) <= 0 {
                faults.push(policy.get(key).invalid("must be greater than zero"));
            }
        }
        let period = policy.get("periodSeconds");
        if period.int().is_some_and(|n| n > PERIOD_SECONDS_MAX) {
            faults.push(period.invalid(format!("must be less than or equal to {PERIOD_SECONDS_MAX}")));
        }
    }
}

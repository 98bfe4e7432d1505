//! HorizontalPodAutoscalers, in the form of v2 (`pkg/apis/autoscaling/validation/validation.go`).

use super::at::{At, Faults};
use meta::{FieldError, FieldPath, Object, names};

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
        _ => {}
    }
    if min.int().is_some_and(|min| max.int().unwrap_or(0) < min) {
        let why = "must be greater than or equal to `minReplicas`";
        faults.push(FieldError::invalid(&max.path(), max.int().unwrap_or(0), why));
    }
    reference(&spec.get("scaleTargetRef"), &mut faults);
    spec.get("metrics").items().for_each(|m| metric(&m, &mut faults));
    if min.int() == Some(0) && !scales_to_zero {
        let why = "must specify at least one Object or External metric to support scaling to zero replicas";
        faults.push(spec.get("metrics").forbidden(why));
    }
    for direction in ["scaleUp", "scaleDown"] {
        rules(&spec.get("behavior").get(direction), &mut faults);
    }
    faults
}

fn reference(at: &At<'_>, faults: &mut Faults) {
    at.get("kind").required_rule(names::path_segment, faults);
    at.get("name").required_rule(names::path_segment, faults);
    let version = at.get("apiVersion");
    if version.str().matches('/').count() > 1 {
        faults.push(version.invalid(format!("unexpected GroupVersion string: {}", version.str())));
    }
}

/// What is scaled is named with its group; only for `ReplicationController` that is the empty one. An update that
/// leaves kind and group as they were is let through.
fn target_group(o: &Object) -> Option<FieldError> {
    let target = At::top(o, "spec").get("scaleTargetRef");
    let version = target.get("apiVersion");
    let has_group = version.str().contains('/') || target.get("kind").str() == "ReplicationController";
    let why = "apiVersion must specify API group";
    (!has_group).then(|| FieldError::invalid(&version.path(), version.str(), why))
}

/// A new HorizontalPodAutoscaler.
pub(crate) fn validate_new_autoscaler(o: &Object) -> Faults {
    target_group(o).into_iter().collect()
}

/// HorizontalPodAutoscaler of v1, whose one metric has a field of its own; what is wrong with it is told as of v2.
pub(crate) fn validate_autoscaler_v1(o: &Object) -> Faults {
    let mut faults = validate_autoscaler(o);
    let percent = At::top(o, "spec").get("targetCPUUtilizationPercentage");
    if percent.int().is_some_and(|n| n < 1) {
        let path = FieldPath::new("spec.metrics[0].resource.target.averageUtilization");
        faults.push(FieldError::invalid(&path, percent.value().clone(), "must be greater than 0"));
    }
    faults
}

/// A change of one.
pub(crate) fn validate_autoscaler_update(new: &Object, old: &Object) -> Faults {
    let target = |o: &Object, key| o.str(&["spec", "scaleTargetRef", key]).to_owned();
    let same = ["kind", "apiVersion"].iter().all(|key| target(new, key) == target(old, key));
    if same { Vec::new() } else { target_group(new).into_iter().collect() }
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
            container_resource(&source, kind.str() == "ContainerResource", faults);
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
            value_or_average(kind.str() == "Object", &source, faults);
        }
    }
}

/// The resource of pods, or of one container of them.
fn container_resource(source: &At<'_>, of_container: bool, faults: &mut Faults) {
    let (name, container) = (source.get("name"), source.get("container"));
    match name.is_empty() {
        true => faults.push(name.missing("must specify a resource name")),
        false if of_container => super::resources::container_resource_name(name.str(), &name, faults),
        false => {}
    }
    if of_container {
        match container.is_empty() {
            true => faults.push(container.missing("must specify a container")),
            false => container.rule(names::dns1123_label, faults),
        }
    }
}

/// A metric of an object or from outside is compared as it is, or shared among the pods.
fn value_or_average(is_object: bool, source: &At<'_>, faults: &mut Faults) {
    let target = source.get("target");
    let (value, average) = (target.get("value"), target.get("averageValue"));
    match (value.is_set(), average.is_set()) {
        (false, false) if is_object => {
            faults.push(average.missing("must set either a target value or averageValue"));
        }
        (false, false) => {
            faults.push(average.missing("must set either a target value for metric or a per-pod target"));
        }
        (true, true) if is_object => {
            faults.push(value.forbidden("may not set both a target value and averageValue"));
        }
        (true, true) => {
            let why = "may not set both a target value for metric and a per-pod target";
            faults.push(value.forbidden(why));
        }
        _ => {}
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
        if let Some(q) = at.quantity().filter(|q| at.is_set() && q.signum() != 1) {
            faults.push(FieldError::invalid(&at.path(), q.to_string(), "must be positive"));
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
    let tolerance = rules.get("tolerance");
    if let Some(q) = tolerance.quantity().filter(|q| tolerance.is_set() && q.signum() < 0) {
        faults.push(FieldError::invalid(&tolerance.path(), q.to_string(), super::NEGATIVE));
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

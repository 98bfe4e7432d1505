//! `horizontalpodautoscalers` (autoscaling/v1): the same stored objects as v2, with one metric in fields of its own and
//! the others in annotations (`pkg/apis/autoscaling/v1/conversion.go`; what the annotations hold is v2's JSON).

use super::horizontal_pod_autoscaler::{COLUMNS, row};
use crate::fill::{part, set};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy, Update, WHOLE};
use crate::table::items;
use crate::validate::autoscaling::{
    validate_autoscaler_update, validate_autoscaler_v1, validate_new_autoscaler,
};
use meta::Object;
use serde_json::{Map, Value, json};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

pub(super) fn kind() -> Kind {
    Kind::namespaced("autoscaling", "v1", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
        .short(&["hpa"])
        .category("all")
        .stored_as("autoscaling", "v2", to_stored, from_stored)
        .status(json!({"currentReplicas": 0, "desiredReplicas": 0}))
        .table(COLUMNS, |o, now| {
            let mut stored = o.clone();
            to_stored(&mut stored);
            row(&stored, now)
        })
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default: |o| set(part(o, "spec"), "minReplicas", 1),
    validate: validate_autoscaler_v1,
    validate_create: validate_new_autoscaler,
    update: Update { validate: validate_autoscaler_update, ..WHOLE },
    ..PLAIN
};

fn is_cpu_percent(metric: &Value) -> bool {
    metric["type"] == "Resource"
        && metric["resource"]["name"] == "cpu"
        && metric["resource"]["target"]["averageUtilization"].is_i64()
}

fn take(part: &mut Value, key: &str) -> Option<Value> {
    part.as_object_mut()?.remove(key).filter(|v| !v.is_null())
}

fn from_annotation(o: &mut Object, key: &str) -> Option<Value> {
    serde_json::from_str(&o.metadata.annotations.remove(key)?).ok()
}

fn to_stored(o: &mut Object) {
    let mut metrics = match from_annotation(o, METRICS) {
        Some(Value::Array(metrics)) => metrics,
        _ => Vec::new(),
    };
    let spec = part(o, "spec");
    if let Some(percent) = take(spec, "targetCPUUtilizationPercentage") {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        metrics.insert(0, json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    }
    if !metrics.is_empty() {
        spec["metrics"] = metrics.into();
    }
    let (current, conditions) = (from_annotation(o, CURRENT), from_annotation(o, CONDITIONS));
    if let Some(behavior) = from_annotation(o, BEHAVIOR) {
        o.set(&["spec", "behavior"], behavior);
    }
    if !o.body.contains_key("status") {
        return;
    }
    let status = part(o, "status");
    if let Some(percent) = take(status, "currentCPUUtilizationPercentage") {
        let cpu = json!({"name": "cpu", "current": {"averageUtilization": percent}});
        status["currentMetrics"] = json!([{"type": "Resource", "resource": cpu}]);
    }
    for (key, value) in [("currentMetrics", current), ("conditions", conditions)] {
        value.into_iter().for_each(|v| status[key] = v);
    }
}

fn from_stored(o: &mut Object) {
    let mut metrics = items(o, &["spec", "metrics"]).to_vec();
    let current = items(o, &["status", "currentMetrics"]).to_vec();
    let spec = part(o, "spec");
    take(spec, "metrics");
    let behavior = take(spec, "behavior");
    if let Some(i) = metrics.iter().position(is_cpu_percent) {
        let metric = metrics.remove(i);
        spec["targetCPUUtilizationPercentage"] = metric["resource"]["target"]["averageUtilization"].clone();
    }
    let status = o.body.entry("status").or_insert_with(|| Value::Object(Map::new()));
    take(status, "currentMetrics");
    let conditions = take(status, "conditions");
    set(status, "currentReplicas", 0);
    set(status, "desiredReplicas", 0);
    let cpu = current.iter().map(|m| &m["resource"]).find(|r| r["name"] == "cpu");
    if let Some(percent) = cpu.map(|r| r["current"]["averageUtilization"].clone()).filter(Value::is_i64) {
        status["currentCPUUtilizationPercentage"] = percent;
    }
    let list = |items: Vec<Value>| (!items.is_empty()).then_some(Value::Array(items));
    let notes =
        [(METRICS, list(metrics)), (CURRENT, list(current)), (CONDITIONS, conditions), (BEHAVIOR, behavior)];
    for (key, value) in notes {
        value.into_iter().for_each(|v| drop(o.metadata.annotations.insert(key.into(), v.to_string())));
    }
}

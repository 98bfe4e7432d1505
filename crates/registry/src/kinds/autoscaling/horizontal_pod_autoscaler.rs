//! `horizontalpodautoscalers` (autoscaling/v2): the stored form.

use crate::fill::{part, set, text};
use crate::kind::Kind;
use crate::strategy::{PLAIN, Strategy, Update, WHOLE};
use crate::table::{age, items, name, number};
use crate::validate::autoscaling::{
    validate_autoscaler, validate_autoscaler_update, validate_new_autoscaler,
};
use jiff::Timestamp;
use meta::Object;
use serde_json::{Value, json};

/// The table of both versions.
pub(super) const COLUMNS: &[&str] =
    &["Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"];
/// How many metrics the table shows.
const SHOWN: usize = 2;

pub(super) fn kind() -> Kind {
    Kind::namespaced("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
        .short(&["hpa"])
        .category("all")
        .status(json!({"currentMetrics": null, "desiredReplicas": 0}))
        .table(COLUMNS, row)
        .strategy(&STRATEGY)
}

static STRATEGY: Strategy = Strategy {
    default,
    validate: validate_autoscaler,
    validate_create: validate_new_autoscaler,
    update: Update { validate: validate_autoscaler_update, ..WHOLE },
    ..PLAIN
};

fn default(o: &mut Object) {
    let spec = part(o, "spec");
    set(spec, "minReplicas", 1);
    if spec["metrics"].as_array().is_none_or(Vec::is_empty) {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        spec["metrics"] = json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
    }
    if !spec["behavior"].is_object() {
        return;
    }
    let all = json!({"periodSeconds": 15, "type": "Percent", "value": 100});
    let some = json!({"periodSeconds": 15, "type": "Pods", "value": 4});
    for (direction, policies) in [("scaleUp", json!([some, all])), ("scaleDown", json!([all]))] {
        let rules = crate::fill::make(&mut spec["behavior"], direction);
        set(rules, "policies", policies);
        set(rules, "selectPolicy", "Max");
        if direction == "scaleUp" {
            set(rules, "stabilizationWindowSeconds", 0);
        }
    }
}

/// A quantity or a number as text.
fn shown(v: &Value) -> Option<String> {
    match v {
        Value::String(s) => Some(s.clone()),
        Value::Number(n) => Some(n.to_string()),
        _ => None,
    }
}

fn metric(spec: &Value, current: &Value) -> String {
    let kind = text(spec, "type");
    let key = match kind {
        "External" => "external",
        "Object" => "object",
        "Pods" => "pods",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let (target, current) = (&spec[key]["target"], &current[key]["current"]);
    let unknown = || "<unknown>".to_owned();
    let name = text(&spec[key], "name");
    let named = matches!(kind, "Resource" | "ContainerResource");
    let label = if named { format!("{name}: ") } else { String::new() };
    if let Some(wanted) = shown(&target["averageValue"]) {
        let suffix = if named || kind == "Pods" { "" } else { " (avg)" };
        return format!(
            "{label}{}/{wanted}{suffix}",
            shown(&current["averageValue"]).unwrap_or_else(unknown)
        );
    }
    if named {
        let percent = |v: &Value| v.as_i64().map(|n| format!("{n}%"));
        let wanted = percent(&target["averageUtilization"]).unwrap_or_else(|| "<auto>".to_owned());
        return format!(
            "{label}{}/{wanted}",
            percent(&current["averageUtilization"]).unwrap_or_else(unknown)
        );
    }
    let wanted = shown(&target["value"]).unwrap_or_else(|| "0".to_owned());
    format!("{}/{wanted}", shown(&current["value"]).unwrap_or_else(unknown))
}

fn metrics(o: &Object) -> String {
    let current = items(o, &["status", "currentMetrics"]);
    let specs = items(o, &["spec", "metrics"]).iter().enumerate();
    let all: Vec<String> = specs.map(|(i, s)| metric(s, current.get(i).unwrap_or(&Value::Null))).collect();
    match all.len() {
        0 => "<none>".to_owned(),
        n if n > SHOWN => format!("{} + {} more...", all[..SHOWN].join(", "), n - SHOWN),
        _ => all.join(", "),
    }
}

/// A row, from the stored form.
pub(super) fn row(o: &Object, now: Timestamp) -> Vec<Value> {
    let target = format!(
        "{}/{}",
        o.str(&["spec", "scaleTargetRef", "kind"]),
        o.str(&["spec", "scaleTargetRef", "name"])
    );
    let min = o.get(&["spec", "minReplicas"]).and_then(Value::as_i64);
    vec![
        name(o),
        target.into(),
        metrics(o).into(),
        min.map_or_else(|| "<unset>".to_owned(), |n| n.to_string()).into(),
        number(o, &["spec", "maxReplicas"]).into(),
        number(o, &["status", "currentReplicas"]).into(),
        age(o, now),
    ]
}

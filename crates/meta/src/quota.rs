//! Which objects a quota is about (`spec.scopes`, `spec.scopeSelector`): asked at admission, which charges a quota, and
//! by its controller, which counts anew. Both must say the same (`pkg/quota/v1/evaluator/core`).

use crate::quantity::Quantity;
use serde_json::Value;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// One requirement on the scope of an object.
struct Requirement<'a> {
    scope: &'a str,
    operator: &'a str,
    values: Vec<&'a str>,
}

impl Requirement<'_> {
    /// Whether one of the names satisfies it (for scopes that name a class).
    fn accepts(&self, names: &[&str]) -> bool {
        let names: Vec<&&str> = names.iter().filter(|n| !n.is_empty()).collect();
        let any = names.iter().any(|n| self.values.contains(n));
        match self.operator {
            "Exists" => !names.is_empty(),
            "DoesNotExist" => names.is_empty(),
            "In" => any,
            "NotIn" => !any,
            _ => false,
        }
    }
}

fn items<'a>(value: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn requirements(quota: &Value) -> impl Iterator<Item = Requirement<'_>> {
    let plain = items(quota, "/scopes").filter_map(Value::as_str);
    let plain = plain.map(|scope| Requirement { scope, operator: "Exists", values: Vec::new() });
    let selected = items(quota, "/scopeSelector/matchExpressions").map(|e| Requirement {
        scope: text(e, "/scopeName"),
        operator: text(e, "/operator"),
        values: items(e, "/values").filter_map(Value::as_str).collect(),
    });
    plain.chain(selected)
}

/// Whether a quota with this `spec` has scopes; one without is about everything.
pub fn has_scopes(quota: &Value) -> bool {
    requirements(quota).next().is_some()
}

/// Whether a pod with this `spec` is in all scopes of the quota with that `spec`.
pub fn takes_pod(quota: &Value, pod: &Value) -> bool {
    requirements(quota).all(|r| match r.scope {
        "Terminating" => has_deadline(pod),
        "NotTerminating" => !has_deadline(pod),
        "BestEffort" => is_best_effort(pod),
        "NotBestEffort" => !is_best_effort(pod),
        "PriorityClass" => r.accepts(&[text(pod, "/priorityClassName")]),
        "CrossNamespacePodAffinity" => crosses_namespaces(pod),
        _ => false,
    })
}

/// Whether a claim (the whole object) is in all scopes of the quota with that `spec`.
pub fn takes_claim(quota: &Value, claim: &Value) -> bool {
    let names = [
        "/spec/volumeAttributesClassName",
        "/status/currentVolumeAttributesClassName",
        "/status/modifyVolumeStatus/targetVolumeAttributesClassName",
    ];
    let names = names.map(|path| text(claim, path));
    requirements(quota).all(|r| r.scope == "VolumeAttributesClass" && r.accepts(&names))
}

/// Whether a pod with this `spec` is to end by itself.
pub fn has_deadline(pod: &Value) -> bool {
    pod.get("activeDeadlineSeconds").and_then(Value::as_i64).is_some_and(|s| s >= 0)
}

/// Whether nobody in a pod with this `spec` asks for anything (`pkg/apis/core/v1/helper/qos`).
fn is_best_effort(pod: &Value) -> bool {
    let amount = |q: &Value| match q {
        Value::Number(n) => Quantity::parse(&n.to_string()).ok(),
        other => other.as_str().and_then(|s| Quantity::parse(s).ok()),
    };
    let asks = |holder: &Value| {
        ["/resources/requests", "/resources/limits"].iter().any(|path| {
            let named = ["cpu", "memory"].iter().filter_map(|name| holder.pointer(path)?.get(name));
            named.filter_map(amount).any(|q| !q.is_zero())
        })
    };
    let kinds = ["/containers", "/initContainers", "/ephemeralContainers"];
    !asks(pod) && !kinds.iter().flat_map(|kind| items(pod, kind)).any(asks)
}

/// Whether a pod with this `spec` names other namespaces in its affinity.
fn crosses_namespaces(pod: &Value) -> bool {
    let crosses = |term: &Value| {
        items(term, "/namespaces").next().is_some()
            || term.get("namespaceSelector").is_some_and(|s| !s.is_null())
    };
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        items(pod, &format!("/affinity/{kind}/{REQUIRED}")).any(crosses)
            || items(pod, &format!("/affinity/{kind}/{PREFERRED}"))
                .any(|p| p.get("podAffinityTerm").is_some_and(crosses))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_quota_takes_what_is_in_all_its_scopes() {
        let plain = json!({"containers": [{"name": "a", "resources": {"requests": {"cpu": "0"}}}]});
        let asking = json!({"containers": [{"name": "a"}], "priorityClassName": "high", "activeDeadlineSeconds": 5,
            "initContainers": [{"name": "i", "resources": {"limits": {"memory": 5}}}],
            "affinity": {"podAffinity": {PREFERRED: [{"podAffinityTerm": {"namespaces": ["x"]}}]}}});
        let taken = |quota: Value| [takes_pod(&quota, &plain), takes_pod(&quota, &asking)];
        assert_eq!(taken(json!({})), [true, true]);
        assert_eq!(taken(json!({"scopes": ["BestEffort", "NotTerminating"]})), [true, false]);
        assert_eq!(taken(json!({"scopes": ["NotBestEffort", "Terminating"]})), [false, true]);
        assert_eq!(taken(json!({"scopes": ["CrossNamespacePodAffinity"]})), [false, true]);
        assert_eq!(taken(json!({"scopes": ["VolumeAttributesClass"]})), [false, false]);
        let selector = |operator: &str, values: Value| {
            json!({"scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": operator, "values": values}]}})
        };
        assert_eq!(taken(selector("In", json!(["high"]))), [false, true]);
        assert_eq!(taken(selector("NotIn", json!(["high"]))), [true, false]);
        assert_eq!(taken(selector("Exists", json!([]))), [false, true]);
        assert_eq!(taken(selector("DoesNotExist", json!([]))), [true, false]);
        let claim = json!({"spec": {}, "status": {"currentVolumeAttributesClassName": "gold"}});
        let gold = json!({"scopeSelector": {"matchExpressions": [
            {"scopeName": "VolumeAttributesClass", "operator": "In", "values": ["gold"]}]}});
        assert!(takes_claim(&gold, &claim) && !takes_claim(&json!({"scopes": ["BestEffort"]}), &claim));
    }
}

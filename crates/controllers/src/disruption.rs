//! How many pods of a disruption budget may go (`pkg/controller/disruption`).

use crate::deployment::scaled;
use crate::pods;
use crate::replicaset::to_i32;
use crate::selectors::selector;
use api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use api::core::v1::{Pod, ReplicationController};
use api::metav1::Condition;
use api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use api::{IntOrString, MetaExt, Time};
use client::{Key, View};
use meta::selector::Selector;
use reconcile::{Controller, Cx, EventNote, Plan, Watch, Write};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long an evicted pod may take to be deleted (`DeletionTimeout`).
const DELETION_TIMEOUT: Duration = Duration::from_secs(120);

/// The controller.
pub(crate) struct DisruptionBudgets;

impl Controller for DisruptionBudgets {
    fn name(&self) -> &'static str {
        "disruption-controller"
    }

    fn source(&self) -> &'static str {
        "controllermanager"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![
            Watch::own::<PodDisruptionBudget>(),
            Watch::each::<Pod>(keys_of_pod),
            Watch::each::<ReplicaSet>(|view, rs, keys| keys.extend(in_namespace(view, rs.namespace()))),
            Watch::each::<Deployment>(|view, d, keys| keys.extend(in_namespace(view, d.namespace()))),
            Watch::each::<StatefulSet>(|view, s, keys| keys.extend(in_namespace(view, s.namespace()))),
            Watch::each::<ReplicationController>(|view, rc, keys| {
                keys.extend(in_namespace(view, rc.namespace()))
            }),
        ]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let budget = cx.view.at::<PodDisruptionBudget>(cx.key).filter(|b| !b.is_deleting());
        budget.map(|b| plan(cx, b)).unwrap_or_default()
    }
}

fn matcher(budget: &PodDisruptionBudget) -> Selector {
    let spec = budget.spec.as_ref();
    spec.and_then(|s| s.selector.as_ref()).map(selector).unwrap_or_else(Selector::nothing)
}

fn keys_of_pod(view: View<'_>, pod: &Pod, keys: &mut Vec<Key>) {
    let budgets = view.list::<PodDisruptionBudget>(pod.namespace());
    keys.extend(budgets.filter(|b| matcher(b).matches(pod.labels())).map(|b| Key::of(b)));
}

fn in_namespace<'a>(view: View<'a>, namespace: &'a str) -> impl Iterator<Item = Key> + use<'a> {
    view.list::<PodDisruptionBudget>(namespace).map(|b| Key::of(b))
}

fn plan(cx: &Cx<'_>, budget: &PodDisruptionBudget) -> Plan {
    let selected = matcher(budget);
    let all = cx.view.list::<Pod>(budget.namespace());
    let pods: Vec<&Pod> = all.filter(|p| selected.matches(p.labels())).collect();
    let mut plan = Plan::default();
    if pods.is_empty() {
        plan.events.push(EventNote::normal(budget, "NoPods", "No matching pods found"));
    }
    let spec = budget.spec.clone().unwrap_or_default();
    let status = match expectation(cx.view, &spec, &pods) {
        Ok((expected, desired)) => {
            plan.events.extend(unmanaged(budget, &spec, &pods));
            let disrupted = still_disrupted(cx, budget, &pods, &mut plan);
            status(cx, budget, &pods, (expected, desired), disrupted)
        }
        Err(message) => {
            let text = format!("Failed to calculate the number of expected pods: {message}");
            plan.events.push(EventNote::warning(budget, "CalculateExpectedPodCountFailed", text));
            failed(cx, budget, message)
        }
    };
    if budget.status.as_ref() == Some(&status) {
        // An event for each look would be too many.
        plan.events.clear();
        return plan;
    }
    let (metadata, spec) = (budget.metadata.clone(), budget.spec.clone());
    plan.writes.push(Write::update_status(&PodDisruptionBudget { metadata, spec, status: Some(status) }));
    plan
}

/// How many pods there should be, and how many must be healthy.
fn expectation(view: View<'_>, spec: &PodDisruptionBudgetSpec, pods: &[&Pod]) -> Result<(i32, i32), String> {
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => {
            let expected = scale_of_controllers(view, pods)?;
            Ok((expected, (expected - scaled(Some(most), expected, true)).max(0)))
        }
        (None, Some(IntOrString::Int(least))) => Ok((to_i32(pods.len()), *least)),
        (None, Some(part)) => {
            let expected = scale_of_controllers(view, pods)?;
            Ok((expected, scaled(Some(part), expected, true)))
        }
        // Nothing is asked for: no eviction is allowed for it either.
        (None, None) => Ok((0, 0)),
    }
}

/// Tells of pods without a controller where a part of all is asked for: nobody says how many all are.
fn unmanaged(
    budget: &PodDisruptionBudget,
    spec: &PodDisruptionBudgetSpec,
    pods: &[&Pod],
) -> Option<EventNote> {
    let counts =
        spec.max_unavailable.is_none() && !matches!(spec.min_available, Some(IntOrString::String(_)));
    if counts || pods.iter().all(|p| p.controller().is_some()) {
        return None;
    }
    let text = format!(
        "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the \
         status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for \
         these pods please set \".spec.minAvailable\" field of the PDB to an integer value.",
        as_upstream_prints(spec.selector.as_ref())
    );
    Some(EventNote::warning(budget, "UnmanagedPods", text))
}

/// A selector in the form of upstream's own type, which is what its users see.
fn as_upstream_prints(selector: Option<&api::LabelSelector>) -> String {
    let Some(selector) = selector else { return "nil".to_owned() };
    let labels = selector.match_labels.iter().flatten().map(|(k, v)| format!("{k}: {v},"));
    let expressions = selector.match_expressions.iter().flatten().map(|e| {
        let values = e.values.as_deref().unwrap_or_default().join(" ");
        format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", e.key, e.operator)
    });
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{}}},MatchExpressions:[]LabelSelectorRequirement{{{}}},}}",
        labels.collect::<String>(),
        expressions.collect::<String>()
    )
}

/// The sum of what the controllers of the pods ask for; pods without one don't count.
fn scale_of_controllers(view: View<'_>, pods: &[&Pod]) -> Result<i32, String> {
    let mut scales = BTreeMap::new();
    for pod in pods {
        let Some(owner) = pod.controller() else { continue };
        if scales.contains_key(&owner.uid) {
            continue;
        }
        let namespace = pod.namespace();
        let of_set = |rs: &ReplicaSet| {
            let deployment = rs.controller().filter(|o| o.kind == "Deployment");
            let deployment = deployment
                .and_then(|o| view.get::<Deployment>(namespace, &o.name).filter(|d| d.uid() == o.uid));
            match deployment {
                Some(d) => (d.uid().to_owned(), d.spec.replicas.unwrap_or(1)),
                None => (rs.uid().to_owned(), rs.spec.replicas.unwrap_or(1)),
            }
        };
        let scale = match owner.kind.as_str() {
            "ReplicaSet" => {
                view.get::<ReplicaSet>(namespace, &owner.name).filter(|rs| rs.uid() == owner.uid).map(of_set)
            }
            "StatefulSet" => view
                .get::<StatefulSet>(namespace, &owner.name)
                .filter(|s| s.uid() == owner.uid)
                .map(|s| (s.uid().to_owned(), s.spec.replicas.unwrap_or(1))),
            "ReplicationController" => view
                .get::<ReplicationController>(namespace, &owner.name)
                .filter(|r| r.uid() == owner.uid)
                .map(|r| (r.uid().to_owned(), r.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1))),
            _ => None,
        };
        let (uid, count) = scale.ok_or_else(|| format!("found no controllers for pod {:?}", pod.name()))?;
        scales.insert(uid, count);
    }
    Ok(scales.values().sum())
}

/// Pods that were evicted and are expected to go; those that didn't are let off.
fn still_disrupted(
    cx: &Cx<'_>,
    budget: &PodDisruptionBudget,
    pods: &[&Pod],
    plan: &mut Plan,
) -> BTreeMap<String, Time> {
    let noted = budget.status.as_ref().and_then(|s| s.disrupted_pods.clone()).unwrap_or_default();
    let mut kept = BTreeMap::new();
    for pod in pods.iter().filter(|p| !p.is_deleting()) {
        let Some(at) = noted.get(pod.name()) else { continue };
        let due = at.0 + DELETION_TIMEOUT;
        if due < cx.now {
            let text =
                format!("Pod was expected by PDB {0}/{0} to be deleted but it wasn't", budget.namespace());
            plan.events.push(EventNote::warning(*pod, "NotDeleted", text));
        } else {
            plan.requeue(Duration::try_from(due.duration_since(cx.now)).unwrap_or(DELETION_TIMEOUT));
            kept.insert(pod.name().to_owned(), at.clone());
        }
    }
    kept
}

fn status(
    cx: &Cx<'_>,
    budget: &PodDisruptionBudget,
    pods: &[&Pod],
    (expected, desired): (i32, i32),
    disrupted: BTreeMap<String, Time>,
) -> PodDisruptionBudgetStatus {
    let healthy = |p: &&&Pod| !p.is_deleting() && !disrupted.contains_key(p.name()) && pods::is_ready(p);
    let healthy = to_i32(pods.iter().filter(healthy).count());
    let allowed = if expected <= 0 { 0 } else { (healthy - desired).max(0) };
    let (state, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        expected_pods: Some(expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        observed_generation: Some(budget.generation()),
        conditions: Some(vec![condition(cx, budget, state, reason, String::new())]),
    }
}

fn failed(cx: &Cx<'_>, budget: &PodDisruptionBudget, message: String) -> PodDisruptionBudgetStatus {
    let old = budget.status.clone().unwrap_or_default();
    PodDisruptionBudgetStatus {
        disruptions_allowed: Some(0),
        conditions: Some(vec![condition(cx, budget, "False", "SyncFailed", message)]),
        ..old
    }
}

fn condition(
    cx: &Cx<'_>,
    budget: &PodDisruptionBudget,
    status: &str,
    reason: &str,
    message: String,
) -> Condition {
    const KIND: &str = "DisruptionAllowed";
    let old = budget.status.as_ref().and_then(|s| s.conditions.iter().flatten().find(|c| c.type_ == KIND));
    let since = old.filter(|c| c.status == status).map(|c| c.last_transition_time.clone());
    Condition {
        type_: KIND.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: Some(budget.generation()),
        last_transition_time: since.unwrap_or_else(|| api::time(cx.now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    fn check(spec: Value, ready: &[&str], expect: Expect) {
        let mut spec = spec;
        spec["selector"] = json!({"matchLabels": {"app": "web"}});
        let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "web", "generation": 2}, "spec": spec});
        let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "rs"},
            "spec": {"replicas": 4, "selector": {}}});
        let pods = ready.iter().enumerate().map(|(i, ready)| {
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("p{i}"), "labels": {"app": "web"},
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs",
                        "uid": "rs-uid", "controller": true}]},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}})
        });
        let objects = [budget, set].into_iter().chain(pods);
        expect.assert_eq(&Scene::new(objects).show(&DisruptionBudgets, "x/web"));
    }

    #[test]
    fn selectors_are_shown_as_upstream_shows_them() {
        let selector =
            serde_json::from_value(json!({"matchLabels": {"app": "a", "tier": "b"}, "matchExpressions": [
            {"key": "k", "operator": "In", "values": ["x", "y"]}]}));
        assert_eq!(
            as_upstream_prints(selector.ok().as_ref()),
            "&LabelSelector{MatchLabels:map[string]string{app: a,tier: b,},MatchExpressions:[]LabelSelectorRequirement{\
             LabelSelectorRequirement{Key:k,Operator:In,Values:[x y],},},}"
        );
    }

    #[test]
    fn healthy_pods_beyond_what_is_needed_may_go() {
        check(
            json!({"minAvailable": 2}),
            &["True", "True", "True", "False"],
            expect![[r#"
            update/status poddisruptionbudgets.policy x/web {"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"","observedGeneration":2,"reason":"SufficientPods","status":"True","type":"DisruptionAllowed"}],"currentHealthy":3,"desiredHealthy":2,"disruptionsAllowed":1,"expectedPods":4,"observedGeneration":2}
        "#]],
        );
        check(
            json!({"maxUnavailable": "25%"}),
            &["True", "True", "True", "False"],
            expect![[r#"
            update/status poddisruptionbudgets.policy x/web {"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"","observedGeneration":2,"reason":"InsufficientPods","status":"False","type":"DisruptionAllowed"}],"currentHealthy":3,"desiredHealthy":3,"disruptionsAllowed":0,"expectedPods":4,"observedGeneration":2}
        "#]],
        );
        check(
            json!({"minAvailable": "50%"}),
            &[],
            expect![[r#"
            update/status poddisruptionbudgets.policy x/web {"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"","observedGeneration":2,"reason":"InsufficientPods","status":"False","type":"DisruptionAllowed"}],"currentHealthy":0,"desiredHealthy":0,"disruptionsAllowed":0,"expectedPods":0,"observedGeneration":2}
            event Normal NoPods PodDisruptionBudget/web No matching pods found
        "#]],
        );
    }
}

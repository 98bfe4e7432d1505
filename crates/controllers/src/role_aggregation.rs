//! Collects the rules of cluster roles that are made of others (`pkg/controller/clusterroleaggregation`).

use crate::selectors::selector;
use api::MetaExt;
use api::rbac::v1::{ClusterRole, PolicyRule};
use client::Key;
use reconcile::{Controller, Cx, Plan, Watch, Write};

/// The controller.
pub(crate) struct RoleAggregation;

impl Controller for RoleAggregation {
    fn name(&self) -> &'static str {
        "clusterrole-aggregation-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        let of_any = Watch::each::<ClusterRole>(|view, _, keys| {
            let aggregating = view.all::<ClusterRole>().filter(|r| r.aggregation_rule.is_some());
            keys.extend(aggregating.map(|r| Key::of(r)));
        });
        vec![of_any]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let Some(role) = cx.view.at::<ClusterRole>(cx.key).filter(|r| !r.is_deleting()) else {
            return Plan::done();
        };
        let Some(aggregation) = &role.aggregation_rule else { return Plan::done() };
        let mut rules: Vec<PolicyRule> = Vec::new();
        for wanted in aggregation.cluster_role_selectors.iter().flatten().map(selector) {
            let matching = |r: &&ClusterRole| r.name() != role.name() && wanted.matches(r.labels());
            for other in cx.view.all::<ClusterRole>().filter(matching) {
                for rule in other.rules.iter().flatten() {
                    if !rules.contains(rule) {
                        rules.push(rule.clone());
                    }
                }
            }
        }
        if role.rules.as_deref().unwrap_or_default() == rules {
            return Plan::done();
        }
        Plan::one(Write::update(&ClusterRole { rules: Some(rules), ..role.clone() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use serde_json::json;

    #[test]
    fn rules_are_collected_once_each() {
        let role = |name: &str, verb: &str| {
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                "metadata": {"name": name, "labels": {"to": "view"}}, "rules": [{"verbs": [verb]}]})
        };
        let view = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
            "metadata": {"name": "view"},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "view"}}]}});
        let scene = Scene::new([view, role("a", "get"), role("b", "list"), role("c", "get")]);
        let text = scene.show(&RoleAggregation, "view");
        assert!(text.ends_with("\"rules\":[{\"verbs\":[\"get\"]},{\"verbs\":[\"list\"]}]}\n"), "{text}");
    }
}

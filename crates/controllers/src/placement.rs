//! Where a pod may be: tolerations, node selectors and required node affinity
//! (`k8s.io/component-helpers/scheduling/corev1`).

use api::MetaExt;
use api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration,
};

/// Whether `toleration` is for `taint` (`corev1.Toleration.ToleratesTaint`).
pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let text = |v: &Option<String>| v.clone().unwrap_or_default();
    let (effect, key) = (text(&toleration.effect), text(&toleration.key));
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "Exists" => true,
        "" | "Equal" => !key.is_empty() && text(&toleration.value) == text(&taint.value),
        _ => false,
    }
}

/// Whether the pod tolerates all of the node's taints with these effects.
pub(crate) fn tolerates_node(spec: &PodSpec, node: &Node, effects: &[&str]) -> bool {
    let taints = node.spec.iter().flat_map(|s| s.taints.iter().flatten());
    let mut relevant = taints.filter(|t| effects.contains(&t.effect.as_str()));
    relevant.all(|taint| spec.tolerations.iter().flatten().any(|t| tolerates(t, taint)))
}

/// Whether the pod's node name, node selector and required node affinity admit the node.
pub(crate) fn admits(spec: &PodSpec, node: &Node) -> bool {
    let named = spec.node_name.as_deref().is_none_or(|name| name.is_empty() || name == node.name());
    let selected = spec.node_selector.iter().flatten().all(|(k, v)| node.label(k) == Some(v));
    let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    named && selected && required.is_none_or(|r| selects(r, node))
}

/// Whether any term of a node selector matches the node.
pub(crate) fn selects(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|t| term(t, node))
}

/// An empty term matches nothing.
fn term(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let field = |r: &NodeSelectorRequirement| requirement(r, (r.key == "metadata.name").then(|| node.name()));
    (!labels.is_empty() || !fields.is_empty())
        && labels.iter().all(|r| requirement(r, node.label(&r.key)))
        && fields.iter().all(field)
}

fn requirement(r: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = r.values.as_deref().unwrap_or_default();
    let number = |order: fn(&i64, &i64) -> bool| {
        let (Some(value), Some(bound)) = (value, values.first()) else { return false };
        matches!((value.parse(), bound.parse()), (Ok(v), Ok(b)) if order(&v, &b))
    };
    match r.operator.as_str() {
        "In" => value.is_some_and(|v| values.iter().any(|w| w == v)),
        "NotIn" => value.is_none_or(|v| values.iter().all(|w| w != v)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => number(|v, b| v > b),
        "Lt" => number(|v, b| v < b),
        _ => false,
    }
}

//! Terms that pods name nodes and other pods by: node selectors, pod affinity, tolerations.

use api::core::v1::{
    NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm, Taint, Toleration,
};
use meta::selector::{Operator, Requirement, Selector};
use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;

fn requirement(r: &NodeSelectorRequirement) -> Option<Requirement> {
    let operator = match r.operator.as_str() {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::GreaterThan,
        "Lt" => Operator::LessThan,
        _ => return None,
    };
    Requirement::new(&r.key, operator, r.values.clone().unwrap_or_default()).ok()
}

/// Whether one term matches; a term with nothing in it matches no node.
pub fn node_term_matches(term: &NodeSelectorTerm, name: &str, labels: &Labels) -> bool {
    let (by_label, by_field) = (term.match_expressions.as_deref(), term.match_fields.as_deref());
    let (by_label, by_field) = (by_label.unwrap_or_default(), by_field.unwrap_or_default());
    if by_label.is_empty() && by_field.is_empty() {
        return false;
    }
    let label = |r: &NodeSelectorRequirement| {
        requirement(r).is_some_and(|r| r.matches(|key| labels.get(key).map(String::as_str)))
    };
    let field = |r: &NodeSelectorRequirement| {
        requirement(r).is_some_and(|r| r.matches(|key| (key == "metadata.name").then_some(name)))
    };
    by_label.iter().all(label) && by_field.iter().all(field)
}

/// Whether any term of a selector matches.
pub fn node_selector_matches(selector: &NodeSelector, name: &str, labels: &Labels) -> bool {
    selector.node_selector_terms.iter().any(|t| node_term_matches(t, name, labels))
}

/// The only nodes that a selector can match, where every term of it names nodes.
pub fn named_nodes(selector: &NodeSelector) -> Option<BTreeSet<&str>> {
    let mut all = BTreeSet::new();
    for term in &selector.node_selector_terms {
        let named = term.match_fields.iter().flatten();
        let named = named.filter(|r| r.key == "metadata.name" && r.operator == "In");
        let sets = named.map(|r| r.values.iter().flatten().map(String::as_str).collect::<BTreeSet<_>>());
        all.extend(sets.reduce(|a, b| &a & &b)?);
    }
    Some(all)
}

/// A term of pod (anti-)affinity, ready to be matched.
#[derive(Clone, Debug)]
pub struct PodTerm {
    selector: Selector,
    namespaces: BTreeSet<String>,
    namespace_selector: Option<Selector>,
    /// The node label whose value says what counts as the same place.
    pub topology_key: String,
    /// For preferences: how much; 0 for requirements.
    pub weight: i64,
}

/// A selector of the API, ready to be matched; an absent one matches nothing, an empty one everything.
pub fn label_selector(selector: Option<&api::LabelSelector>) -> Selector {
    selector.map_or_else(Selector::nothing, api::selectors::selector)
}

impl PodTerm {
    /// `own` is the namespace of the pod that has the term, `labels` are that pod's.
    pub fn new(term: &PodAffinityTerm, own: &str, labels: &Labels, weight: i64) -> Self {
        let mut selector = label_selector(term.label_selector.as_ref());
        let mut more = Vec::new();
        for (keys, operator) in
            [(&term.match_label_keys, Operator::In), (&term.mismatch_label_keys, Operator::NotIn)]
        {
            let pairs = keys.iter().flatten().filter_map(|k| Some((k, labels.get(k)?)));
            more.extend(pairs.filter_map(|(k, v)| Requirement::new(k, operator, vec![v.clone()]).ok()));
        }
        if !more.is_empty() && term.label_selector.is_some() {
            more.extend(selector.requirements().iter().cloned());
            selector = Selector::from_requirements(more);
        }
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(own.to_owned());
        }
        let namespace_selector = term.namespace_selector.as_ref().map(|s| label_selector(Some(s)));
        Self { selector, namespaces, namespace_selector, topology_key: term.topology_key.clone(), weight }
    }

    /// Whether a pod is one that the term speaks of. `namespace_labels` gives the labels of a namespace.
    pub fn matches(
        &self,
        namespace: &str,
        labels: &Labels,
        namespace_labels: &dyn Fn(&str) -> Labels,
    ) -> bool {
        let named = self.namespaces.contains(namespace);
        let selected =
            || self.namespace_selector.as_ref().is_some_and(|s| s.matches(&namespace_labels(namespace)));
        (named || selected()) && self.selector.matches(labels)
    }
}

/// Whether a toleration covers a taint (`v1helper.TolerationsTolerateTaint`).
pub fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|t| {
        let effect = t.effect.as_deref().unwrap_or_default();
        let key = t.key.as_deref().unwrap_or_default();
        if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
            return false;
        }
        let (want, have) =
            (t.value.as_deref().unwrap_or_default(), taint.value.as_deref().unwrap_or_default());
        let numbers = || Some((want.parse::<i64>().ok()?, have.parse::<i64>().ok()?));
        match t.operator.as_deref().unwrap_or_default() {
            "" | "Equal" => want == have,
            "Exists" => true,
            "Gt" => numbers().is_some_and(|(want, have)| have > want),
            "Lt" => numbers().is_some_and(|(want, have)| have < want),
            _ => false,
        }
    })
}

//! The pod of a DaemonSet on one node (`daemon/util/daemonset_util.go`).

use crate::pods;
use api::apps::v1::DaemonSet;
use api::core::v1::{
    Affinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Toleration,
};
use api::names;

/// Taints that no daemon minds, with their effects.
const TOLERATED: [(&str, &str); 6] = [
    (names::TAINT_NOT_READY, "NoExecute"),
    (names::TAINT_UNREACHABLE, "NoExecute"),
    (names::TAINT_DISK_PRESSURE, "NoSchedule"),
    (names::TAINT_MEMORY_PRESSURE, "NoSchedule"),
    (names::TAINT_PID_PRESSURE, "NoSchedule"),
    (names::TAINT_UNSCHEDULABLE, "NoSchedule"),
];
const NAME_FIELD: &str = "metadata.name";

/// The pod's specification with the tolerations of daemons; bound to `node` where that is not empty.
pub(super) fn spec(set: &DaemonSet, node: &str) -> PodSpec {
    let mut spec = set.spec.template.spec.clone().unwrap_or_default();
    let tolerations = spec.tolerations.get_or_insert_default();
    let network =
        (spec.host_network == Some(true)).then_some((names::TAINT_NETWORK_UNAVAILABLE, "NoSchedule"));
    for (key, effect) in TOLERATED.into_iter().chain(network) {
        let toleration = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    if !node.is_empty() {
        bind(spec.affinity.get_or_insert_default(), node);
    }
    spec
}

/// Requires the node by name in every term; terms of the user that name other nodes give way.
fn bind(affinity: &mut Affinity, node: &str) {
    let required = &mut affinity
        .node_affinity
        .get_or_insert_default()
        .required_during_scheduling_ignored_during_execution;
    let by_name = NodeSelectorRequirement {
        key: NAME_FIELD.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let term = NodeSelectorTerm { match_fields: Some(vec![by_name]), ..NodeSelectorTerm::default() };
    *required = Some(NodeSelector { node_selector_terms: vec![term] });
}

/// The pod for `node`.
pub(super) fn pod(set: &DaemonSet, node: &str, hash: &str) -> Pod {
    let mut pod = pods::from_template(set, &set.spec.template);
    pod.spec = Some(spec(set, node));
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(names::LABEL_CONTROLLER_REVISION_HASH.to_owned(), hash.to_owned());
    let generation = set.metadata.annotations.as_ref();
    let generation = generation.and_then(|a| a.get(names::ANNOTATION_DAEMONSET_TEMPLATE_GENERATION));
    if let Some(generation) = generation {
        labels.insert(names::LABEL_POD_TEMPLATE_GENERATION.to_owned(), generation.clone());
    }
    pod
}

/// The node that a pod is on, or is meant for.
pub(super) fn target(pod: &Pod) -> &str {
    let bound = pods::node(pod);
    if !bound.is_empty() {
        return bound;
    }
    let affinity = pod.spec.as_ref().and_then(|s| s.affinity.as_ref()?.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    let terms = required.map(|r| r.node_selector_terms.as_slice()).unwrap_or_default();
    let fields = terms.iter().flat_map(|t| t.match_fields.iter().flatten());
    let mut names = fields.filter(|f| f.key == NAME_FIELD).filter_map(|f| f.values.as_ref()?.first());
    names.next().map(String::as_str).unwrap_or_default()
}

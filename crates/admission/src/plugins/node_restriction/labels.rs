//! Labels that a node's agent may set on its own node (`k8s.io/kubelet/pkg/apis/well_known_labels.go`).

use std::collections::{BTreeMap, BTreeSet};

/// Labels of Kubernetes' own domains that an agent sets.
const OWN: [&str; 11] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];

/// Whether `domain` is `of` or below it.
fn within(domain: &str, of: &str) -> bool {
    domain.strip_suffix(of).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn is_forbidden(label: &str) -> bool {
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let own = OWN.contains(&label)
        || within(domain, "kubelet.kubernetes.io")
        || within(domain, "node.kubernetes.io");
    let restricted = within(domain, "node-restriction.kubernetes.io");
    restricted || ((within(domain, "kubernetes.io") || within(domain, "k8s.io")) && !own)
}

/// Labels that are set, changed or removed though an agent may not, by name.
pub(super) fn forbidden(
    new: &BTreeMap<String, String>,
    old: Option<&BTreeMap<String, String>>,
) -> Vec<String> {
    let empty = BTreeMap::new();
    let old = old.unwrap_or(&empty);
    let keys: BTreeSet<&String> = new.keys().chain(old.keys()).collect();
    let modified = keys.into_iter().filter(|key| new.get(*key) != old.get(*key));
    modified.filter(|key| is_forbidden(key)).cloned().collect()
}

//! Which objects a quota is about (`spec.scopes`, `spec.scopeSelector`); the same as admission asks.

use api::core::v1::{
    Affinity, Container, PersistentVolumeClaim, Pod, PodAffinityTerm, PodSpec, ResourceQuota,
    ResourceRequirements,
};
use meta::quantity::Quantity;

/// One requirement on the scope of an object.
struct Requirement<'a> {
    scope: &'a str,
    operator: &'a str,
    values: &'a [String],
}

impl Requirement<'_> {
    /// Whether one of the names satisfies it (for scopes that name a class).
    fn accepts(&self, names: &[&str]) -> bool {
        let names: Vec<&&str> = names.iter().filter(|n| !n.is_empty()).collect();
        let any = names.iter().any(|n| self.values.iter().any(|v| v == **n));
        match self.operator {
            "Exists" => !names.is_empty(),
            "DoesNotExist" => names.is_empty(),
            "In" => any,
            "NotIn" => !any,
            _ => false,
        }
    }
}

fn requirements(quota: &ResourceQuota) -> impl Iterator<Item = Requirement<'_>> {
    let spec = quota.spec.as_ref();
    let plain = spec.into_iter().flat_map(|s| s.scopes.iter().flatten());
    let plain = plain.map(|scope| Requirement { scope, operator: "Exists", values: &[] });
    let selector = spec.and_then(|s| s.scope_selector.as_ref());
    let selected =
        selector.into_iter().flat_map(|s| s.match_expressions.iter().flatten()).map(|e| Requirement {
            scope: &e.scope_name,
            operator: &e.operator,
            values: e.values.as_deref().unwrap_or_default(),
        });
    plain.chain(selected)
}

/// Whether the quota has scopes at all.
pub(super) fn any(quota: &ResourceQuota) -> bool {
    requirements(quota).next().is_some()
}

/// Whether the pod is in all scopes of the quota.
pub(super) fn pod(quota: &ResourceQuota, pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return !any(quota) };
    let has_deadline = spec.active_deadline_seconds.is_some_and(|d| d >= 0);
    requirements(quota).all(|r| match r.scope {
        "Terminating" => has_deadline,
        "NotTerminating" => !has_deadline,
        "BestEffort" => is_best_effort(spec),
        "NotBestEffort" => !is_best_effort(spec),
        "PriorityClass" => r.accepts(&[spec.priority_class_name.as_deref().unwrap_or_default()]),
        "CrossNamespacePodAffinity" => spec.affinity.as_ref().is_some_and(crosses_namespaces),
        _ => false,
    })
}

/// Whether the claim is in all scopes of the quota.
pub(super) fn claim(quota: &ResourceQuota, claim: &PersistentVolumeClaim) -> bool {
    let text = |v: Option<&Option<String>>| v.cloned().flatten().unwrap_or_default();
    let status = claim.status.as_ref();
    let modify = status.and_then(|s| s.modify_volume_status.as_ref());
    let names = [
        text(claim.spec.as_ref().map(|s| &s.volume_attributes_class_name)),
        text(status.map(|s| &s.current_volume_attributes_class_name)),
        text(modify.map(|m| &m.target_volume_attributes_class_name)),
    ];
    let names = names.each_ref().map(String::as_str);
    requirements(quota).all(|r| r.scope == "VolumeAttributesClass" && r.accepts(&names))
}

/// Nobody in the pod asks for anything (`pkg/apis/core/v1/helper/qos`).
fn is_best_effort(spec: &PodSpec) -> bool {
    let asks = |r: &ResourceRequirements| {
        let all = [&r.requests, &r.limits].into_iter().flat_map(|list| list.iter().flatten());
        let mut counted = all.filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory"));
        counted.any(|(_, q)| Quantity::parse(&q.0).is_ok_and(|q| !q.is_zero()))
    };
    let init = spec.init_containers.iter().flatten();
    let ordinary = init.chain(&spec.containers).filter_map(|c: &Container| c.resources.as_ref());
    let ephemeral = spec.ephemeral_containers.iter().flatten().filter_map(|c| c.resources.as_ref());
    !ordinary.chain(ephemeral).chain(&spec.resources).any(asks)
}

/// Whether an affinity term looks into other namespaces.
fn crosses_namespaces(affinity: &Affinity) -> bool {
    let (near, far) = (affinity.pod_affinity.as_ref(), affinity.pod_anti_affinity.as_ref());
    let required = near
        .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref())
        .into_iter()
        .chain(far.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()));
    let preferred = near
        .and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref())
        .into_iter()
        .chain(far.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()));
    let weighted = preferred.flatten().map(|w| &w.pod_affinity_term);
    let crosses = |t: &PodAffinityTerm| {
        t.namespace_selector.is_some() || t.namespaces.as_ref().is_some_and(|n| !n.is_empty())
    };
    required.flatten().chain(weighted).any(crosses)
}

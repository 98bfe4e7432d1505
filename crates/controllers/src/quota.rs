//! What is used of a namespace's quotas (`pkg/controller/resourcequota`).

use crate::pods;
use api::core::v1::{
    PersistentVolumeClaim, Pod, PodSpec, ResourceQuota, ResourceQuotaStatus, ResourceRequirements,
    ScopedResourceSelectorRequirement, Service,
};
use api::{Kind, MetaExt, Quantity};
use client::{Change, Key, Resource, View};
use meta::quantity::Quantity as Amount;
use reconcile::{Controller, Cx, Plan, Watch, Write};
use std::collections::BTreeMap;

/// How a quota names the objects of one class.
const BY_CLASS: &str = ".storageclass.storage.k8s.io/";

/// The controller.
pub(crate) struct ResourceQuotas;

impl Controller for ResourceQuotas {
    fn name(&self) -> &'static str {
        "resourcequota-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![
            Watch::own::<ResourceQuota>(),
            Watch::only::<Pod>(),
            Watch::only::<Service>(),
            Watch::only::<PersistentVolumeClaim>(),
        ]
    }

    fn watches_everything(&self) -> bool {
        true
    }

    fn map_any(&self, view: View<'_>, resource: &Resource, change: &Change, keys: &mut Vec<Key>) {
        let Some(object) = change.object() else { return };
        // What other objects become doesn't matter, only how many they are.
        let sized = matches!(&*resource.resource, "pods" | "services" | "persistentvolumeclaims");
        if sized || change.old.is_none() || change.new.is_none() {
            keys.extend(view.list::<ResourceQuota>(object.meta().namespace()).map(|q| Key::of(q)));
        }
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let Some(quota) = cx.view.at::<ResourceQuota>(cx.key).filter(|q| !q.is_deleting()) else {
            return Plan::done();
        };
        let hard = quota.spec.as_ref().and_then(|s| s.hard.clone()).unwrap_or_default();
        let used = hard.keys().map(|name| (name.clone(), Quantity(used(cx.view, quota, name).to_string())));
        let status = ResourceQuotaStatus { used: Some(used.collect()), hard: Some(hard) };
        if same(quota.status.as_ref(), &status) {
            return Plan::done();
        }
        let (metadata, spec) = (quota.metadata.clone(), quota.spec.clone());
        Plan::one(Write::update_status(&ResourceQuota { metadata, spec, status: Some(status) }))
    }
}

/// Whether two states mean the same amounts, however they are written.
fn same(old: Option<&ResourceQuotaStatus>, new: &ResourceQuotaStatus) -> bool {
    let amounts = |m: &Option<BTreeMap<String, Quantity>>| {
        m.iter().flatten().map(|(k, q)| (k.clone(), Amount::parse(&q.0).ok())).collect::<BTreeMap<_, _>>()
    };
    old.is_some_and(|old| {
        amounts(&old.used) == amounts(&new.used) && amounts(&old.hard) == amounts(&new.hard)
    })
}

fn count(n: usize) -> Amount {
    Amount::from_int(i64::try_from(n).unwrap_or(i64::MAX), meta::quantity::Format::DecimalSi)
}

fn sum<'a>(amounts: impl Iterator<Item = &'a Quantity>) -> Amount {
    let mut total: Option<Amount> = None;
    for amount in amounts.filter_map(|q| Amount::parse(&q.0).ok()) {
        match &mut total {
            Some(total) => total.add(&amount),
            None => total = Some(amount),
        }
    }
    total.unwrap_or_else(|| count(0))
}

/// How much of one named resource the namespace uses.
fn used(view: View<'_>, quota: &ResourceQuota, name: &str) -> Amount {
    let namespace = quota.namespace();
    if let Some(counted) = name.strip_prefix("count/") {
        let slot = view.slots().find(|s| s.resource.to_string() == counted);
        return count(slot.map_or(0, |s| s.cache.in_namespace(namespace).count()));
    }
    if let Some((class, what)) = name.split_once(BY_CLASS) {
        return claims(view, namespace, what, Some(class));
    }
    match name {
        "persistentvolumeclaims" | "requests.storage" => claims(view, namespace, name, None),
        "services" | "services.loadbalancers" | "services.nodeports" => services(view, namespace, name),
        "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas" => {
            let slot = view.slots().find(|s| s.resource.group.is_empty() && s.resource.resource == name);
            count(slot.map_or(0, |s| s.cache.in_namespace(namespace).count()))
        }
        _ => of_pods(view, quota, name),
    }
}

fn claims(view: View<'_>, namespace: &str, what: &str, class: Option<&str>) -> Amount {
    let of_class = |c: &&PersistentVolumeClaim| {
        let named = c.spec.as_ref().and_then(|s| s.storage_class_name.as_deref());
        class.is_none() || named == class
    };
    let all: Vec<_> =
        view.all::<PersistentVolumeClaim>().filter(|c| c.namespace() == namespace).filter(of_class).collect();
    if what == "persistentvolumeclaims" {
        return count(all.len());
    }
    let requests =
        all.iter().filter_map(|c| c.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage"));
    sum(requests)
}

fn services(view: View<'_>, namespace: &str, what: &str) -> Amount {
    let all = view.all::<Service>().filter(|s| s.namespace() == namespace).filter_map(|s| s.spec.as_ref());
    let kind = |s: &api::core::v1::ServiceSpec| s.type_.clone().unwrap_or_default();
    match what {
        "services" => count(all.count()),
        "services.loadbalancers" => count(all.filter(|s| kind(s) == "LoadBalancer").count()),
        _ => {
            let exposed = all.filter(|s| {
                kind(s) == "NodePort"
                    || (kind(s) == "LoadBalancer" && s.allocate_load_balancer_node_ports != Some(false))
            });
            count(exposed.map(|s| s.ports.as_ref().map_or(0, Vec::len)).sum())
        }
    }
}

fn of_pods(view: View<'_>, quota: &ResourceQuota, name: &str) -> Amount {
    let counted =
        |p: &&Pod| !pods::is_terminal(p) && in_scope(quota, p) && p.namespace() == quota.namespace();
    let all = view.all::<Pod>().filter(counted);
    if name == "pods" {
        return count(all.count());
    }
    let (limits, resource) = match (name.strip_prefix("limits."), name.strip_prefix("requests.")) {
        (Some(resource), _) => (true, resource),
        (None, Some(resource)) => (false, resource),
        (None, None) => (false, name),
    };
    let mut total = count(0);
    for amount in all.filter_map(|p| asked(p.spec.as_ref()?, resource, limits)) {
        total.add(&amount);
    }
    total
}

/// What a pod asks for: its containers together, or its largest step of initialization if that is more.
fn asked(spec: &PodSpec, resource: &str, limits: bool) -> Option<Amount> {
    let of = |r: Option<&ResourceRequirements>| -> Option<Amount> {
        let r = r?;
        let list = if limits { r.limits.as_ref() } else { r.requests.as_ref() };
        Amount::parse(&list?.get(resource)?.0).ok()
    };
    let add = |total: &mut Option<Amount>, amount: Option<Amount>| {
        let Some(amount) = amount else { return };
        match total {
            Some(total) => total.add(&amount),
            None => *total = Some(amount),
        }
    };
    let (mut sidecars, mut largest) = (None, None::<Amount>);
    for container in spec.init_containers.iter().flatten() {
        let mut step = sidecars.clone();
        add(&mut step, of(container.resources.as_ref()));
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.clone_from(&step);
        }
        largest = largest.max(step);
    }
    let mut total = sidecars;
    for container in &spec.containers {
        add(&mut total, of(container.resources.as_ref()));
    }
    // What the pod says for itself stands before its containers.
    let mut total = of(spec.resources.as_ref()).or(total.max(largest));
    let overhead = spec.overhead.as_ref().and_then(|o| Amount::parse(&o.get(resource)?.0).ok());
    if total.is_some() || !limits {
        add(&mut total, overhead);
    }
    total
}

/// Whether a quota's scopes include a pod.
fn in_scope(quota: &ResourceQuota, pod: &Pod) -> bool {
    let Some(spec) = &quota.spec else { return false };
    let plain = spec.scopes.iter().flatten().all(|scope| matches(scope, "Exists", &[], pod));
    let terms = spec.scope_selector.iter().flat_map(|s| s.match_expressions.iter().flatten());
    let holds = |t: &ScopedResourceSelectorRequirement| {
        matches(&t.scope_name, &t.operator, t.values.as_deref().unwrap_or_default(), pod)
    };
    plain && terms.into_iter().all(holds)
}

fn matches(scope: &str, operator: &str, values: &[String], pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    let has_deadline = spec.is_some_and(|s| s.active_deadline_seconds.is_some_and(|d| d >= 0));
    let quality = pod.status.as_ref().and_then(|s| s.qos_class.as_deref());
    match scope {
        "Terminating" => has_deadline,
        "NotTerminating" => !has_deadline,
        "BestEffort" => quality == Some("BestEffort"),
        "NotBestEffort" => quality != Some("BestEffort"),
        "PriorityClass" => {
            let class = spec.and_then(|s| s.priority_class_name.as_deref()).unwrap_or_default();
            let listed = values.iter().any(|v| v == class);
            match operator {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => !class.is_empty(),
                "DoesNotExist" => class.is_empty(),
                _ => false,
            }
        }
        "CrossNamespacePodAffinity" => spec.is_some_and(crosses_namespaces),
        _ => false,
    }
}

/// Whether an affinity term looks into other namespaces.
fn crosses_namespaces(spec: &PodSpec) -> bool {
    let affinity = spec.affinity.as_ref();
    let pod = affinity.and_then(|a| a.pod_affinity.as_ref());
    let anti = affinity.and_then(|a| a.pod_anti_affinity.as_ref());
    let required = pod.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    let anti_required = anti.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    let preferred = pod.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
    let anti_preferred = anti.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
    let weighted = preferred.into_iter().chain(anti_preferred).flatten().map(|w| &w.pod_affinity_term);
    let mut terms = required.into_iter().chain(anti_required).flatten().chain(weighted);
    terms.any(|t| t.namespace_selector.is_some() || t.namespaces.as_ref().is_some_and(|n| !n.is_empty()))
}

/// The name by which quotas count this kind.
#[cfg(test)]
fn count_name<K: Kind>() -> String {
    format!("count/{}", Resource::of::<K>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use expect_test::expect;
    use serde_json::{Value, json};

    fn pod(name: &str, phase: &str, cpu: &str, init: &str) -> Value {
        let resources = |cpu: &str| json!({"requests": {"cpu": cpu}, "limits": {"memory": "1Gi"}});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "status": {"phase": phase},
            "spec": {"containers": [{"name": "a", "resources": resources(cpu)}, {"name": "b", "resources": resources(cpu)}],
                "initContainers": [{"name": "i", "resources": resources(init)}]}})
    }

    #[test]
    fn usage_is_added_up() {
        let deployments = count_name::<api::apps::v1::Deployment>();
        let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": {
            "pods": "10", "requests.cpu": "4", "cpu": "4", "limits.memory": "8Gi", "services": "1",
            "services.nodeports": "2", "requests.storage": "5Gi", deployments: "3"}}});
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
            "spec": {"type": "NodePort", "ports": [{"port": 1}, {"port": 2}]}});
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c"},
            "spec": {"resources": {"requests": {"storage": "1536Mi"}}}});
        let scene = Scene::new([
            quota,
            service,
            claim,
            pod("p", "Running", "250m", "1"),
            pod("q", "Pending", "1", "1"),
            pod("done", "Succeeded", "9", "9"),
        ]);
        expect![[r#"
            update/status resourcequotas x/q {"hard":{"count/deployments.apps":"3","cpu":"4","limits.memory":"8Gi","pods":"10","requests.cpu":"4","requests.storage":"5Gi","services":"1","services.nodeports":"2"},"used":{"count/deployments.apps":"0","cpu":"3","limits.memory":"4Gi","pods":"2","requests.cpu":"3","requests.storage":"1536Mi","services":"1","services.nodeports":"2"}}
        "#]].assert_eq(&scene.show(&ResourceQuotas, "x/q"));
    }
}

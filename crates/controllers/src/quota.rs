//! What is used of a namespace's quotas (`pkg/controller/resourcequota`).

use crate::pods;
use crate::volumes::class_of;
use api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimStatus, Pod, PodSpec, ResourceQuota, ResourceQuotaStatus,
    ResourceRequirements, Service,
};
use api::{Kind, MetaExt, Quantity, Stored};
use client::{Change, Key, Resource, View};
use jiff::Timestamp;
use meta::quantity::{Format, Quantity as Amount};
use meta::quota::{has_scopes, takes_claim, takes_pod};
use reconcile::{Controller, Cx, Plan, Watch, Write};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How a quota names the objects of one class.
const BY_CLASS: &str = ".storageclass.storage.k8s.io/";
/// How often everything is counted anew (`resource-quota-sync-period`): what was charged for an object that
/// was refused after all is given back then.
const SYNC: Duration = Duration::from_secs(300);

/// The controller.
pub(crate) struct ResourceQuotas;

impl Controller for ResourceQuotas {
    fn name(&self) -> &'static str {
        "resourcequota-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![
            Watch { kind: ResourceQuota::INFO, map: Box::new(key_of_quota) },
            Watch::only::<Pod>(),
            Watch::only::<Service>(),
            Watch::only::<PersistentVolumeClaim>(),
        ]
    }

    fn watches_everything(&self) -> bool {
        true
    }

    fn map_any(&self, view: View<'_>, resource: &Resource, change: &Change, keys: &mut Vec<Key>) {
        // What is new was charged by admission before it came; counting it before its cache shows it would
        // undo that.
        let Some(old) = &change.old else { return };
        if change.new.as_ref().is_none_or(|new| frees(resource, old, new)) {
            keys.extend(view.list::<ResourceQuota>(old.meta().namespace()).map(|q| Key::of(q)));
        }
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let Some(quota) = cx.view.at::<ResourceQuota>(cx.key).filter(|q| !q.is_deleting()) else {
            return Plan::done();
        };
        let hard = quota.spec.as_ref().and_then(|s| s.hard.clone()).unwrap_or_default();
        let used = hard.keys().map(|name| (name.clone(), Quantity(used(cx, quota, name).to_string())));
        let status = ResourceQuotaStatus { used: Some(used.collect()), hard: Some(hard) };
        let mut plan = Plan::later(SYNC);
        if lowers(quota.status.as_ref(), &status)
            && let Some(resource) = behind(cx.view, quota)
        {
            return Plan::after_refresh(resource);
        }
        if !same(quota.status.as_ref(), &status) {
            let (metadata, spec) = (quota.metadata.clone(), quota.spec.clone());
            plan.writes.push(Write::update_status(&ResourceQuota { metadata, spec, status: Some(status) }));
        }
        plan
    }
}

/// A quota that is new or asks for something else. Its status is changed by each admission: that is not for us.
fn key_of_quota(_: View<'_>, change: &Change, keys: &mut Vec<Key>) {
    let spec = |o: &Arc<dyn Stored>| {
        let quota = o.as_any().downcast_ref::<ResourceQuota>();
        // Used amounts come from admission; the limits in the status are ours alone.
        let limits = |q: &ResourceQuota| q.status.as_ref().and_then(|s| s.hard.clone());
        quota.map(|q| (q.metadata.uid.clone(), q.spec.clone(), limits(q)))
    };
    let Some(new) = &change.new else { return };
    if change.old.as_ref().is_none_or(|old| spec(old) != spec(new)) {
        keys.push(Key::of(&**new));
    }
}

/// Whether the change of an object may free what it used.
fn frees(resource: &Resource, old: &Arc<dyn Stored>, new: &Arc<dyn Stored>) -> bool {
    match (&*resource.group, &*resource.resource) {
        ("", "pods") => differ::<Pod, _>(old, new, |p| (pods::is_terminal(p), p.spec.clone())),
        ("", "services") => differ::<Service, _>(old, new, |s| s.spec.clone()),
        // What was allocated counts, and the class of attributes says for which quota.
        ("", "persistentvolumeclaims") => differ::<PersistentVolumeClaim, _>(old, new, |c| {
            let part = |s: &PersistentVolumeClaimStatus| {
                let classes =
                    (s.current_volume_attributes_class_name.clone(), s.modify_volume_status.clone());
                (s.allocated_resources.clone(), classes)
            };
            (c.spec.clone(), c.status.as_ref().map(part))
        }),
        _ => false,
    }
}

fn differ<K: Kind, T: PartialEq>(
    old: &Arc<dyn Stored>,
    new: &Arc<dyn Stored>,
    part: impl Fn(&K) -> T,
) -> bool {
    let of = |o: &Arc<dyn Stored>| o.as_any().downcast_ref::<K>().map(&part);
    of(old) != of(new)
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

/// Whether less is counted than was charged.
fn lowers(old: Option<&ResourceQuotaStatus>, new: &ResourceQuotaStatus) -> bool {
    let amount = |q: Option<&Quantity>| q.and_then(|q| Amount::parse(&q.0).ok()).unwrap_or_default();
    let old = old.and_then(|s| s.used.as_ref());
    new.used.iter().flatten().any(|(name, q)| amount(Some(q)) < amount(old.and_then(|u| u.get(name))))
}

/// A resource that is counted and whose cache is older than the quota: something may have been charged that it doesn't
/// show yet, and to count without it would let in one too many.
fn behind(view: View<'_>, quota: &ResourceQuota) -> Option<Resource> {
    let names = quota.spec.as_ref().and_then(|s| s.hard.as_ref()).into_iter().flatten();
    let mut counted = names.filter_map(|(name, _)| {
        let resource = counted_resource(name);
        view.slots().find(|s| s.resource.to_string() == resource)
    });
    counted.find(|slot| slot.cache.revision() < quota.revision()).map(|slot| slot.resource.clone())
}

/// The resource whose objects an amount of a quota is made of, as `deployments.apps`.
fn counted_resource(name: &str) -> &str {
    match name {
        "persistentvolumeclaims" | "requests.storage" => "persistentvolumeclaims",
        "services" | "services.loadbalancers" | "services.nodeports" => "services",
        "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas" => name,
        _ if name.contains(BY_CLASS) => "persistentvolumeclaims",
        _ => name.strip_prefix("count/").unwrap_or("pods"),
    }
}

fn count(n: usize) -> Amount {
    Amount::from_int(i64::try_from(n).unwrap_or(i64::MAX), Format::DecimalSi)
}

/// What the quota says of itself, as [`meta::quota`] reads it.
fn wanted(quota: &ResourceQuota) -> Value {
    json!(quota.spec)
}

/// Which pods the quota is about.
fn pods_of(quota: &ResourceQuota) -> impl Fn(&&Pod) -> bool {
    let wanted = wanted(quota);
    let scoped = has_scopes(&wanted);
    move |pod| !scoped || takes_pod(&wanted, &json!(pod.spec))
}

/// How much of one named resource the namespace uses. A quota with scopes is about nothing but what can be in
/// them: pods, and claims by their attributes.
fn used(cx: &Cx<'_>, quota: &ResourceQuota, name: &str) -> Amount {
    let view = cx.view;
    let namespace = quota.namespace();
    let scoped = has_scopes(&wanted(quota));
    if let Some(counted) = name.strip_prefix("count/") {
        return match counted {
            "pods" => count(view.list::<Pod>(namespace).filter(pods_of(quota)).count()),
            "persistentvolumeclaims" => claims(view, quota, counted, None),
            _ if scoped => count(0),
            _ => stored(view, namespace, counted),
        };
    }
    if let Some((class, what)) = name.split_once(BY_CLASS) {
        return claims(view, quota, what, Some(class));
    }
    match name {
        "persistentvolumeclaims" | "requests.storage" => claims(view, quota, name, None),
        "services" | "services.loadbalancers" | "services.nodeports" if scoped => count(0),
        "services" | "services.loadbalancers" | "services.nodeports" => services(view, namespace, name),
        "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas" if scoped => count(0),
        "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas" => {
            stored(view, namespace, name)
        }
        _ => of_pods(cx, quota, name),
    }
}

/// How many objects there are of `deployments.apps`.
fn stored(view: View<'_>, namespace: &str, resource: &str) -> Amount {
    let slot = view.slots().find(|s| s.resource.to_string() == resource);
    count(slot.map_or(0, |s| s.cache.in_namespace(namespace).count()))
}

fn claims(view: View<'_>, quota: &ResourceQuota, what: &str, class: Option<&str>) -> Amount {
    let all = view.list::<PersistentVolumeClaim>(quota.namespace());
    let wanted = wanted(quota);
    let scoped = has_scopes(&wanted);
    let is_in_scope = |c: &PersistentVolumeClaim| !scoped || takes_claim(&wanted, &json!(c));
    let all = all.filter(|c| class.is_none_or(|class| class_of(*c) == class) && is_in_scope(c));
    if what == "persistentvolumeclaims" {
        return count(all.count());
    }
    let mut total = Amount::from_int(0, Format::BinarySi);
    all.filter_map(size).for_each(|size| total.add(&size));
    total
}

/// What a claim takes: an expansion that was begun and then asked back still holds what was allocated.
fn size(claim: &PersistentVolumeClaim) -> Option<Amount> {
    let storage =
        |m: Option<&BTreeMap<String, Quantity>>| m?.get("storage").and_then(|q| Amount::parse(&q.0).ok());
    let asked = storage(claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref())?;
    let allocated = storage(claim.status.as_ref().and_then(|s| s.allocated_resources.as_ref()));
    let size = allocated.filter(|a| *a > asked).unwrap_or(asked);
    // Quotas count whole bytes.
    Some(Amount::from_int(size.value(), size.format()))
}

fn services(view: View<'_>, namespace: &str, what: &str) -> Amount {
    let all = view.list::<Service>(namespace).filter_map(|s| s.spec.as_ref());
    let kind = |s: &api::core::v1::ServiceSpec| s.type_.clone().unwrap_or_default();
    match what {
        "services" => count(all.count()),
        "services.loadbalancers" => count(all.filter(|s| kind(s) == "LoadBalancer").count()),
        _ => count(
            all.map(|s| {
                let ports = s.ports.as_deref().unwrap_or_default();
                let fixed = ports.iter().filter(|p| p.node_port.is_some_and(|n| n != 0)).count();
                match kind(s).as_str() {
                    "LoadBalancer" if s.allocate_load_balancer_node_ports == Some(false) => fixed,
                    "NodePort" | "LoadBalancer" => ports.len(),
                    _ => 0,
                }
            })
            .sum(),
        ),
    }
}

/// A pod that has ended, or should have by now, uses nothing but its place in the store (`QuotaV1Pod`).
fn of_pods(cx: &Cx<'_>, quota: &ResourceQuota, name: &str) -> Amount {
    let counted = |p: &&Pod| !pods::is_terminal(p) && !is_overdue(p, cx.now);
    let all = cx.view.list::<Pod>(quota.namespace()).filter(counted).filter(pods_of(quota));
    if name == "pods" {
        return count(all.count());
    }
    let (limits, resource) = match (name.strip_prefix("limits."), name.strip_prefix("requests.")) {
        (Some(resource), _) => (true, resource),
        (None, Some(resource)) => (false, resource),
        (None, None) => (false, name),
    };
    let mut total: Option<Amount> = None;
    for amount in all.filter_map(|p| asked(p.spec.as_ref()?, resource, limits)) {
        match &mut total {
            Some(total) => total.add(&amount),
            None => total = Some(amount),
        }
    }
    total.unwrap_or_else(|| count(0))
}

fn is_overdue(pod: &Pod, now: Timestamp) -> bool {
    let meta = &pod.metadata;
    let (Some(at), Some(grace)) = (&meta.deletion_timestamp, meta.deletion_grace_period_seconds) else {
        return false;
    };
    at.0.as_second().saturating_add(grace) < now.as_second()
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
    let whole = matches!(resource, "cpu" | "memory") || resource.starts_with("hugepages-");
    let whole = spec.resources.as_ref().filter(|_| whole);
    let mut total = of(whole).or(total.max(largest));
    let overhead = spec.overhead.as_ref().and_then(|o| Amount::parse(&o.get(resource)?.0).ok());
    if total.is_some() || !limits {
        add(&mut total, overhead);
    }
    total
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
            again in 300 s
        "#]].assert_eq(&scene.show(&ResourceQuotas, "x/q"));
    }

    fn quota(spec: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": spec})
    }

    fn used_of(spec: Value, objects: impl IntoIterator<Item = Value>) -> String {
        let scene = Scene::new(objects.into_iter().chain([quota(spec)]));
        let plan = scene.plan(&ResourceQuotas, "x/q");
        let body: Value = serde_json::from_slice(&plan.writes[0].body).unwrap_or_default();
        body["status"]["used"].to_string()
    }

    #[test]
    fn scopes_say_which_pods_count() {
        let best = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "best"},
            "spec": {"containers": [{"name": "a"}], "priorityClassName": "high", "activeDeadlineSeconds": 5}});
        let pods = || [pod("p", "Running", "250m", "1"), best.clone()];
        let of = |spec: Value| used_of(spec, pods());
        expect![[r#"{"count/pods":"1","pods":"1","services":"0"}"#]].assert_eq(&of(
            json!({"hard": {"pods": "9", "count/pods": "9", "services": "9"}, "scopes": ["BestEffort"]}),
        ));
        expect![[r#"{"pods":"1","requests.cpu":"1"}"#]].assert_eq(&of(json!({"hard": {"pods": "9", "requests.cpu": "9"}, "scopes": ["NotBestEffort", "NotTerminating"]})));
        let selector = |operator: &str, values: Value| {
            json!({"hard": {"pods": "9"}, "scopeSelector": {"matchExpressions": [
                {"scopeName": "PriorityClass", "operator": operator, "values": values}]}})
        };
        expect![[r#"{"pods":"1"}"#]].assert_eq(&of(selector("In", json!(["high"]))));
        expect![[r#"{"pods":"1"}"#]].assert_eq(&of(selector("DoesNotExist", json!([]))));
    }

    #[test]
    fn claims_count_what_they_hold() {
        let claim = |name: &str, class: &str, asked: &str, allocated: Value| {
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
                "spec": {"storageClassName": class, "resources": {"requests": {"storage": asked}}},
                "status": {"allocatedResources": allocated}})
        };
        let claims =
            [claim("a", "fast", "1Gi", json!({"storage": "3Gi"})), claim("b", "slow", "1Gi", Value::Null)];
        let hard = json!({"hard": {"requests.storage": "9Gi", "persistentvolumeclaims": "9",
            "fast.storageclass.storage.k8s.io/requests.storage": "9Gi",
            "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "9"}});
        expect![[r#"{"fast.storageclass.storage.k8s.io/persistentvolumeclaims":"1","fast.storageclass.storage.k8s.io/requests.storage":"3Gi","persistentvolumeclaims":"2","requests.storage":"4Gi"}"#]].assert_eq(&used_of(hard, claims));
    }

    #[test]
    fn node_ports_count_where_they_are() {
        let service = |name: &str, kind: &str, allocate: Value| {
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"type": kind,
                "allocateLoadBalancerNodePorts": allocate, "ports": [{"port": 1, "nodePort": 30000}, {"port": 2}]}})
        };
        let services = [
            service("a", "LoadBalancer", json!(false)),
            service("b", "LoadBalancer", Value::Null),
            service("c", "ClusterIP", Value::Null),
        ];
        let hard =
            json!({"hard": {"services": "9", "services.nodeports": "9", "services.loadbalancers": "9"}});
        expect![[r#"{"services":"3","services.loadbalancers":"2","services.nodeports":"3"}"#]]
            .assert_eq(&used_of(hard, services));
    }

    #[test]
    fn admissions_charge_is_not_undone() {
        let decode = |v: &Value| (ResourceQuota::INFO.decode)(v.to_string().as_bytes()).expect("a quota");
        let (plain, mut charged) =
            (quota(json!({"hard": {"pods": "1"}})), quota(json!({"hard": {"pods": "1"}})));
        charged["status"] = json!({"used": {"pods": "1"}});
        let raised = quota(json!({"hard": {"pods": "2"}}));
        let scene = Scene::new([plain.clone()]);
        let keys = |old: &Value, new: &Value| {
            let mut keys = Vec::new();
            let change = Change { old: Some(decode(old)), new: Some(decode(new)) };
            scene.map(|view| key_of_quota(view, &change, &mut keys));
            keys.len()
        };
        assert_eq!((keys(&plain, &charged), keys(&plain, &raised)), (0, 1));
        let pods = Resource::of::<Pod>();
        let decode = |v: &Value| (Pod::INFO.decode)(v.to_string().as_bytes()).expect("a pod");
        let state = |phase: &str| {
            let mut pod = pod("p", phase, "1", "1");
            pod["metadata"]["namespace"] = "x".into();
            Some(decode(&pod))
        };
        let keys = |old: Option<Arc<dyn Stored>>, new: Option<Arc<dyn Stored>>| {
            let mut keys = Vec::new();
            let change = Change { old, new };
            scene.map(|view| ResourceQuotas.map_any(view, &pods, &change, &mut keys));
            keys.len()
        };
        assert_eq!(keys(None, state("Pending")), 0);
        assert_eq!(keys(state("Pending"), state("Running")), 0);
        assert_eq!(keys(state("Running"), state("Failed")), 1);
        assert_eq!(keys(state("Running"), None), 1);
        let claims = Resource::of::<PersistentVolumeClaim>();
        let claim = |class: &str| {
            let v = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "x"},
                "status": {"currentVolumeAttributesClassName": class}});
            (PersistentVolumeClaim::INFO.decode)(v.to_string().as_bytes()).expect("a claim")
        };
        let mut keys = Vec::new();
        let change = Change { old: Some(claim("gold")), new: Some(claim("silver")) };
        scene.map(|view| ResourceQuotas.map_any(view, &claims, &change, &mut keys));
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn what_was_charged_is_not_given_back_before_it_could_be_seen() {
        let mut charged = quota(json!({"hard": {"pods": "2"}}));
        charged["metadata"]["resourceVersion"] = "9".into();
        charged["status"] = json!({"hard": {"pods": "2"}, "used": {"pods": "1"}});
        let mut scene = Scene::new([charged]);
        assert_eq!(scene.show(&ResourceQuotas, "x/q"), "again in 1 s\n");
        scene.caught_up(9);
        assert!(scene.show(&ResourceQuotas, "x/q").contains(r#""used":{"pods":"0"}"#));
    }

    #[test]
    fn each_amount_is_counted_from_one_resource() {
        for (name, resource) in [
            ("requests.cpu", "pods"),
            ("count/deployments.apps", "deployments.apps"),
            ("configmaps", "configmaps"),
            ("services.nodeports", "services"),
            ("fast.storageclass.storage.k8s.io/requests.storage", "persistentvolumeclaims"),
        ] {
            assert_eq!(counted_resource(name), resource);
        }
    }
}

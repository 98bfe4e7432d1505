//! What an object uses of which resource (`pkg/quota/v1/evaluator/core`, `k8s.io/apiserver/pkg/quota/v1/generic`).

use crate::json::{Resources, add, at, items, pod_resources, resources, spec, text};
use crate::plugins::pvc_resize::class_of;
use crate::{Operation, Request};
use meta::Object;
use meta::quantity::{Format, Quantity};
use meta::quota::has_deadline;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const BY_CLASS: &str = ".storageclass.storage.k8s.io/";
/// Resources that each container must set where a quota counts them. Upstream calls the list a mistake that
/// must not grow.
const REQUIRED: [&str; 6] =
    ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
/// Resources of containers, and those that are counted for their limits too.
const COMPUTE: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

/// How objects of one resource are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pod,
    Service,
    Claim,
    /// Everything else counts one, under a second, older name for a few.
    Count(Option<&'static str>),
}

/// Counts the objects of one resource.
#[derive(Debug)]
pub(super) struct Evaluator {
    pub(super) kind: Kind,
    /// `count/deployments.apps`
    count: String,
}

fn one(n: i64) -> Quantity {
    Quantity::from_int(n, Format::DecimalSi)
}

impl Evaluator {
    pub(super) fn of(r: &Request) -> Self {
        let (group, resource) = (r.resource.group.as_str(), r.resource.resource.as_str());
        let kind = match (group, resource) {
            ("", "pods") => Kind::Pod,
            ("", "services") => Kind::Service,
            ("", "persistentvolumeclaims") => Kind::Claim,
            ("", "configmaps") => Kind::Count(Some("configmaps")),
            ("", "resourcequotas") => Kind::Count(Some("resourcequotas")),
            ("", "replicationcontrollers") => Kind::Count(Some("replicationcontrollers")),
            ("", "secrets") => Kind::Count(Some("secrets")),
            _ => Kind::Count(None),
        };
        let count =
            if group.is_empty() { format!("count/{resource}") } else { format!("count/{resource}.{group}") };
        Self { kind, count }
    }

    /// Whether the write can change what is used.
    pub(super) fn handles(&self, r: &Request) -> bool {
        let create = r.operation == Operation::Create && r.subresource.is_empty();
        let update = r.operation == Operation::Update;
        match self.kind {
            // Events live in a rush, and reviews aren't stored: neither is counted.
            Kind::Count(_) => create && !r.is_any("", "events") && !r.is_any("events.k8s.io", "events"),
            Kind::Service => create || (update && r.subresource.is_empty()),
            Kind::Claim => create || (update && matches!(r.subresource.as_str(), "" | "status")),
            Kind::Pod if update && r.subresource.is_empty() => {
                let ends = |o: &Option<Object>| o.as_ref().is_some_and(|o| has_deadline(spec(o)));
                ends(&r.object) != ends(&r.old)
            }
            Kind::Pod => create || (update && r.subresource == "resize"),
        }
    }

    /// Whether a quota's resource is one that these objects use.
    pub(super) fn counts(&self, name: &str) -> bool {
        if name == self.count {
            return true;
        }
        match self.kind {
            Kind::Count(alias) => alias == Some(name),
            Kind::Service => matches!(name, "services" | "services.loadbalancers" | "services.nodeports"),
            Kind::Claim => {
                let name = name.split_once(BY_CLASS).map_or(name, |(_, name)| name);
                matches!(name, "persistentvolumeclaims" | "requests.storage")
            }
            Kind::Pod => {
                let plain =
                    name.strip_prefix("requests.").or_else(|| name.strip_prefix("limits.")).unwrap_or(name);
                name == "pods"
                    || COMPUTE.contains(&plain)
                    || plain.starts_with("hugepages-") && !name.starts_with("limits.")
                    || name.strip_prefix("requests.").is_some_and(is_extended)
            }
        }
    }

    /// What the object uses.
    pub(super) fn usage(&self, object: &Object) -> Resources {
        let mut used = Resources::from([(self.count.clone(), one(1))]);
        match self.kind {
            Kind::Count(alias) => used.extend(alias.map(|name| (name.to_owned(), one(1)))),
            Kind::Service => used.extend(service(spec(object))),
            Kind::Claim => used.extend(claim(object)),
            // A pod that has ended uses nothing but its place in the store.
            Kind::Pod if matches!(object.str(&["status", "phase"]), "Failed" | "Succeeded") => {}
            Kind::Pod => {
                let spec = spec(object);
                let (mut requests, mut limits) =
                    (pod_resources(spec, "requests"), pod_resources(spec, "limits"));
                let overhead = resources(spec, &["overhead"]);
                add(&mut requests, &overhead);
                // Overhead raises only limits that are set.
                let limited = overhead.into_iter().filter(|(name, _)| limits.contains_key(name)).collect();
                add(&mut limits, &limited);
                used.extend(compute(&requests, &limits));
            }
        }
        used
    }

    /// Upstream's sentence if a container leaves open what a quota counts.
    pub(super) fn missing(&self, concerned: &[&str], object: &Object) -> Option<String> {
        let spec = spec(object);
        if self.kind != Kind::Pod || has_pod_level(spec) {
            return None;
        }
        let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let ordinary = items(spec, &["containers"]).iter().chain(items(spec, &["initContainers"]));
        for container in ordinary {
            let of = |kind| resources(container, &["resources", kind]);
            let set = compute(&of("requests"), &of("limits"));
            let required = concerned.iter().filter(|n| REQUIRED.contains(n) && !set.contains_key(**n));
            for name in required {
                missing.entry(name).or_default().insert(text(container, &["name"]));
            }
        }
        let parts = missing.into_iter().map(|(name, containers)| {
            format!("{name} for: {}", containers.into_iter().collect::<Vec<_>>().join(","))
        });
        let parts: Vec<String> = parts.collect();
        (!parts.is_empty()).then(|| format!("must specify {}", parts.join("; ")))
    }
}

fn has_pod_level(spec: &Value) -> bool {
    ["requests", "limits"]
        .iter()
        .any(|k| at(spec, &["resources", k]).as_object().is_some_and(|m| !m.is_empty()))
}

/// Names with a domain that is not Kubernetes' own.
fn is_extended(name: &str) -> bool {
    name.split_once('/').is_some_and(|(domain, _)| {
        domain == "deviceclass.resource.kubernetes.io"
            || (domain != "kubernetes.io" && !domain.ends_with(".kubernetes.io"))
    })
}

fn compute(requests: &Resources, limits: &Resources) -> Resources {
    let mut used = Resources::from([("pods".to_owned(), one(1))]);
    for (name, q) in requests {
        if COMPUTE.contains(&name.as_str()) || name.starts_with("hugepages-") {
            used.insert(name.clone(), q.clone());
            used.insert(format!("requests.{name}"), q.clone());
        } else if is_extended(name) {
            used.insert(format!("requests.{name}"), q.clone());
        }
    }
    for (name, q) in limits.iter().filter(|(name, _)| COMPUTE.contains(&name.as_str())) {
        used.insert(format!("limits.{name}"), q.clone());
    }
    used
}

fn service(spec: &Value) -> Resources {
    let ports = items(spec, &["ports"]);
    let all = i64::try_from(ports.len()).unwrap_or(i64::MAX);
    let kind = text(spec, &["type"]);
    let node_ports = match kind {
        "NodePort" => all,
        "LoadBalancer" if at(spec, &["allocateLoadBalancerNodePorts"]) == &Value::Bool(false) => {
            let fixed = ports.iter().filter(|p| at(p, &["nodePort"]).as_i64().is_some_and(|n| n != 0));
            i64::try_from(fixed.count()).unwrap_or(i64::MAX)
        }
        "LoadBalancer" => all,
        _ => 0,
    };
    [
        ("services", 1),
        ("services.nodeports", node_ports),
        ("services.loadbalancers", i64::from(kind == "LoadBalancer")),
    ]
    .into_iter()
    .map(|(name, n)| (name.to_owned(), one(n)))
    .collect()
}

fn claim(claim: &Object) -> Resources {
    let mut used = Resources::from([("persistentvolumeclaims".to_owned(), one(1))]);
    let asked = resources(spec(claim), &["resources", "requests"]).remove("storage");
    let allocated = claim.get(&["status", "allocatedResources", "storage"]).and_then(crate::json::quantity);
    // An expansion that was begun and then asked back still holds what was allocated.
    let size = asked.map(|asked| allocated.filter(|a| *a > asked).unwrap_or(asked));
    if let Some(size) = size {
        // Quotas count whole bytes.
        let whole = size.cmp_int(size.value()).is_eq();
        let size = if whole { size } else { Quantity::from_int(size.value(), size.format()) };
        used.insert("requests.storage".to_owned(), size);
    }
    let class = class_of(claim);
    if !class.is_empty() {
        let scoped: Vec<_> = used.iter().map(|(n, q)| (format!("{class}{BY_CLASS}{n}"), q.clone())).collect();
        used.extend(scoped);
    }
    used
}

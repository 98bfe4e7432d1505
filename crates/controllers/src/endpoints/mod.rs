//! Which pods stand behind a Service (`k8s.io/endpointslice`, `pkg/controller/endpoint`).

mod legacy;
mod mirror;
mod slices;

pub(crate) use legacy::EndpointsObjects;
pub(crate) use mirror::EndpointSliceMirror;
pub(crate) use slices::EndpointSlices;

use crate::pods;
use api::core::v1::{ObjectReference, Pod, Service, ServicePort, ServiceSpec};
use api::{IntOrString, MetaExt, names};
use client::{Key, View};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The Services that select `pod`.
pub(crate) fn keys_of_pod(view: View<'_>, pod: &Pod, keys: &mut Vec<Key>) {
    let selects = |s: &&Service| selector(s).is_some_and(|all| is_subset(all, pod.labels()));
    keys.extend(view.list::<Service>(pod.namespace()).filter(selects).map(|s| Key::of(s)));
}

/// The selector of a Service that gets its endpoints from here; none for those that don't.
fn selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    spec.selector.as_ref().filter(|s| !s.is_empty())
}

fn is_subset(of: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    of.iter().all(|(k, v)| labels.get(k) == Some(v))
}

/// The pods that `service` selects.
fn selected<'a>(view: View<'a>, service: &'a Service) -> impl Iterator<Item = &'a Pod> {
    let wanted = selector(service);
    let pods = view.list::<Pod>(service.namespace());
    pods.filter(move |pod| wanted.is_some_and(|all| is_subset(all, pod.labels())))
}

/// Whether a pod is an endpoint at all: it has an address and has not ended.
fn is_endpoint(pod: &Pod, include_terminating: bool) -> bool {
    let addressed = pod.status.as_ref().is_some_and(|s| s.pod_ip.as_ref().is_some_and(|ip| !ip.is_empty()));
    addressed && !pods::is_terminal(pod) && (include_terminating || !pod.is_deleting())
}

/// The pod's addresses of one family.
fn addresses(pod: &Pod, ipv6: bool) -> Vec<String> {
    let status = pod.status.as_ref();
    let first = status.and_then(|s| s.pod_ip.as_deref());
    let listed = status.into_iter().flat_map(|s| s.pod_ips.iter().flatten()).map(|ip| ip.ip.as_str());
    let mut all: Vec<&str> = listed.collect();
    if all.is_empty() {
        all.extend(first);
    }
    let of_family = |ip: &&str| ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6() == ipv6);
    all.into_iter().filter(of_family).map(str::to_owned).collect()
}

/// Whether the Service has no virtual address.
fn is_headless(spec: &ServiceSpec) -> bool {
    matches!(spec.cluster_ip.as_deref(), None | Some("" | names::CLUSTER_IP_NONE))
}

/// The number of a Service's port at one pod; none where the pod has no port of that name (`FindPort`).
fn find_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let name = match &port.target_port {
        None => return Some(port.port),
        Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(n)) => return Some(*n),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    let same = |p: &&api::core::v1::ContainerPort| {
        p.name.as_deref() == Some(name) && p.protocol.as_deref().unwrap_or("TCP") == protocol
    };
    ports.into_iter().find(same).map(|p| p.container_port)
}

/// The pod as the target of an endpoint.
fn target(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The pod's host name, if this Service gives it a DNS name.
fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let named = spec.subdomain.as_deref() == Some(service.name());
    spec.hostname.clone().filter(|h| named && !h.is_empty())
}

/// The node that the pod is on, if it is on one.
fn node_name(pod: &Pod) -> Option<String> {
    Some(pods::node(pod)).filter(|n| !n.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests;

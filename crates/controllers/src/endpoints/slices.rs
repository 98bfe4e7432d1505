//! EndpointSlices of Services with a selector (`k8s.io/endpointslice/reconciler.go`).

use super::{
    addresses, find_port, hostname, is_endpoint, is_headless, keys_of_pod, node_name, selected, selector,
    target,
};
use crate::pods;
use api::core::v1::{Node, Pod, Service, ServiceSpec};
use api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone,
};
use api::kinds::controller_ref;
use api::{Kind, MetaExt, ObjectMeta, names};
use client::{Key, View};
use reconcile::{Controller, Cx, Plan, Watch, Write};
use std::collections::{BTreeMap, VecDeque};

/// Endpoints in one slice (`--max-endpoints-per-slice`).
const MAX_ENDPOINTS: usize = 100;
/// Labels that a Service can't pass on.
const RESERVED: [&str; 3] =
    [names::LABEL_SERVICE_NAME, names::LABEL_ENDPOINT_SLICE_MANAGED_BY, names::LABEL_SERVICE_HEADLESS];

/// The controller.
pub(crate) struct EndpointSlices;

impl Controller for EndpointSlices {
    fn name(&self) -> &'static str {
        "endpoint-slice-controller"
    }

    fn account(&self) -> &'static str {
        "endpointslice-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![
            Watch::own::<Service>(),
            Watch::each::<Pod>(keys_of_pod),
            Watch::each::<EndpointSlice>(keys_of_slice),
            Watch::only::<Node>(),
        ]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let service = cx.view.at::<Service>(cx.key).filter(|s| !s.is_deleting());
        match service {
            Some(service) if selector(service).is_some() => plan(cx.view, service),
            // Without a Service the garbage collector takes the slices; without a selector they are others'.
            _ => Plan::done(),
        }
    }
}

fn keys_of_slice(_: View<'_>, slice: &EndpointSlice, keys: &mut Vec<Key>) {
    if is_ours(slice) {
        keys.extend(slice.label(names::LABEL_SERVICE_NAME).map(|name| Key::new(slice.namespace(), name)));
    }
}

fn is_ours(slice: &EndpointSlice) -> bool {
    slice.label(names::LABEL_ENDPOINT_SLICE_MANAGED_BY) == Some(names::ENDPOINT_SLICE_CONTROLLER)
}

/// The slices that `service` has from `manager`.
pub(super) fn slices_of<'a>(
    view: View<'a>,
    service: &'a str,
    namespace: &'a str,
    manager: &'static str,
) -> impl Iterator<Item = &'a EndpointSlice> {
    view.list::<EndpointSlice>(namespace).filter(move |s| {
        s.label(names::LABEL_SERVICE_NAME) == Some(service)
            && s.label(names::LABEL_ENDPOINT_SLICE_MANAGED_BY) == Some(manager)
            && !s.is_deleting()
    })
}

/// Endpoints with the same ports and family.
type Groups = BTreeMap<String, (Vec<EndpointPort>, VecDeque<Endpoint>)>;

fn plan(view: View<'_>, service: &Service) -> Plan {
    let Some(spec) = &service.spec else { return Plan::done() };
    let existing: Vec<&EndpointSlice> =
        slices_of(view, service.name(), service.namespace(), names::ENDPOINT_SLICE_CONTROLLER).collect();
    let families = families(spec);
    let mut plan = Plan::default();
    for family in &families {
        let of_family = existing.iter().copied().filter(|s| s.address_type == *family).collect();
        let groups = groups(view, service, spec, *family == "IPv6");
        let by = (service, names::ENDPOINT_SLICE_CONTROLLER);
        let template = blank(service, by, labels(service, spec), family);
        plan.writes.extend(reconcile_slices(&template, groups, of_family));
    }
    let others = existing.iter().filter(|s| !families.contains(&s.address_type.as_str()));
    plan.writes.extend(others.map(|s| Write::delete(*s)));
    plan
}

fn families(spec: &ServiceSpec) -> Vec<&str> {
    let named: Vec<&str> = spec.ip_families.iter().flatten().map(String::as_str).collect();
    if !named.is_empty() {
        return named;
    }
    let v6 = spec.cluster_ip.as_deref().is_some_and(|ip| ip.contains(':'));
    vec![if v6 { "IPv6" } else { "IPv4" }]
}

/// The labels of a Service's slices, besides whose they are.
fn labels(service: &Service, spec: &ServiceSpec) -> BTreeMap<String, String> {
    let mut labels = service.labels().clone();
    labels.retain(|k, _| !RESERVED.contains(&k.as_str()));
    if is_headless(spec) {
        labels.insert(names::LABEL_SERVICE_HEADLESS.to_owned(), String::new());
    }
    labels
}

/// A slice of `service` without endpoints and ports, owned by what it is made from.
pub(super) fn blank<O: Kind>(
    service: &Service,
    (owner, manager): (&O, &str),
    mut labels: BTreeMap<String, String>,
    family: &str,
) -> EndpointSlice {
    labels.insert(names::LABEL_SERVICE_NAME.to_owned(), service.name().to_owned());
    labels.insert(names::LABEL_ENDPOINT_SLICE_MANAGED_BY.to_owned(), manager.to_owned());
    EndpointSlice {
        address_type: family.to_owned(),
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", service.name())),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_ref(owner)]),
            ..ObjectMeta::default()
        },
        endpoints: Some(Vec::new()),
        ports: None,
    }
}

fn groups(view: View<'_>, service: &Service, spec: &ServiceSpec, ipv6: bool) -> Groups {
    let mut groups = Groups::new();
    for pod in selected(view, service).filter(|p| is_endpoint(p, true)) {
        let addresses = addresses(pod, ipv6);
        if addresses.is_empty() {
            continue;
        }
        let ports = ports(pod, spec);
        let group = groups.entry(ports_key(Some(&ports))).or_insert_with(|| (ports, VecDeque::new()));
        group.1.push_back(endpoint(view, pod, service, spec, addresses));
    }
    groups
}

fn ports(pod: &Pod, spec: &ServiceSpec) -> Vec<EndpointPort> {
    let ports = spec.ports.iter().flatten();
    let found = ports.filter_map(|p| {
        Some(EndpointPort {
            name: Some(p.name.clone().unwrap_or_default()),
            port: Some(find_port(pod, p)?),
            protocol: Some(p.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: p.app_protocol.clone(),
        })
    });
    found.collect()
}

/// The same for the same ports in any order.
pub(super) fn ports_key(ports: Option<&Vec<EndpointPort>>) -> String {
    let text = |p: &EndpointPort| {
        let name = p.name.as_deref().unwrap_or_default();
        let protocol = p.protocol.as_deref().unwrap_or("TCP");
        format!("{name}/{:?}/{protocol}/{:?}", p.port, p.app_protocol)
    };
    let mut all: Vec<String> = ports.into_iter().flatten().map(text).collect();
    all.sort();
    all.join(",")
}

fn endpoint(
    view: View<'_>,
    pod: &Pod,
    service: &Service,
    spec: &ServiceSpec,
    addresses: Vec<String>,
) -> Endpoint {
    let (serving, terminating) = (pods::is_ready(pod), pod.is_deleting());
    let published = spec.publish_not_ready_addresses == Some(true);
    let node = node_name(pod);
    let zone = node.as_deref().and_then(|n| view.get::<Node>("", n)).and_then(|n| n.label(names::LABEL_ZONE));
    let zone = zone.filter(|z| !z.is_empty());
    let ready = published || (serving && !terminating);
    Endpoint {
        addresses,
        hints: if ready { hints(spec, zone, node.as_deref()) } else { None },
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(pod, service),
        zone: zone.map(str::to_owned),
        node_name: node,
        target_ref: Some(target(pod)),
        ..Endpoint::default()
    }
}

/// For whom a ready endpoint is meant first (`spec.trafficDistribution`; `endpointslice/trafficdist`).
fn hints(spec: &ServiceSpec, zone: Option<&str>, node: Option<&str>) -> Option<EndpointHints> {
    let near = spec.traffic_distribution.as_deref()?;
    let named = matches!(near, "PreferClose" | "PreferSameZone" | "PreferSameNode");
    let for_zones = zone.map(|z| vec![ForZone { name: z.to_owned() }]);
    let node = node.filter(|_| near == "PreferSameNode");
    let for_nodes = node.map(|n| vec![ForNode { name: n.to_owned() }]);
    let any = for_zones.is_some() || for_nodes.is_some();
    (named && any).then_some(EndpointHints { for_nodes, for_zones })
}

/// What stays the same about an endpoint when its state changes.
fn identity(e: &Endpoint) -> (Option<&str>, &[String]) {
    (e.target_ref.as_ref().and_then(|t| t.uid.as_deref()), &e.addresses)
}

/// The writes by which `existing` comes to hold `groups`: endpoints stay where they are, new ones go where
/// there is room, then into new slices; empty slices go, but one stays for a Service without any endpoint.
pub(super) fn reconcile_slices(
    template: &EndpointSlice,
    mut groups: Groups,
    existing: Vec<&EndpointSlice>,
) -> Vec<Write> {
    let mut slices: Vec<(&EndpointSlice, EndpointSlice)> = Vec::new();
    let mut spare = Vec::new();
    for slice in existing {
        let mut wanted = slice.clone();
        wanted.metadata.labels.clone_from(&template.metadata.labels);
        match groups.get_mut(&ports_key(slice.ports.as_ref())) {
            Some((_, endpoints)) => {
                keep(&mut wanted, endpoints);
                slices.push((slice, wanted));
            }
            None => spare.push((slice, wanted)),
        }
    }
    let mut writes = Vec::new();
    for (key, (ports, mut endpoints)) in groups {
        let same = slices.iter_mut().filter(|(s, _)| ports_key(s.ports.as_ref()) == key);
        for (_, slice) in same {
            fill(slice, &mut endpoints);
        }
        while !endpoints.is_empty() {
            let reused = spare.pop();
            let mut slice = reused.as_ref().map_or_else(|| template.clone(), |(_, wanted)| wanted.clone());
            slice.endpoints = None;
            slice.ports = Some(ports.clone());
            fill(&mut slice, &mut endpoints);
            match reused {
                Some((old, _)) => slices.push((old, slice)),
                None => writes.push(Write::create(&slice)),
            }
        }
    }
    finish(template, slices, spare, writes)
}

fn finish(
    template: &EndpointSlice,
    slices: Vec<(&EndpointSlice, EndpointSlice)>,
    spare: Vec<(&EndpointSlice, EndpointSlice)>,
    mut writes: Vec<Write>,
) -> Vec<Write> {
    let is_empty = |s: &EndpointSlice| s.endpoints.as_ref().is_none_or(Vec::is_empty);
    let (mut empty, full): (Vec<_>, Vec<_>) = slices.into_iter().partition(|(_, s)| is_empty(s));
    empty.extend(spare);
    let changed = full.iter().filter(|(old, new)| *old != new);
    let updates: Vec<Write> = changed.map(|(_, new)| Write::update(new)).collect();
    if full.is_empty() && writes.is_empty() {
        // The placeholder.
        match empty.pop() {
            None => writes.push(Write::create(template)),
            Some((old, mut new)) => {
                (new.endpoints, new.ports) = (Some(Vec::new()), None);
                let bare = old.ports.as_ref().is_none_or(Vec::is_empty) && is_empty(old);
                if !bare || old.metadata != new.metadata {
                    writes.push(Write::update(&new));
                }
            }
        }
    }
    writes.extend(updates);
    writes.extend(empty.into_iter().map(|(old, _)| Write::delete(old)));
    writes
}

/// Keeps what is still wanted of a slice's endpoints, in its newest state, and takes it out of `wanted`.
fn keep(slice: &mut EndpointSlice, wanted: &mut VecDeque<Endpoint>) {
    let mut kept = Vec::new();
    for old in slice.endpoints.take().unwrap_or_default() {
        if let Some(at) = wanted.iter().position(|e| identity(e) == identity(&old)) {
            kept.extend(wanted.remove(at));
        }
    }
    slice.endpoints = Some(kept);
}

/// Moves endpoints into a slice as long as there is room.
fn fill(slice: &mut EndpointSlice, endpoints: &mut VecDeque<Endpoint>) {
    let held = slice.endpoints.get_or_insert_default();
    while held.len() < MAX_ENDPOINTS {
        let Some(next) = endpoints.pop_front() else { return };
        held.push(next);
    }
}

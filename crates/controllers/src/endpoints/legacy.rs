//! Endpoints objects of Services with a selector (`pkg/controller/endpoint`).

use super::{
    addresses, find_port, hostname, is_endpoint, is_headless, keys_of_pod, node_name, selected, selector,
    target,
};
use crate::pods;
use api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service, ServiceSpec};
use api::{MetaExt, ObjectMeta, names};
use client::View;
use reconcile::{Controller, Cx, EventNote, Plan, Watch, Write};
use std::collections::{BTreeMap, BTreeSet};

/// Addresses in one object; more are left out (`maxCapacity`).
const MAX_ADDRESSES: usize = 1000;

/// The controller.
pub(crate) struct EndpointsObjects;

/// Who we are on what we made.
const MANAGER: &str = "endpoint-controller";

impl Controller for EndpointsObjects {
    fn name(&self) -> &'static str {
        "endpoint-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::own::<Service>(), Watch::each::<Pod>(keys_of_pod), Watch::own::<Endpoints>()]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let (service, current) = (cx.view.at::<Service>(cx.key), cx.view.at::<Endpoints>(cx.key));
        match (service, current) {
            // Only what we made goes with its Service.
            (None, Some(e)) if is_ours(e) => Plan::one(Write::delete(e)),
            (Some(s), current) if selector(s).is_some() && !s.is_deleting() => plan(cx.view, s, current),
            _ => Plan::done(),
        }
    }
}

fn is_ours(e: &Endpoints) -> bool {
    e.label(names::LABEL_ENDPOINTS_MANAGED_BY) == Some(MANAGER)
}

fn plan(view: View<'_>, service: &Service, current: Option<&Endpoints>) -> Plan {
    let Some(spec) = &service.spec else { return Plan::done() };
    let mut subsets = subsets(view, service, spec);
    let truncated = truncate(&mut subsets);
    let mut labels = service.labels().clone();
    if is_headless(spec) {
        labels.insert(names::LABEL_SERVICE_HEADLESS.to_owned(), String::new());
    } else {
        labels.remove(names::LABEL_SERVICE_HEADLESS);
    }
    labels.insert(names::LABEL_ENDPOINTS_MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut wanted = current.cloned().unwrap_or_else(|| Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        subsets: None,
    });
    wanted.metadata.labels = Some(labels);
    wanted.subsets = (!subsets.is_empty()).then_some(subsets);
    let annotations = wanted.metadata.annotations.get_or_insert_default();
    if truncated {
        annotations.insert(names::ANNOTATION_ENDPOINTS_OVER_CAPACITY.to_owned(), "truncated".to_owned());
    } else {
        annotations.remove(names::ANNOTATION_ENDPOINTS_OVER_CAPACITY);
    }
    if annotations.is_empty() {
        wanted.metadata.annotations = None;
    }
    match current {
        Some(current) if *current == wanted => Plan::done(),
        Some(_) => Plan::one(Write::update(&wanted).or(failed(&wanted, "Update"))),
        None => Plan::one(Write::create(&wanted).or(failed(&wanted, "Create"))),
    }
}

fn failed(e: &Endpoints, verb: &str) -> EventNote {
    let what = if verb == "Create" { "create endpoint for service" } else { "update endpoint" };
    let message = format!("Failed to {what} {}/{}: {{}}", e.namespace(), e.name());
    EventNote::warning(e, &format!("FailedTo{verb}Endpoint"), message)
}

/// A port in an order.
type PortKey = (String, i32, String, Option<String>);

/// Addresses in order of themselves and their pods' UIDs, and whether each is ready.
type Addresses = BTreeMap<(String, String), (bool, EndpointAddress)>;

/// The addresses of each set of ports, the ready ones apart (`RepackSubsets`).
fn subsets(view: View<'_>, service: &Service, spec: &ServiceSpec) -> Vec<EndpointSubset> {
    let published = spec.publish_not_ready_addresses == Some(true);
    let ipv6 = spec.ip_families.iter().flatten().next().is_some_and(|f| f == "IPv6");
    let mut groups: BTreeMap<BTreeSet<PortKey>, Addresses> = BTreeMap::new();
    for pod in selected(view, service).filter(|p| is_endpoint(p, published)) {
        let Some(ip) = addresses(pod, ipv6).into_iter().next() else { continue };
        let ports: BTreeSet<PortKey> = ports(pod, spec);
        if ports.is_empty() && spec.ports.as_ref().is_some_and(|p| !p.is_empty()) {
            continue;
        }
        let address = EndpointAddress {
            ip: ip.clone(),
            hostname: hostname(pod, service),
            node_name: node_name(pod),
            target_ref: Some(target(pod)),
        };
        let ready = published || pods::is_ready(pod);
        groups.entry(ports).or_default().insert((ip, pod.uid().to_owned()), (ready, address));
    }
    groups.into_iter().map(|(ports, addresses)| subset(ports, addresses.into_values())).collect()
}

fn ports(pod: &Pod, spec: &ServiceSpec) -> BTreeSet<PortKey> {
    let ports = spec.ports.iter().flatten();
    let found = ports.filter_map(|p| {
        let protocol = p.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        Some((p.name.clone().unwrap_or_default(), find_port(pod, p)?, protocol, p.app_protocol.clone()))
    });
    found.collect()
}

fn subset(
    ports: BTreeSet<PortKey>,
    addresses: impl Iterator<Item = (bool, EndpointAddress)>,
) -> EndpointSubset {
    let (ready, waiting): (Vec<_>, Vec<_>) = addresses.partition(|(ready, _)| *ready);
    let list = |all: Vec<(bool, EndpointAddress)>| {
        (!all.is_empty()).then(|| all.into_iter().map(|(_, address)| address).collect())
    };
    let ports = ports.into_iter().map(|(name, port, protocol, app_protocol)| EndpointPort {
        name: Some(name).filter(|n| !n.is_empty()),
        port,
        protocol: Some(protocol),
        app_protocol,
    });
    let ports: Vec<EndpointPort> = ports.collect();
    EndpointSubset {
        addresses: list(ready),
        not_ready_addresses: list(waiting),
        ports: (!ports.is_empty()).then_some(ports),
    }
}

/// Leaves out addresses beyond the bound, those that aren't ready first; tells whether it did.
fn truncate(subsets: &mut [EndpointSubset]) -> bool {
    let count = |a: &Option<Vec<EndpointAddress>>| a.as_ref().map_or(0, Vec::len);
    let total: usize = subsets.iter().map(|s| count(&s.addresses) + count(&s.not_ready_addresses)).sum();
    let mut surplus = total.saturating_sub(MAX_ADDRESSES);
    let truncated = surplus > 0;
    let mut cut = |list: &mut Option<Vec<EndpointAddress>>| {
        let Some(all) = list else { return };
        let drop = surplus.min(all.len());
        all.truncate(all.len() - drop);
        surplus -= drop;
        if all.is_empty() {
            *list = None;
        }
    };
    subsets.iter_mut().rev().for_each(|s| cut(&mut s.not_ready_addresses));
    subsets.iter_mut().rev().for_each(|s| cut(&mut s.addresses));
    truncated
}

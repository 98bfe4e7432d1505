//! EndpointSlices for Endpoints objects that people write themselves, for Services without a selector
//! (`pkg/controller/endpointslicemirroring`).

use super::selector;
use super::slices::{blank, ports_key, reconcile_slices, slices_of};
use api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use api::{MetaExt, names};
use client::{Key, View};
use reconcile::{Controller, Cx, Plan, Watch, Write};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

/// Addresses of one subset that are mirrored (`MirroringMaxEndpointsPerSubset`).
const MAX_PER_SUBSET: usize = 1000;

/// The controller.
pub(crate) struct EndpointSliceMirror;

impl Controller for EndpointSliceMirror {
    fn name(&self) -> &'static str {
        "endpoint-slice-mirroring-controller"
    }

    fn account(&self) -> &'static str {
        "endpointslicemirroring-controller"
    }

    fn watches(&self) -> Vec<Watch> {
        vec![Watch::own::<Endpoints>(), Watch::own::<Service>(), Watch::each::<EndpointSlice>(keys_of_slice)]
    }

    fn plan(&self, cx: &Cx<'_>) -> Plan {
        let (namespace, name) = (&*cx.key.namespace, &*cx.key.name);
        let manager = names::ENDPOINT_SLICE_MIRRORING_CONTROLLER;
        let existing: Vec<&EndpointSlice> = slices_of(cx.view, name, namespace, manager).collect();
        let service = cx.view.at::<Service>(cx.key).filter(|s| selector(s).is_none());
        let endpoints = cx.view.at::<Endpoints>(cx.key).filter(|e| is_mirrored(e));
        match (service, endpoints) {
            (Some(service), Some(endpoints)) if !service.is_deleting() => plan(service, endpoints, &existing),
            _ => Plan { writes: existing.into_iter().map(Write::delete).collect(), ..Plan::default() },
        }
    }
}

fn keys_of_slice(_: View<'_>, slice: &EndpointSlice, keys: &mut Vec<Key>) {
    let manager = slice.label(names::LABEL_ENDPOINT_SLICE_MANAGED_BY);
    if manager == Some(names::ENDPOINT_SLICE_MIRRORING_CONTROLLER) {
        keys.extend(slice.label(names::LABEL_SERVICE_NAME).map(|name| Key::new(slice.namespace(), name)));
    }
}

fn is_mirrored(e: &Endpoints) -> bool {
    let leader = e.annotation("control-plane.alpha.kubernetes.io/leader").is_some();
    !leader && e.label(names::LABEL_ENDPOINT_SLICE_SKIP_MIRROR) != Some("true") && !e.is_deleting()
}

fn plan(service: &Service, endpoints: &Endpoints, existing: &[&EndpointSlice]) -> Plan {
    let mut plan = Plan::default();
    for (family, ipv6) in [("IPv4", false), ("IPv6", true)] {
        let mut groups = BTreeMap::new();
        for subset in endpoints.subsets.iter().flatten() {
            let mirrored = addresses(subset, ipv6);
            if mirrored.is_empty() {
                continue;
            }
            let ports = ports(subset);
            let group = groups.entry(ports_key(Some(&ports))).or_insert_with(|| (ports, VecDeque::new()));
            group.1.extend(mirrored);
        }
        let of_family: Vec<&EndpointSlice> =
            existing.iter().copied().filter(|s| s.address_type == family).collect();
        if groups.is_empty() {
            plan.writes.extend(of_family.into_iter().map(Write::delete));
        } else {
            let by = (endpoints, names::ENDPOINT_SLICE_MIRRORING_CONTROLLER);
            let template = blank(service, by, endpoints.labels().clone(), family);
            plan.writes.extend(reconcile_slices(&template, groups, of_family));
        }
    }
    plan
}

fn ports(subset: &EndpointSubset) -> Vec<EndpointPort> {
    let ports = subset.ports.iter().flatten().map(|p| EndpointPort {
        name: Some(p.name.clone().unwrap_or_default()),
        port: Some(p.port),
        protocol: Some(p.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
        app_protocol: p.app_protocol.clone(),
    });
    ports.collect()
}

fn addresses(subset: &EndpointSubset, ipv6: bool) -> Vec<Endpoint> {
    let ready = subset.addresses.iter().flatten().map(|a| (a, true));
    let waiting = subset.not_ready_addresses.iter().flatten().map(|a| (a, false));
    let of_family =
        |(a, _): &(&EndpointAddress, bool)| a.ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6() == ipv6);
    let all = ready.chain(waiting).filter(of_family).take(MAX_PER_SUBSET);
    let mirrored = all.map(|(a, ready)| Endpoint {
        addresses: vec![a.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: a.hostname.clone(),
        node_name: a.node_name.clone(),
        target_ref: a.target_ref.clone(),
        ..Endpoint::default()
    });
    mirrored.collect()
}

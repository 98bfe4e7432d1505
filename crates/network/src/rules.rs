//! Services and their endpoints as a rule set: a value that can be compared, printed and tested.
//!
//! Behaviour as kube-proxy's (`pkg/proxy/serviceport.go`, `topology.go`): ready endpoints first; when there is none, those
//! that still serve while they terminate; `internalTrafficPolicy: Local` keeps to this node.

use api::ObjectMeta;
use api::core::v1::{Service, ServicePort, ServiceSpec};
use api::discovery::v1::{Endpoint, EndpointSlice};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

/// More endpoints than this of one service port on one node are left out: a packet picks among them by a number
/// below this one.
pub const MAX_BACKENDS: usize = 1024;

/// A transport protocol that a service can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// SCTP
    Sctp,
}

impl Protocol {
    /// From the API's word; none for a word that the API doesn't have.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "TCP" | "" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            "SCTP" => Some(Self::Sctp),
            _ => None,
        }
    }

    /// As nftables and SRV records spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// What a packet to a service is recognised by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Frontend {
    /// The service's address; none for a node port, which every address of the node has.
    pub address: Option<Ipv4Addr>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port.
    pub port: u16,
}

/// Where such packets go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backends {
    /// `sessionAffinity: ClientIP`: a client gets the endpoint of its last connection again, if that is at most so many
    /// seconds ago.
    pub affinity: Option<u32>,
    /// Endpoints, sorted, each once. Empty: the packet is refused.
    pub targets: Vec<SocketAddrV4>,
}

/// All services of the cluster as one node sees them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleSet {
    /// What goes where.
    pub frontends: BTreeMap<Frontend, Backends>,
}

impl RuleSet {
    /// Every address that is an endpoint: a pod that reaches itself through a service needs its source changed.
    pub fn endpoints(&self) -> BTreeSet<Ipv4Addr> {
        self.frontends.values().flat_map(|b| b.targets.iter().map(|t| *t.ip())).collect()
    }
}

/// The service that an EndpointSlice belongs to, as (namespace, name).
pub fn service_of(slice: &EndpointSlice) -> Option<(String, String)> {
    let name = slice.metadata.labels.as_ref()?.get("kubernetes.io/service-name")?;
    Some((slice.metadata.namespace.clone()?, name.clone()))
}

/// Services and slices with one of these labels are somebody else's to serve (`NewProxyServer` of `cmd/kube-proxy`).
const OTHERS_LABELS: [&str; 2] =
    ["service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"];

fn is_others(metadata: &ObjectMeta) -> bool {
    let labels = metadata.labels.as_ref();
    OTHERS_LABELS.iter().any(|name| labels.is_some_and(|l| l.contains_key(*name)))
}

/// Adds the front ends of one service. `slices` are those of this service, `node` is this node's name.
pub fn add_service(rules: &mut RuleSet, service: &Service, slices: &[&EndpointSlice], node: &str) {
    let Some(spec) = service.spec.as_ref() else { return };
    let headless =
        spec.type_.as_deref() == Some("ExternalName") || spec.cluster_ip.as_deref() == Some("None");
    if headless || is_others(&service.metadata) {
        return;
    }
    let affinity = affinity(spec);
    for port in spec.ports.iter().flatten() {
        let Some(protocol) = Protocol::parse(port.protocol.as_deref().unwrap_or("TCP")) else { continue };
        let backends =
            |local: bool| Backends { affinity, targets: targets(port, protocol, slices, node, local) };
        let inside = backends(spec.internal_traffic_policy.as_deref() == Some("Local"));
        for address in cluster_addresses(spec) {
            if let Ok(number) = u16::try_from(port.port) {
                rules
                    .frontends
                    .insert(Frontend { address: Some(address), protocol, port: number }, inside.clone());
            }
        }
        let outside = backends(spec.external_traffic_policy.as_deref() == Some("Local"));
        for address in balancer_addresses(service) {
            if let Ok(number) = u16::try_from(port.port) {
                rules
                    .frontends
                    .insert(Frontend { address: Some(address), protocol, port: number }, outside.clone());
            }
        }
        if let Some(number) = port.node_port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p != 0) {
            rules.frontends.insert(Frontend { address: None, protocol, port: number }, outside);
        }
    }
}

/// For how many seconds a client belongs to an endpoint (`DefaultClientIPServiceAffinitySeconds`: three hours).
fn affinity(spec: &ServiceSpec) -> Option<u32> {
    const DEFAULT_SECONDS: u32 = 10_800;
    let client_ip = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref());
    let seconds = client_ip.and_then(|c| c.timeout_seconds).and_then(|n| u32::try_from(n).ok());
    (spec.session_affinity.as_deref() == Some("ClientIP"))
        .then(|| seconds.filter(|n| *n > 0).unwrap_or(DEFAULT_SECONDS))
}

fn cluster_addresses(spec: &ServiceSpec) -> BTreeSet<Ipv4Addr> {
    let many = spec.cluster_ips.iter().flatten();
    many.chain(&spec.cluster_ip).filter_map(|ip| ip.parse().ok()).collect()
}

fn balancer_addresses(service: &Service) -> Vec<Ipv4Addr> {
    let ingress =
        service.status.as_ref().and_then(|s| s.load_balancer.as_ref()).and_then(|b| b.ingress.as_ref());
    let proxied = ingress.into_iter().flatten().filter(|i| i.ip_mode.as_deref() != Some("Proxy"));
    proxied.filter_map(|i| i.ip.as_ref()?.parse().ok()).collect()
}

/// The endpoints of one service port. The slices name a port as the service does.
fn targets(
    port: &ServicePort,
    protocol: Protocol,
    slices: &[&EndpointSlice],
    node: &str,
    local: bool,
) -> Vec<SocketAddrV4> {
    let (mut ready, mut serving) = (BTreeSet::new(), BTreeSet::new());
    for slice in slices.iter().filter(|s| s.address_type == "IPv4" && !is_others(&s.metadata)) {
        let same = slice.ports.iter().flatten().find(|p| {
            p.name.as_deref().unwrap_or_default() == port.name.as_deref().unwrap_or_default()
                && Protocol::parse(p.protocol.as_deref().unwrap_or("TCP")) == Some(protocol)
        });
        let Some(number) = same.and_then(|p| p.port).and_then(|p| u16::try_from(p).ok()) else { continue };
        for endpoint in
            slice.endpoints.iter().flatten().filter(|e| !local || e.node_name.as_deref() == Some(node))
        {
            let Some(address) = endpoint.addresses.first().and_then(|a| a.parse().ok()) else { continue };
            let target = SocketAddrV4::new(address, number);
            if is_ready(endpoint) {
                ready.insert(target);
            } else if serves_while_terminating(endpoint) {
                serving.insert(target);
            }
        }
    }
    let chosen = if ready.is_empty() { serving } else { ready };
    chosen.into_iter().take(MAX_BACKENDS).collect()
}

/// Absent means ready (the API's rule for `conditions.ready`).
pub(crate) fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true)
}

fn serves_while_terminating(endpoint: &Endpoint) -> bool {
    let c = endpoint.conditions.as_ref();
    c.and_then(|c| c.serving).unwrap_or(false) && c.and_then(|c| c.terminating).unwrap_or(false)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    pub(crate) fn service(spec: Value) -> Service {
        let v = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec});
        serde_json::from_value(v).unwrap()
    }

    pub(crate) fn slice(endpoints: Value, ports: Value) -> EndpointSlice {
        serde_json::from_value(json!({"addressType": "IPv4", "endpoints": endpoints, "ports": ports,
            "metadata": {"name": "web-x", "namespace": "default",
                "labels": {"kubernetes.io/service-name": "web"}}}))
        .unwrap()
    }

    fn rules(spec: Value, slices: &[EndpointSlice]) -> Vec<String> {
        let mut set = RuleSet::default();
        add_service(&mut set, &service(spec), &slices.iter().collect::<Vec<_>>(), "n1");
        let line = |(f, b): (&Frontend, &Backends)| {
            let address = f.address.map_or("node".to_owned(), |a| a.to_string());
            let targets: Vec<String> = b.targets.iter().map(ToString::to_string).collect();
            let sticky = b.affinity.map_or_else(String::new, |n| format!(" ({n} s)"));
            format!("{address} {} {} -> {}{sticky}", f.protocol.as_str(), f.port, targets.join(" "))
        };
        set.frontends.iter().map(line).collect()
    }

    #[test]
    fn cluster_ip_and_node_port() {
        let spec = json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "type": "NodePort",
            "ports": [{"name": "http", "port": 80, "nodePort": 30080, "protocol": "TCP"}]});
        let endpoints = json!([{"addresses": ["10.1.0.2"]}, {"addresses": ["10.1.0.1"], "conditions": {"ready": true}},
            {"addresses": ["10.1.0.3"], "conditions": {"ready": false}}]);
        let slices = [slice(endpoints, json!([{"name": "http", "port": 8080, "protocol": "TCP"}]))];
        assert_eq!(
            rules(spec, &slices),
            [
                "node tcp 30080 -> 10.1.0.1:8080 10.1.0.2:8080",
                "10.0.0.1 tcp 80 -> 10.1.0.1:8080 10.1.0.2:8080",
            ]
        );
    }

    #[test]
    fn a_client_stays_with_its_endpoint_for_as_long_as_is_asked() {
        let slices = [slice(json!([{"addresses": ["10.1.0.1"]}]), json!([{"port": 80}]))];
        let with = |more: Value| {
            let mut spec = json!({"clusterIP": "10.0.0.1", "ports": [{"port": 80}]});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            rules(spec, &slices).concat()
        };
        let config = json!({"clientIP": {"timeoutSeconds": 10}});
        let plain = "10.0.0.1 tcp 80 -> 10.1.0.1:80";
        assert_eq!(with(json!({"sessionAffinity": "None", "sessionAffinityConfig": config})), plain);
        assert_eq!(with(json!({"sessionAffinity": "ClientIP"})), format!("{plain} (10800 s)"));
        let ten = with(json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": config}));
        assert_eq!(ten, format!("{plain} (10 s)"));
    }

    #[test]
    fn headless_and_external_names_have_no_rules() {
        let ports = json!([{"port": 80}]);
        assert!(rules(json!({"clusterIP": "None", "ports": ports}), &[]).is_empty());
        assert!(
            rules(json!({"type": "ExternalName", "externalName": "a.b", "ports": ports}), &[]).is_empty()
        );
    }

    #[test]
    fn what_others_serve_has_no_rules() {
        let mut set = RuleSet::default();
        let spec = json!({"clusterIP": "10.0.0.1", "ports": [{"port": 80}]});
        let (mut web, endpoints) = (service(spec), json!([{"addresses": ["10.1.0.1"]}]));
        let mut slice = slice(endpoints, json!([{"port": 80}]));
        slice.metadata.labels.as_mut().unwrap().insert(OTHERS_LABELS[1].into(), String::new());
        add_service(&mut set, &web, &[&slice], "n1");
        assert!(set.frontends.values().all(|b| b.targets.is_empty()) && !set.frontends.is_empty());
        web.metadata.labels = Some([(OTHERS_LABELS[0].to_owned(), "mine".to_owned())].into());
        set = RuleSet::default();
        add_service(&mut set, &web, &[&slice], "n1");
        assert!(set.frontends.is_empty());
    }

    #[test]
    fn terminating_endpoints_serve_only_when_nobody_is_ready() {
        let spec = json!({"clusterIP": "10.0.0.1", "ports": [{"port": 80}]});
        let going = json!({"addresses": ["10.1.0.9"], "conditions": {"ready": false, "serving": true, "terminating": true}});
        let ports = json!([{"port": 80}]);
        let alone = [slice(json!([going.clone()]), ports.clone())];
        assert_eq!(rules(spec.clone(), &alone), ["10.0.0.1 tcp 80 -> 10.1.0.9:80"]);
        let both = [slice(json!([going, {"addresses": ["10.1.0.1"]}]), ports)];
        assert_eq!(rules(spec, &both), ["10.0.0.1 tcp 80 -> 10.1.0.1:80"]);
    }

    #[test]
    fn internal_traffic_policy_local_keeps_to_the_node() {
        let spec =
            json!({"clusterIP": "10.0.0.1", "internalTrafficPolicy": "Local", "ports": [{"port": 80}]});
        let endpoints = json!([{"addresses": ["10.1.0.1"], "nodeName": "n1"}, {"addresses": ["10.1.0.2"], "nodeName": "n2"}]);
        assert_eq!(
            rules(spec, &[slice(endpoints, json!([{"port": 80}]))]),
            ["10.0.0.1 tcp 80 -> 10.1.0.1:80"]
        );
    }
}

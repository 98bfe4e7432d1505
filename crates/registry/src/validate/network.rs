//! Ingresses, network policies and endpoints (`pkg/apis/networking/validation/validation.go`,
//! `pkg/apis/discovery/validation/validation.go`).

use super::at::{At, Faults, Unique};
use super::immutable;
use super::service::endpoint_ip;
use meta::{FieldError, FieldPath, Object, names};
use std::net::IpAddr;

/// Most endpoints of a slice, and most ports.
const ENDPOINTS_MAX: usize = 1000;
/// Most ports of a slice.
const PORTS_MAX: usize = 20_000;
/// Most addresses of an endpoint.
const ADDRESSES_MAX: usize = 100;

/// Most hints of an endpoint.
const HINTS_MAX: usize = 8;

/// Endpoints.
pub(crate) fn validate_endpoints(o: &Object) -> Faults {
    let mut faults = Vec::new();
    for subset in At::top(o, "subsets").items() {
        let lists = [subset.get("addresses"), subset.get("notReadyAddresses")];
        if lists.iter().all(|l| l.is_empty()) {
            faults.push(subset.missing("must specify `addresses` or `notReadyAddresses`"));
        }
        for address in lists.iter().flat_map(At::items) {
            let (before, ip) = (faults.len(), address.get("ip"));
            ip.rule(names::legacy_ip, &mut faults);
            // Found twice, in two ways, upstream.
            match faults.len() == before {
                true => endpoint_ip(&ip, &mut faults),
                false => faults.push(ip.invalid("must be a valid IP address")),
            }
            address.get("hostname").optional_rule(names::dns1123_label, &mut faults);
            address.get("nodeName").set_rule(names::dns1123_subdomain, &mut faults);
        }
        let ports = subset.get("ports");
        for port in ports.items() {
            let name = port.get("name");
            if name.is_empty() && ports.len() > 1 {
                faults.push(name.missing(""));
            }
            name.optional_rule(names::dns1123_label, &mut faults);
            port.get("port").port(&mut faults);
            port.get("protocol").one_of(&["SCTP", "TCP", "UDP"], &mut faults);
            if port.get("appProtocol").is_set() {
                port.get("appProtocol").rule(names::qualified_name, &mut faults);
            }
        }
    }
    faults
}

/// EndpointSlice.
pub(crate) fn validate_endpoint_slice(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let kind = At::top(o, "addressType");
    kind.one_of(&["FQDN", "IPv4", "IPv6"], &mut faults);
    let endpoints = At::top(o, "endpoints");
    if endpoints.len() > ENDPOINTS_MAX {
        faults.push(FieldError::too_many(&endpoints.path(), endpoints.len(), ENDPOINTS_MAX));
        return faults;
    }
    slice_ports(&At::top(o, "ports"), &mut faults);
    endpoints.items().for_each(|e| endpoint(&e, kind.str(), &mut faults));
    faults
}

fn slice_ports(ports: &At<'_>, faults: &mut Faults) {
    if ports.len() > PORTS_MAX {
        return faults.push(FieldError::too_many(&ports.path(), ports.len(), PORTS_MAX));
    }
    let mut seen = Unique::default();
    for port in ports.items() {
        let name = port.get("name");
        name.optional_rule(names::dns1123_label, faults);
        if seen.has(name.str()) {
            faults.push(FieldError::duplicate(&name.path(), name.str()));
        }
        port.get("protocol").one_of(&["SCTP", "TCP", "UDP"], faults);
        port.get("appProtocol").set_rule(names::qualified_name, faults);
    }
}

fn endpoint(endpoint: &At<'_>, kind: &str, faults: &mut Faults) {
    let addresses = endpoint.get("addresses");
    match addresses.len() {
        0 => faults.push(addresses.missing("must contain at least 1 address")),
        n if n > ADDRESSES_MAX => faults.push(FieldError::too_many(&addresses.path(), n, ADDRESSES_MAX)),
        _ => {}
    }
    for address in addresses.items() {
        let before = faults.len();
        match kind {
            "FQDN" => address.rule(names::dns1123_subdomain, faults),
            "IPv4" | "IPv6" => {
                address.rule(names::legacy_ip, faults);
                let ip = address.str().parse::<IpAddr>();
                if faults.len() == before && ip.is_ok_and(|ip| ip.is_ipv4() != (kind == "IPv4")) {
                    let article = format!("must be an {kind} address");
                    faults.push(FieldError::invalid(&addresses.path(), address.str(), article));
                }
                endpoint_ip(&address, faults);
            }
            _ => {}
        }
    }
    endpoint.get("nodeName").set_rule(names::dns1123_subdomain, faults);
    endpoint.get("hostname").set_rule(names::dns1123_label, faults);
    endpoint.get("deprecatedTopology").labels(faults);
    for (key, rule) in
        [("forZones", names::label_value as fn(&str) -> Vec<String>), ("forNodes", names::dns1123_subdomain)]
    {
        let list = endpoint.get("hints").get(key);
        let mut seen = Unique::default();
        if list.len() > HINTS_MAX {
            faults.push(FieldError::too_many(&list.path(), list.len(), HINTS_MAX));
            continue;
        }
        for name in list.items().map(|hint| hint.get("name")) {
            seen.check(&name, faults);
            name.rule(rule, faults);
        }
    }
}

/// A change of an EndpointSlice: the type of its addresses stays.
pub(crate) fn validate_endpoint_slice_update(new: &Object, old: &Object) -> Faults {
    immutable(new, old, &["addressType"], &FieldPath::new("addressType"))
}

/// Ingress.
pub(crate) fn validate_ingress(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    let (rules, backend_at) = (spec.get("rules"), spec.get("defaultBackend"));
    if rules.is_empty() && !backend_at.is_set() {
        let why = "either `defaultBackend` or `rules` must be specified";
        faults.push(FieldError::invalid(&spec.path(), rules.value().clone(), why));
    }
    if backend_at.is_set() {
        backend(&backend_at, &mut faults);
    }
    for rule in rules.items() {
        host(&rule.get("host"), &mut faults);
        let http = rule.get("http");
        if http.is_set() {
            http.get("paths").required(&mut faults);
            http.get("paths").items().for_each(|p| path(&p, &mut faults));
        }
    }
    for tls in spec.get("tls").items() {
        for host in tls.get("hosts").items() {
            dns_or_wildcard(&host, &mut faults);
        }
        tls.get("secretName").optional_rule(names::dns1123_subdomain, &mut faults);
    }
    spec.get("ingressClassName").set_rule(names::dns1123_subdomain, &mut faults);
    faults
}

fn dns_or_wildcard(at: &At<'_>, faults: &mut Faults) {
    match at.str().contains('*') {
        true => at.rule(names::wildcard_dns1123_subdomain, faults),
        false => at.rule(names::dns1123_subdomain, faults),
    }
}

fn host(at: &At<'_>, faults: &mut Faults) {
    if at.is_empty() {
        return;
    }
    if at.str().parse::<IpAddr>().is_ok() {
        faults.push(at.invalid("must be a DNS name, not an IP address"));
    }
    dns_or_wildcard(at, faults);
}

const BAD_IN_PATH: [&str; 6] = ["//", "/./", "/../", "%2f", "%2F", "\0"];
const BAD_AT_END: [&str; 2] = ["/..", "/."];

fn path(at: &At<'_>, faults: &mut Faults) {
    let (kind, path) = (at.get("pathType"), at.get("path"));
    if !kind.is_set() {
        return faults.push(kind.missing("pathType must be specified"));
    }
    let absolute = path.str().starts_with('/');
    let not_absolute = || FieldError::invalid(&path.path(), path.str(), "must be an absolute path");
    match kind.str() {
        "Exact" | "Prefix" => {
            if !absolute {
                faults.push(not_absolute());
            }
            for bad in BAD_IN_PATH.iter().filter(|bad| path.str().contains(**bad)) {
                faults.push(path.invalid(format!("must not contain '{bad}'")));
            }
            for bad in BAD_AT_END.iter().filter(|bad| path.str().ends_with(**bad)) {
                faults.push(path.invalid(format!("cannot end with '{bad}'")));
            }
        }
        "ImplementationSpecific" if !path.is_empty() && !absolute => faults.push(not_absolute()),
        "ImplementationSpecific" => {}
        _ => kind.known(&["Exact", "ImplementationSpecific", "Prefix"], faults),
    }
    backend(&at.get("backend"), faults);
}

fn backend(at: &At<'_>, faults: &mut Faults) {
    let (resource, service) = (at.get("resource"), at.get("service"));
    let mut wrong = |why: &str| faults.push(FieldError::invalid(&at.path(), "", why));
    match (resource.is_set(), service.is_set()) {
        (true, true) => wrong("cannot set both resource and service backends"),
        (false, false) => wrong("resource or service backend is required"),
        (true, false) => {
            let group = resource.get("apiGroup");
            if group.is_set() {
                group.rule(names::dns1123_subdomain, faults);
            }
            resource.get("kind").required_rule(names::path_segment, faults);
            resource.get("name").required_rule(names::path_segment, faults);
        }
        (false, true) => {
            service.get("name").required_rule(names::dns1123_label, faults);
            let (name, number) = (service.get("port").get("name"), service.get("port").get("number"));
            match (!name.is_empty(), number.int().is_some_and(|n| n != 0)) {
                (true, true) => {
                    faults.push(FieldError::invalid(
                        &at.path(),
                        "",
                        "cannot set both port name & port number",
                    ));
                }
                (true, false) => name.rule(names::port_name, faults),
                (false, true) => number.port(faults),
                (false, false) => faults.push(at.missing("port name or number is required")),
            }
        }
    }
}

/// Longest controller name.
const CONTROLLER_MAX: usize = 250;

/// IngressClass.
pub(crate) fn validate_ingress_class(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    let controller = spec.get("controller");
    if controller.str().len() > CONTROLLER_MAX {
        faults.push(FieldError::too_long(&controller.path(), CONTROLLER_MAX));
    }
    if controller.required(&mut faults) && !controller.str().contains('/') {
        faults.push(controller.invalid("must be a domain-prefixed path (such as \"acme.io/foo\")"));
    }
    let parameters = spec.get("parameters");
    if parameters.is_set() {
        parameters.get("apiGroup").set_rule(names::dns1123_subdomain, &mut faults);
        parameters.get("kind").required_rule(names::path_segment, &mut faults);
        parameters.get("name").required_rule(names::path_segment, &mut faults);
        let (scope, namespace) = (parameters.get("scope"), parameters.get("namespace"));
        scope.one_of(&["Cluster", "Namespace"], &mut faults);
        if scope.str() == "Namespace" {
            match namespace.is_set() {
                true => namespace.rule(names::dns1123_label, &mut faults),
                false => faults.push(namespace.missing("`parameters.scope` is set to 'Namespace'")),
            }
        }
        if scope.str() == "Cluster" && namespace.is_set() {
            faults.push(namespace.forbidden("`parameters.scope` is set to 'Cluster'"));
        }
    }
    faults
}

/// A change of an IngressClass: its controller stays.
pub(crate) fn validate_ingress_class_update(new: &Object, old: &Object) -> Faults {
    immutable(new, old, &["spec", "controller"], &FieldPath::new("spec.controller"))
}

/// NetworkPolicy.
pub(crate) fn validate_network_policy(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    spec.get("podSelector").selector(&mut faults);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.get(direction).items() {
            rule.get("ports").items().for_each(|p| policy_port(&p, &mut faults));
            rule.get(peers).items().for_each(|p| peer(&p, &mut faults));
        }
    }
    let types = spec.get("policyTypes");
    if types.len() > 2 {
        faults.push(types.invalid("may not specify more than two policyTypes"));
        return faults;
    }
    types.items().for_each(|t| t.known(&["Ingress", "Egress"], &mut faults));
    faults
}

fn policy_port(at: &At<'_>, faults: &mut Faults) {
    at.get("protocol").optional_one_of(&["TCP", "UDP", "SCTP"], faults);
    let (port, end) = (at.get("port"), at.get("endPort"));
    let named = port.value().is_string();
    if port.is_set() && !named {
        port.port_or_name(faults);
    }
    policy_end_port(&port, &end, faults);
    if named {
        port.port_or_name(faults);
    }
}

fn policy_end_port(port: &At<'_>, end: &At<'_>, faults: &mut Faults) {
    let Some(last) = end.int() else { return };
    match (port.int(), port.is_set()) {
        (Some(first), _) => {
            if last < first {
                faults.push(FieldError::invalid(
                    &end.path(),
                    first,
                    "must be greater than or equal to `port`",
                ));
            }
            end.port(faults);
        }
        (None, true) => faults.push(end.invalid("may not be specified when `port` is non-numeric")),
        (None, false) => faults.push(end.invalid("may not be specified when `port` is not specified")),
    }
}

fn peer(peer: &At<'_>, faults: &mut Faults) {
    let (pods, namespaces, block) =
        (peer.get("podSelector"), peer.get("namespaceSelector"), peer.get("ipBlock"));
    pods.selector(faults);
    namespaces.selector(faults);
    let selects = pods.is_set() || namespaces.is_set();
    if block.is_set() {
        ip_block(&block, faults);
    }
    match (selects, block.is_set()) {
        (false, false) => faults.push(peer.missing("must specify a peer")),
        (true, true) => faults.push(peer.forbidden("may not specify both ipBlock and another peer")),
        _ => {}
    }
}

fn ip_block(block: &At<'_>, faults: &mut Faults) {
    let cidr = block.get("cidr");
    if !cidr.required(faults) {
        return;
    }
    cidr.rule(names::legacy_cidr, faults);
    let whole = names::parse_cidr(cidr.str());
    for except in block.get("except").items() {
        let before = faults.len();
        except.rule(names::legacy_cidr, faults);
        let (Some((net, len)), Some((inner, inner_len))) = (whole, names::parse_cidr(except.str())) else {
            continue;
        };
        let inside = inner_len > len && names::mask(inner, len) == names::mask(net, len);
        if faults.len() == before && !inside {
            faults.push(except.invalid("must be a strict subset of `cidr`"));
        }
    }
}

/// ServiceCIDR.
pub(crate) fn validate_service_cidr(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let cidrs = At::top(o, "spec").get("cidrs");
    if cidrs.is_empty() {
        faults.push(cidrs.missing("at least one CIDR required"));
    }
    if cidrs.len() > 2 {
        faults.push(cidrs.invalid("may only hold up to 2 values"));
    }
    cidrs.items().for_each(|c| c.rule(names::cidr, &mut faults));
    faults
}

/// A change of a ServiceCIDR: its ranges stay.
pub(crate) fn validate_service_cidr_update(new: &Object, old: &Object) -> Faults {
    immutable(new, old, &["spec", "cidrs"], &FieldPath::new("spec.cidrs"))
}

//! Services (`pkg/apis/core/validation/validation.go`: `ValidateService`, `ValidateServiceUpdate`).

use super::at::{At, Faults, Unique};
use meta::{FieldError, Object, names};
use std::net::IpAddr;

const HEADLESS: &str = "None";
const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

/// A Service, before what must be allocated is.
pub(crate) fn validate_service(o: &Object) -> Faults {
    let mut faults = Vec::new();
    let spec = At::top(o, "spec");
    let kind = spec.get("type").str();
    let headless = spec.get("clusterIP").str() == HEADLESS;
    if spec.get("ports").is_empty() && !headless && kind != "ExternalName" {
        faults.push(spec.get("ports").missing(""));
    }
    of_type(&spec, kind, headless, &mut faults);
    ports(&spec, &mut faults);
    spec.get("selector").labels(&mut faults);
    affinity(&spec, &mut faults);
    if kind != "ExternalName" {
        addresses(&spec, headless, &mut faults);
    }
    for ip in spec.get("externalIPs").items() {
        let before = faults.len();
        ip.rule(names::legacy_ip, &mut faults);
        if faults.len() == before {
            endpoint_ip(&ip, &mut faults);
        }
    }
    spec.get("type").one_of(&TYPES, &mut faults);
    clashes(&spec.get("ports"), kind, &mut faults);
    load_balancer(&spec, kind, &mut faults);
    traffic(&spec, kind, &mut faults);
    faults
}

fn of_type(spec: &At<'_>, kind: &str, headless: bool, faults: &mut Faults) {
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let path = spec.get("clusterIPs").path().index(0);
            let why = format!("may not be set to 'None' for {kind} services");
            faults.push(FieldError::invalid(&path, HEADLESS, why));
        }
        "ExternalName" => {
            for key in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if !spec.get(key).is_empty() {
                    faults.push(spec.get(key).forbidden("may not be set for ExternalName services"));
                }
            }
            let name = spec.get("externalName");
            let text = name.str().strip_suffix('.').unwrap_or(name.str());
            match text {
                "" => faults.push(name.missing("")),
                text => {
                    let rule = names::dns1123_subdomain(text).into_iter();
                    faults.extend(rule.map(|why| FieldError::invalid(&name.path(), text, why)));
                }
            }
        }
        _ => {}
    }
}

fn ports(spec: &At<'_>, faults: &mut Faults) {
    let mut names_seen = Unique::default();
    let list = spec.get("ports");
    for port in list.items() {
        let name = port.get("name");
        if name.is_empty() {
            if list.len() > 1 {
                faults.push(name.missing(""));
            }
        } else {
            name.rule(names::dns1123_label, faults);
            names_seen.check(&name, faults);
        }
        port.get("port").port(faults);
        port.get("protocol").one_of(&["SCTP", "TCP", "UDP"], faults);
        port.get("targetPort").port_or_name(faults);
        port.get("appProtocol").optional_rule(names::qualified_name, faults);
    }
}

/// Ports that stand in each other's way.
fn clashes(list: &At<'_>, kind: &str, faults: &mut Faults) {
    let (mut node_ports, mut numbers) = (Unique::default(), Unique::default());
    for node in list.items().map(|port| port.get("nodePort")) {
        if kind == "ClusterIP" && node.int().is_some_and(|n| n != 0) {
            faults.push(node.forbidden("may not be used when `type` is 'ClusterIP'"));
        }
    }
    for port in list.items() {
        let (protocol, node) = (port.get("protocol").str(), port.get("nodePort"));
        if node.int().is_some_and(|n| n != 0) && node_ports.has(&format!("{protocol}/{}", node.value())) {
            faults.push(node.duplicate());
        }
    }
    for port in list.items() {
        let (protocol, number) = (port.get("protocol").str(), port.get("port").int().unwrap_or(0));
        if numbers.has(&format!("{protocol}/{number}")) {
            let key = serde_json::json!({"port": number, "protocol": protocol});
            faults.push(FieldError::duplicate(&port.path(), key));
        }
    }
}

/// Longest stickiness: a day.
const AFFINITY_SECONDS_MAX: i64 = 86_400;

fn affinity(spec: &At<'_>, faults: &mut Faults) {
    let (affinity, config) = (spec.get("sessionAffinity"), spec.get("sessionAffinityConfig"));
    affinity.one_of(&["ClientIP", "None"], faults);
    if affinity.str() == "None" && config.is_set() {
        faults.push(config.forbidden("must not be set when session affinity is None"));
    }
    if affinity.str() != "ClientIP" {
        return;
    }
    let seconds = config.get("clientIP").get("timeoutSeconds");
    if !seconds.is_set() {
        faults.push(seconds.missing("when session affinity type is ClientIP"));
    } else if !(1..=AFFINITY_SECONDS_MAX).contains(&seconds.int().unwrap_or(0)) {
        faults.push(seconds.invalid(format!("must be greater than 0 and less than {AFFINITY_SECONDS_MAX}")));
    }
}

fn addresses(spec: &At<'_>, headless: bool, faults: &mut Faults) {
    let (ip, ips, families) = (spec.get("clusterIP"), spec.get("clusterIPs"), spec.get("ipFamilies"));
    let first = ips.items().next().map_or("", |ip| ip.str());
    if ip.is_empty() && !ips.is_empty() {
        faults.push(ips.invalid("must be empty when `clusterIP` is not specified"));
    } else if !ip.is_empty() && !ips.is_empty() && first != ip.str() {
        faults.push(ips.invalid("first value must match `clusterIP`"));
    }
    let mut seen = Unique::default();
    for family in families.items() {
        family.known(&["IPv4", "IPv6"], faults);
        seen.check(&family, faults);
    }
    spec.get("ipFamilyPolicy")
        .optional_one_of(&["PreferDualStack", "RequireDualStack", "SingleStack"], faults);
    let before = faults.len();
    if headless || first == HEADLESS {
        if ips.len() > 1 {
            faults.push(ips.invalid("'None' must be the first and only value"));
        }
        return;
    }
    ips.items().for_each(|ip| ip.rule(names::legacy_ip, faults));
    if ips.len() > 2 {
        faults.push(ips.invalid("may only hold up to 2 values"));
    }
    if faults.len() > before {
        return;
    }
    let parsed: Vec<IpAddr> = ips.items().filter_map(|ip| ip.str().parse().ok()).collect();
    if parsed.len() == 2 && parsed[0].is_ipv4() == parsed[1].is_ipv4() {
        faults.push(ips.invalid("may specify no more than one IP for each IP family"));
    }
    for (i, (ip, family)) in ips.items().zip(families.items()).enumerate() {
        let is_v4 = parsed.get(i).is_some_and(IpAddr::is_ipv4);
        if (family.str() == "IPv4") != is_v4 {
            let why = format!("expected an {} value as indicated by `ipFamilies[{i}]`", family.str());
            faults.push(ip.invalid(why));
        }
    }
}

/// An address that can stand behind a Service.
pub(super) fn endpoint_ip(at: &At<'_>, faults: &mut Faults) {
    let Ok(ip) = at.str().parse::<IpAddr>() else { return };
    if ip.is_unspecified() {
        faults.push(at.invalid(format!("may not be unspecified ({})", at.str())));
    }
    if ip.is_loopback() {
        faults.push(at.invalid("may not be in the loopback range (127.0.0.0/8, ::1/128)"));
    }
    let (link_local, link_multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.segments()[0] & 0xffc0 == 0xfe80, ip.segments()[0] & 0xff0f == 0xff02),
    };
    if link_local {
        faults.push(at.invalid("may not be in the link-local range (169.254.0.0/16, fe80::/10)"));
    }
    if link_multicast {
        faults.push(at.invalid("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"));
    }
}

const ONLY_LB: &str = "may only be used when `type` is 'LoadBalancer'";

fn load_balancer(spec: &At<'_>, kind: &str, faults: &mut Faults) {
    let ranges =
        At::new(spec.get("loadBalancerSourceRanges").value(), spec.path().child("LoadBalancerSourceRanges"));
    if !ranges.is_empty() && kind != "LoadBalancer" {
        faults.push(ranges.forbidden(ONLY_LB));
    }
    for range in ranges.items() {
        let text = range.str().trim();
        let rule = names::legacy_cidr(text).into_iter();
        faults.extend(rule.map(|why| FieldError::invalid(&range.path(), text, why)));
    }
    for key in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        let at = spec.get(key);
        if at.is_set() && kind != "LoadBalancer" {
            faults.push(at.forbidden(ONLY_LB));
        }
    }
    if kind == "LoadBalancer" {
        spec.get("loadBalancerClass").optional_rule(names::qualified_name, faults);
    }
}

fn traffic(spec: &At<'_>, kind: &str, faults: &mut Faults) {
    let external = spec.get("externalTrafficPolicy");
    let accessible = matches!(kind, "LoadBalancer" | "NodePort")
        || (kind == "ClusterIP" && !spec.get("externalIPs").is_empty());
    if accessible {
        external.one_of(&["Cluster", "Local"], faults);
    } else if !external.is_empty() {
        faults.push(external.invalid("may only be set for externally-accessible services"));
    }
    let health = spec.get("healthCheckNodePort");
    let wants_health = kind == "LoadBalancer" && external.str() == "Local";
    if health.int().is_some_and(|n| n != 0) {
        match wants_health {
            true => health.port(faults),
            false => faults.push(health.invalid(
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
            )),
        }
    }
    let internal = spec.get("internalTrafficPolicy");
    if internal.is_set() {
        internal.known(&["Cluster", "Local"], faults);
    } else if matches!(kind, "ClusterIP" | "NodePort" | "LoadBalancer") {
        faults.push(internal.missing(""));
    }
    let distribution = spec.get("trafficDistribution");
    distribution.optional_one_of(&["PreferClose", "PreferSameZone", "PreferSameNode"], faults);
}

/// A change of a Service: its addresses stay.
pub(crate) fn validate_service_update(new: &Object, old: &Object) -> Faults {
    let mut faults = Vec::new();
    let (spec, before) = (At::top(new, "spec"), At::top(old, "spec"));
    let kinds = [&spec, &before].map(|s| s.get("type").str());
    if !kinds.contains(&"ExternalName") && !both_headless(&spec, &before) {
        cluster_ips(&spec, &before, &mut faults);
    }
    if kinds == ["LoadBalancer"; 2]
        && spec.get("loadBalancerClass").value() != before.get("loadBalancerClass").value()
    {
        faults.push(spec.get("loadBalancerClass").invalid("may not change once set"));
    }
    let health = |s: &At<'_>| s.get("healthCheckNodePort").int().filter(|n| *n != 0);
    if let (Some(was), Some(is)) = (health(&before), health(&spec))
        && was != is
    {
        faults.push(spec.get("healthCheckNodePort").forbidden("field is immutable"));
    }
    faults
}

fn both_headless(a: &At<'_>, b: &At<'_>) -> bool {
    [a, b].iter().all(|s| s.get("clusterIP").str() == HEADLESS)
}

fn cluster_ips(spec: &At<'_>, before: &At<'_>, faults: &mut Faults) {
    let (ips, old) = (spec.get("clusterIPs"), before.get("clusterIPs"));
    if !old.is_empty() && ips.is_empty() {
        let why = "primary clusterIP can not be unset";
        faults.push(FieldError::invalid(&ips.path().index(0), ips.value().clone(), why));
    }
    let families = [spec, before].map(|s| s.get("ipFamilies"));
    let first = families.each_ref().map(|list| list.items().next().map_or("", |f| f.str()));
    if !first.contains(&"") && first[0] != first[1] {
        let (path, all) = (families[0].path().index(0), families[0].value().clone());
        faults.push(FieldError::invalid(&path, all, "may not change once set"));
    }
    let compared = if ips.len() == old.len() { ips.len() } else { 1 };
    for (i, (now, was)) in ips.items().zip(old.items()).take(compared).enumerate() {
        if now.str() != was.str() {
            let why = "may not change once set";
            faults.push(FieldError::invalid(&ips.path().index(i), ips.value().clone(), why));
        }
    }
    let policy = spec.get("ipFamilyPolicy");
    if old.len() > ips.len() && ips.len() == 1 && policy.str() != "SingleStack" {
        faults.push(policy.invalid("must be set to 'SingleStack' when releasing the secondary clusterIP"));
    }
}

//! What a Service needs from the cluster's pools: cluster IPs and node ports. The API server holds the pools; here is
//! what to ask them for, and where the answer goes (`pkg/registry/core/service/storage/alloc.go`).
//!
//! On a create or update, after [`crate::Kind::prepare_for_update`] and validation: [`init_families`], then allocate
//! what [`wanted`] lists, then [`put`]. What a stored Service holds is in [`held`]: to fill the pools after a start,
//! and to free what an update or a deletion gives up.

use crate::fill::text;
use crate::table::items;
use meta::{FieldError, FieldPath, Object};
use serde_json::{Value, json};
use std::net::IpAddr;

/// An address family, as `spec.ipFamilies` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `IPv4`
    V4,
    /// `IPv6`
    V6,
}

impl Family {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// From the API's word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::V4, Self::V6].into_iter().find(|f| f.as_str() == word)
    }

    /// The family of an address.
    pub fn of(ip: &str) -> Option<Self> {
        ip.parse().ok().map(|ip: IpAddr| if ip.is_ipv4() { Self::V4 } else { Self::V6 })
    }

    fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

/// One node port to allocate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedPort {
    /// Position in `spec.ports`.
    pub index: usize,
    /// `TCP`, `UDP` or `SCTP`. Ports of different protocols may share a number.
    pub protocol: String,
    /// The number asked for; none for any.
    pub number: Option<u16>,
}

/// What a Service wants to have allocated, beyond what it had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Position in `spec.clusterIPs`, family, and the address asked for.
    pub cluster_ips: Vec<(usize, Family, Option<IpAddr>)>,
    /// Node ports. Those of one Service with the same `port` and different protocols may share a number.
    pub node_ports: Vec<WantedPort>,
    /// Whether it wants a health check node port, and which.
    pub health_check: Option<Option<u16>>,
}

/// What was allocated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allocated {
    /// Position in `spec.clusterIPs`, and the address.
    pub cluster_ips: Vec<(usize, IpAddr)>,
    /// Position in `spec.ports`, and the node port.
    pub node_ports: Vec<(usize, u16)>,
    /// The health check node port.
    pub health_check: Option<u16>,
}

/// What a Service holds of the pools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Cluster IPs.
    pub cluster_ips: Vec<IpAddr>,
    /// Node ports with their protocols; the health check's is `TCP`.
    pub node_ports: Vec<(String, u16)>,
}

const HEADLESS: &str = "None";

fn spec<'a>(o: &'a Object, key: &str) -> &'a str {
    o.str(&["spec", key])
}

fn needs_ip(o: &Object) -> bool {
    spec(o, "type") != "ExternalName"
}

fn needs_node_ports(o: &Object) -> bool {
    let wanted = o.get(&["spec", "allocateLoadBalancerNodePorts"]) != Some(&Value::Bool(false));
    matches!(spec(o, "type"), "NodePort") || (spec(o, "type") == "LoadBalancer" && wanted)
}

fn may_have_node_ports(o: &Object) -> bool {
    matches!(spec(o, "type"), "NodePort" | "LoadBalancer")
}

fn needs_health_check(o: &Object) -> bool {
    spec(o, "type") == "LoadBalancer" && spec(o, "externalTrafficPolicy") == "Local"
}

fn is_external(o: &Object) -> bool {
    may_have_node_ports(o)
        || (spec(o, "type") == "ClusterIP" && !items(o, &["spec", "externalIPs"]).is_empty())
}

fn strings(o: &Object, key: &str) -> Vec<String> {
    items(o, &["spec", key]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn remove(o: &mut Object, key: &str) {
    if let Some(Value::Object(spec)) = o.body.get_mut("spec") {
        spec.remove(key);
    }
}

fn same(a: &Object, b: &Object, key: &str) -> bool {
    a.get(&["spec", key]) == b.get(&["spec", key])
}

fn node_port(p: &Value) -> Option<u16> {
    p.get("nodePort").and_then(Value::as_u64).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0)
}

fn node_ports(o: &Object) -> Vec<u16> {
    items(o, &["spec", "ports"]).iter().filter_map(node_port).collect()
}

/// Carries over what was allocated where an update leaves it out, then drops what the new type has no use for.
pub(crate) fn patch_allocated(new: &mut Object, old: &Object) {
    if needs_ip(old) && needs_ip(new) {
        for key in ["clusterIP", "clusterIPs"] {
            if new.get(&["spec", key]).is_none_or(|v| v == "" || v.is_null())
                && let Some(v) = old.get(&["spec", key])
            {
                let carried = v.clone();
                let changed_singular = key == "clusterIPs" && !same(new, old, "clusterIP");
                if !changed_singular {
                    new.set(&["spec", key], carried);
                }
            }
        }
    }
    if may_have_node_ports(old) && may_have_node_ports(new) {
        carry_node_ports(new, old);
    }
    if needs_health_check(old)
        && needs_health_check(new)
        && new.get(&["spec", "healthCheckNodePort"]).is_none()
    {
        let port = old.get(&["spec", "healthCheckNodePort"]).cloned().unwrap_or_default();
        new.set(&["spec", "healthCheckNodePort"], port);
    }
    drop_type_dependent(new, Some(old));
    plural_of_singular(new);
}

fn carry_node_ports(new: &mut Object, old: &Object) {
    let before: Vec<Value> = items(old, &["spec", "ports"]).to_vec();
    let taken = node_ports(new);
    let Some(spec) = new.body.get_mut("spec") else { return };
    for port in crate::fill::each(spec, "ports") {
        let same = |p: &&Value| p["port"] == port["port"] && p["protocol"] == port["protocol"];
        let number = before.iter().find(same).and_then(node_port).filter(|n| !taken.contains(n));
        if let (None, Some(number)) = (node_port(port), number) {
            port["nodePort"] = number.into();
        }
    }
}

/// `clusterIPs` from a lone `clusterIP`.
fn plural_of_singular(o: &mut Object) {
    let ip = spec(o, "clusterIP").to_owned();
    if !ip.is_empty() && strings(o, "clusterIPs").is_empty() {
        o.set(&["spec", "clusterIPs"], json!([ip]));
    }
}

/// Drops fields that an update's new type has no use for, where the client left them as they were.
pub(crate) fn drop_type_dependent(new: &mut Object, old: Option<&Object>) {
    let Some(old) = old else { return plural_of_singular(new) };
    if needs_ip(old) && !needs_ip(new) {
        for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if same(old, new, key) {
                remove(new, key);
            }
        }
    }
    if may_have_node_ports(old) && !may_have_node_ports(new) && node_ports(old) == node_ports(new) {
        let Some(spec) = new.body.get_mut("spec") else { return };
        for port in crate::fill::each(spec, "ports") {
            port.as_object_mut().map(|p| p.remove("nodePort"));
        }
    }
    let gone = [
        ("healthCheckNodePort", needs_health_check as fn(&Object) -> bool),
        ("allocateLoadBalancerNodePorts", |o| spec(o, "type") == "LoadBalancer"),
        ("loadBalancerClass", |o| spec(o, "type") == "LoadBalancer"),
        ("externalTrafficPolicy", is_external),
    ];
    for (key, used) in gone {
        if used(old) && !used(new) && same(old, new, key) {
            remove(new, key);
        }
    }
    if spec(new, "type") != "LoadBalancer" {
        new.set(&["status", "loadBalancer"], json!({}));
    }
}

/// Decides `ipFamilyPolicy` and `ipFamilies` for a cluster that has `cluster` families, the default one first.
pub fn init_families(new: &mut Object, old: Option<&Object>, cluster: &[Family]) -> Vec<FieldError> {
    let Some(default) = cluster.first().copied().filter(|_| needs_ip(new)) else { return Vec::new() };
    let selectorless = new.get(&["spec", "selector"]).and_then(Value::as_object).is_none_or(|s| s.is_empty());
    let headless = spec(new, "clusterIP") == HEADLESS;
    if spec(new, "ipFamilyPolicy").is_empty() {
        let before = old.map(|o| spec(o, "ipFamilyPolicy")).filter(|p| !p.is_empty());
        let policy =
            before.unwrap_or(if headless && selectorless { "RequireDualStack" } else { "SingleStack" });
        new.set(&["spec", "ipFamilyPolicy"], policy.into());
    }
    let single = spec(new, "ipFamilyPolicy") == "SingleStack";
    if single && let Some(old) = old {
        shorten(new, old);
    }
    let mut faults = Vec::new();
    let mut families = infer_families(new, cluster, &mut faults);
    check_policy(new, &families, cluster, headless && selectorless, &mut faults);
    if !faults.is_empty() {
        return faults;
    }
    if families.is_empty() {
        families.push(default);
    }
    let may_double = cluster.len() == 2 || (headless && selectorless);
    if !single && families.len() == 1 && may_double {
        families.push(families[0].other());
    }
    let words: Vec<&str> = families.iter().map(|f| f.as_str()).collect();
    new.set(&["spec", "ipFamilies"], words.into());
    Vec::new()
}

/// Going back to one family drops the second address and family, where the client left them as they were.
fn shorten(new: &mut Object, old: &Object) {
    for key in ["clusterIPs", "ipFamilies"] {
        let mut list = strings(new, key);
        if list.len() > 1 && same(new, old, key) {
            list.truncate(1);
            new.set(&["spec", key], list.into());
        }
    }
}

fn infer_families(o: &Object, cluster: &[Family], faults: &mut Vec<FieldError>) -> Vec<Family> {
    let mut families: Vec<Family> =
        strings(o, "ipFamilies").iter().filter_map(|f| Family::parse(f)).collect();
    for (i, ip) in strings(o, "clusterIPs").iter().enumerate().take_while(|(_, ip)| *ip != HEADLESS) {
        let Some(family) = Family::of(ip).filter(|_| i >= families.len()) else { continue };
        if cluster.contains(&family) {
            families.push(family);
        } else {
            let path = FieldPath::new("spec").child("clusterIPs").index(i);
            let why = format!("{} is not configured on this cluster", family.as_str());
            faults.push(FieldError::invalid(&path, ip.as_str(), why));
        }
    }
    families
}

fn check_policy(
    o: &Object,
    families: &[Family],
    cluster: &[Family],
    selectorless_headless: bool,
    faults: &mut Vec<FieldError>,
) {
    let spec_path = FieldPath::new("spec");
    let policy = spec(o, "ipFamilyPolicy");
    let path = spec_path.child("ipFamilyPolicy");
    let mut invalid = |why: &str| faults.push(FieldError::invalid(&path, policy, why));
    if policy == "SingleStack" {
        if strings(o, "clusterIPs").len() == 2 {
            invalid(
                "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified",
            );
        }
        if strings(o, "ipFamilies").len() == 2 {
            invalid(
                "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
            );
        }
    }
    if selectorless_headless {
        return;
    }
    if policy == "RequireDualStack" && cluster.len() < 2 {
        invalid("this cluster is not configured for dual-stack services");
    }
    for (i, family) in families.iter().enumerate().filter(|(_, f)| !cluster.contains(f)) {
        let path = spec_path.child("ipFamilies").index(i);
        faults.push(FieldError::invalid(&path, family.as_str(), "not configured on this cluster"));
    }
}

/// What to allocate for `new` beyond what `old` has. Call after [`init_families`].
pub fn wanted(new: &Object, old: Option<&Object>) -> Wanted {
    let mut wanted = Wanted::default();
    let had = old.map(held).unwrap_or_default();
    if needs_ip(new) && spec(new, "clusterIP") != HEADLESS {
        let ips = strings(new, "clusterIPs");
        for (i, family) in strings(new, "ipFamilies").iter().filter_map(|f| Family::parse(f)).enumerate() {
            let ip: Option<IpAddr> = ips.get(i).and_then(|ip| ip.parse().ok());
            if ip.is_none_or(|ip| !had.cluster_ips.contains(&ip)) {
                wanted.cluster_ips.push((i, family, ip));
            }
        }
    }
    for (index, port) in items(new, &["spec", "ports"]).iter().enumerate() {
        let (protocol, number) = (text(port, "protocol").to_owned(), node_port(port));
        let has = number.is_some_and(|n| had.node_ports.contains(&(protocol.clone(), n)));
        if (needs_node_ports(new) || (number.is_some() && may_have_node_ports(new))) && !has {
            wanted.node_ports.push(WantedPort { index, protocol, number });
        }
    }
    if needs_health_check(new) {
        let number = new.get(&["spec", "healthCheckNodePort"]).and_then(Value::as_u64);
        let number = number.and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
        if number.is_none_or(|n| !had.node_ports.contains(&("TCP".to_owned(), n))) {
            wanted.health_check = Some(number);
        }
    }
    wanted
}

/// Writes what was allocated into the Service.
pub fn put(new: &mut Object, allocated: &Allocated) {
    let mut ips = strings(new, "clusterIPs");
    for (i, ip) in &allocated.cluster_ips {
        ips.resize(ips.len().max(i + 1), String::new());
        ips[*i] = ip.to_string();
    }
    if let Some(first) = ips.first() {
        new.set(&["spec", "clusterIP"], first.as_str().into());
        new.set(&["spec", "clusterIPs"], ips.into());
    }
    if let Some(Value::Array(ports)) = new.body.get_mut("spec").and_then(|s| s.get_mut("ports")) {
        for (index, number) in &allocated.node_ports {
            if let Some(Value::Object(port)) = ports.get_mut(*index) {
                port.insert("nodePort".into(), (*number).into());
            }
        }
    }
    if let Some(port) = allocated.health_check {
        new.set(&["spec", "healthCheckNodePort"], port.into());
    }
}

/// What a stored Service holds.
pub fn held(o: &Object) -> Held {
    let cluster_ips = strings(o, "clusterIPs").iter().filter_map(|ip| ip.parse().ok()).collect();
    let port = |p: &Value| Some((text(p, "protocol").to_owned(), node_port(p)?));
    let mut node_ports: Vec<_> = items(o, &["spec", "ports"]).iter().filter_map(port).collect();
    let health = o.get(&["spec", "healthCheckNodePort"]).and_then(Value::as_u64);
    if let Some(n) = health.and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0) {
        node_ports.push(("TCP".to_owned(), n));
    }
    Held { cluster_ips, node_ports }
}

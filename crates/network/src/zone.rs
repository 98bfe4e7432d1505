//! The names of the cluster: Kubernetes' DNS specification 1.1.0
//! (<https://github.com/kubernetes/dns/blob/master/docs/specification.md>) as a pure lookup.

use crate::rules::{Protocol, is_ready};
use api::core::v1::Service;
use api::discovery::v1::EndpointSlice;
use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;

/// A service's answer set.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// The service's own address.
    Cluster(Ipv4Addr),
    /// Each endpoint under a name of its own: its hostname, or its address with dashes.
    Headless(BTreeMap<String, Vec<Ipv4Addr>>),
    /// A name elsewhere.
    External(String),
}

#[derive(Clone, Debug)]
struct Entry {
    target: Target,
    /// (name, protocol, port) of each named port.
    ports: Vec<(String, Protocol, u16)>,
}

/// What a question asks for; other types have no records here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// IPv4 addresses
    A,
    /// Ports and the names that have them
    Srv,
    /// The name of an address
    Ptr,
    /// Text
    Txt,
    /// A type without records in this zone
    Other,
}

/// One record's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// An address
    A(Ipv4Addr),
    /// Another name, fully qualified without the last dot
    Cname(String),
    /// Port and name
    Srv(u16, String),
    /// A name
    Ptr(String),
    /// Text
    Txt(String),
}

/// What the zone says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The name is outside the zone: somebody else must be asked.
    Elsewhere,
    /// There is no such name.
    NoSuchName,
    /// Records; empty where the name is there and has none of that type.
    Records(Vec<Data>),
}

/// All names of the cluster.
#[derive(Clone, Debug)]
pub struct Zone {
    domain: String,
    /// By (namespace, name).
    services: BTreeMap<(String, String), Entry>,
    reverse: HashMap<Ipv4Addr, String>,
}

impl Zone {
    /// A zone with no services. `domain` is the cluster's, usually `cluster.local`.
    pub fn new(domain: &str) -> Self {
        Self { domain: domain.to_ascii_lowercase(), services: BTreeMap::new(), reverse: HashMap::new() }
    }

    /// The cluster's domain.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Forgets a service.
    pub fn remove(&mut self, namespace: &str, name: &str) {
        let Some(entry) = self.services.remove(&(namespace.to_owned(), name.to_owned())) else { return };
        let ips =
            entry.addresses().into_iter().filter_map(|d| if let Data::A(ip) = d { Some(ip) } else { None });
        let own = format!("{name}.{namespace}.svc.{}", self.domain);
        for ip in ips {
            if self.reverse.get(&ip).is_some_and(|n| n.ends_with(&own)) {
                self.reverse.remove(&ip);
            }
        }
    }

    /// Adds a service with the slices that belong to it.
    pub fn add(&mut self, service: &Service, slices: &[&EndpointSlice]) {
        let meta = &service.metadata;
        let (Some(namespace), Some(name), Some(spec)) = (&meta.namespace, &meta.name, &service.spec) else {
            return;
        };
        let own = format!("{name}.{namespace}.svc.{}", self.domain);
        let address = spec.cluster_ip.as_deref().unwrap_or_default();
        let target = match (spec.type_.as_deref(), address, address.parse()) {
            (Some("ExternalName"), ..) => Target::External(spec.external_name.clone().unwrap_or_default()),
            (_, "None", _) => Target::Headless(headless(slices)),
            (_, _, Ok(ip)) => Target::Cluster(ip),
            _ => return,
        };
        match &target {
            Target::Cluster(ip) => drop(self.reverse.insert(*ip, own)),
            Target::Headless(hosts) => {
                for (host, ips) in hosts {
                    self.reverse.extend(ips.iter().map(|ip| (*ip, format!("{host}.{own}"))));
                }
            }
            Target::External(_) => {}
        }
        let ports = match &target {
            Target::Headless(_) => slice_ports(slices),
            _ => service_ports(service),
        };
        self.services.insert((namespace.clone(), name.clone()), Entry { target, ports });
    }

    /// Answers a question. `name` is in lower case, without the last dot.
    pub fn lookup(&self, name: &str, question: Question) -> Answer {
        if let Some(address) = name.strip_suffix(".in-addr.arpa") {
            return self.reverse_lookup(address, question);
        }
        let Some(inside) = name.strip_suffix(&self.domain) else { return Answer::Elsewhere };
        if inside.is_empty() {
            return Answer::Records(Vec::new());
        }
        let Some(inside) = inside.strip_suffix('.') else { return Answer::Elsewhere };
        let labels: Vec<&str> = inside.split('.').rev().collect();
        match labels.as_slice() {
            ["dns-version"] if question == Question::Txt => Answer::Records(vec![Data::Txt("1.1.0".into())]),
            ["dns-version"] | ["svc"] | ["pod"] => Answer::Records(Vec::new()),
            ["svc" | "pod", namespace] if self.has_namespace(namespace) => Answer::Records(Vec::new()),
            ["pod", _, address] => pod(address, question),
            ["svc", namespace, service, below @ ..] => {
                match self.services.get(&((*namespace).to_owned(), (*service).to_owned())) {
                    Some(entry) => self.service(entry, namespace, service, below, question),
                    None => Answer::NoSuchName,
                }
            }
            _ => Answer::NoSuchName,
        }
    }

    fn has_namespace(&self, namespace: &str) -> bool {
        let first = (namespace.to_owned(), String::new());
        self.services.range(first..).next().is_some_and(|((n, _), _)| n == namespace)
    }

    /// `below` are the labels under the service's name, the outermost first.
    fn service(
        &self,
        entry: &Entry,
        namespace: &str,
        service: &str,
        below: &[&str],
        question: Question,
    ) -> Answer {
        let own = format!("{service}.{namespace}.svc.{}", self.domain);
        if let Target::External(name) = &entry.target {
            return if below.is_empty() {
                Answer::Records(vec![Data::Cname(name.clone())])
            } else {
                Answer::NoSuchName
            };
        }
        match below {
            [] => Answer::Records(match question {
                Question::A => entry.addresses(),
                Question::Srv => entry.srv(&own, None),
                _ => Vec::new(),
            }),
            [protocol, port] if protocol.starts_with('_') && port.starts_with('_') => {
                let found = entry.srv(&own, Some((&port[1..], &protocol[1..])));
                match (found.is_empty(), question) {
                    (true, _) => Answer::NoSuchName,
                    (false, Question::Srv) => Answer::Records(found),
                    (false, _) => Answer::Records(Vec::new()),
                }
            }
            [host] => match &entry.target {
                Target::Headless(hosts) if hosts.contains_key(*host) => Answer::Records(match question {
                    Question::A => hosts[*host].iter().copied().map(Data::A).collect(),
                    _ => Vec::new(),
                }),
                _ => Answer::NoSuchName,
            },
            _ => Answer::NoSuchName,
        }
    }

    fn reverse_lookup(&self, address: &str, question: Question) -> Answer {
        let ip = address.split('.').rev().collect::<Vec<_>>().join(".").parse::<Ipv4Addr>();
        match ip.ok().and_then(|ip| self.reverse.get(&ip)) {
            Some(name) if question == Question::Ptr => Answer::Records(vec![Data::Ptr(name.clone())]),
            Some(_) => Answer::Records(Vec::new()),
            None => Answer::Elsewhere,
        }
    }
}

impl Entry {
    fn addresses(&self) -> Vec<Data> {
        match &self.target {
            Target::Cluster(ip) => vec![Data::A(*ip)],
            Target::Headless(hosts) => hosts.values().flatten().copied().map(Data::A).collect(),
            Target::External(_) => Vec::new(),
        }
    }

    /// SRV records of all named ports, or of the one (name, protocol).
    fn srv(&self, own: &str, only: Option<(&str, &str)>) -> Vec<Data> {
        let wanted =
            |p: &&(String, Protocol, u16)| only.is_none_or(|(n, proto)| p.0 == n && p.1.as_str() == proto);
        let ports = self.ports.iter().filter(wanted);
        match &self.target {
            Target::Cluster(_) => ports.map(|p| Data::Srv(p.2, own.to_owned())).collect(),
            Target::Headless(hosts) => {
                ports.flat_map(|p| hosts.keys().map(|host| Data::Srv(p.2, format!("{host}.{own}")))).collect()
            }
            Target::External(_) => Vec::new(),
        }
    }
}

/// `1-2-3-4.namespace.pod.cluster.local`: the address that the name spells.
fn pod(address: &str, question: Question) -> Answer {
    match address.replace('-', ".").parse() {
        Ok(ip) if question == Question::A => Answer::Records(vec![Data::A(ip)]),
        Ok(_) => Answer::Records(Vec::new()),
        Err(_) => Answer::NoSuchName,
    }
}

fn headless(slices: &[&EndpointSlice]) -> BTreeMap<String, Vec<Ipv4Addr>> {
    let mut hosts: BTreeMap<String, Vec<Ipv4Addr>> = BTreeMap::new();
    for endpoint in slices.iter().flat_map(|s| s.endpoints.iter().flatten()).filter(|e| is_ready(e)) {
        for ip in endpoint.addresses.iter().filter_map(|a| a.parse::<Ipv4Addr>().ok()) {
            let host = endpoint.hostname.clone().unwrap_or_else(|| ip.to_string().replace('.', "-"));
            let ips = hosts.entry(host).or_default();
            if !ips.contains(&ip) {
                ips.push(ip);
            }
        }
    }
    hosts
}

fn service_ports(service: &Service) -> Vec<(String, Protocol, u16)> {
    let ports = service.spec.iter().flat_map(|s| s.ports.iter().flatten());
    ports.filter_map(|p| named(p.name.as_deref(), p.protocol.as_deref(), Some(p.port))).collect()
}

fn slice_ports(slices: &[&EndpointSlice]) -> Vec<(String, Protocol, u16)> {
    let ports = slices.iter().flat_map(|s| s.ports.iter().flatten());
    let mut all: Vec<_> =
        ports.filter_map(|p| named(p.name.as_deref(), p.protocol.as_deref(), p.port)).collect();
    all.sort();
    all.dedup();
    all
}

fn named(name: Option<&str>, protocol: Option<&str>, port: Option<i32>) -> Option<(String, Protocol, u16)> {
    let name = name.filter(|n| !n.is_empty())?;
    Some((name.to_owned(), Protocol::parse(protocol.unwrap_or("TCP"))?, u16::try_from(port?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::tests::{service, slice};
    use serde_json::json;

    fn zone(spec: serde_json::Value) -> Zone {
        let mut zone = Zone::new("cluster.local");
        let endpoints = json!([{"addresses": ["10.1.0.1"], "hostname": "web-0"}, {"addresses": ["10.1.0.2"]},
            {"addresses": ["10.1.0.3"], "conditions": {"ready": false}}]);
        let slice = slice(endpoints, json!([{"name": "http", "port": 8080}]));
        zone.add(&service(spec), &[&slice]);
        zone
    }

    fn a(ips: &[[u8; 4]]) -> Answer {
        Answer::Records(ips.iter().map(|ip| Data::A((*ip).into())).collect())
    }

    #[test]
    fn cluster_ip() {
        let z = zone(json!({"clusterIP": "10.0.0.1", "ports": [{"name": "http", "port": 80}]}));
        assert_eq!(z.lookup("web.default.svc.cluster.local", Question::A), a(&[[10, 0, 0, 1]]));
        let srv = Answer::Records(vec![Data::Srv(80, "web.default.svc.cluster.local".into())]);
        assert_eq!(z.lookup("_http._tcp.web.default.svc.cluster.local", Question::Srv), srv);
        assert_eq!(z.lookup("_http._udp.web.default.svc.cluster.local", Question::Srv), Answer::NoSuchName);
        assert_eq!(z.lookup("web.default.svc.cluster.local", Question::Other), Answer::Records(vec![]));
        assert_eq!(z.lookup("web.other.svc.cluster.local", Question::A), Answer::NoSuchName);
        let ptr = Answer::Records(vec![Data::Ptr("web.default.svc.cluster.local".into())]);
        assert_eq!(z.lookup("1.0.0.10.in-addr.arpa", Question::Ptr), ptr);
        assert_eq!(z.lookup("9.9.9.9.in-addr.arpa", Question::Ptr), Answer::Elsewhere);
        assert_eq!(z.lookup("debian.org", Question::A), Answer::Elsewhere);
        assert_eq!(z.lookup("notcluster.local", Question::A), Answer::Elsewhere);
    }

    #[test]
    fn headless_names_each_ready_endpoint() {
        let z = zone(json!({"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}));
        let all = a(&[[10, 1, 0, 2], [10, 1, 0, 1]]);
        assert_eq!(z.lookup("web.default.svc.cluster.local", Question::A), all);
        assert_eq!(z.lookup("web-0.web.default.svc.cluster.local", Question::A), a(&[[10, 1, 0, 1]]));
        assert_eq!(z.lookup("10-1-0-2.web.default.svc.cluster.local", Question::A), a(&[[10, 1, 0, 2]]));
        let srv = vec![
            Data::Srv(8080, "10-1-0-2.web.default.svc.cluster.local".into()),
            Data::Srv(8080, "web-0.web.default.svc.cluster.local".into()),
        ];
        assert_eq!(z.lookup("_http._tcp.web.default.svc.cluster.local", Question::Srv), Answer::Records(srv));
    }

    #[test]
    fn external_name_and_pod() {
        let z = zone(json!({"type": "ExternalName", "externalName": "db.example.com"}));
        let cname = Answer::Records(vec![Data::Cname("db.example.com".into())]);
        assert_eq!(z.lookup("web.default.svc.cluster.local", Question::A), cname);
        assert_eq!(z.lookup("10-1-0-7.default.pod.cluster.local", Question::A), a(&[[10, 1, 0, 7]]));
        assert_eq!(z.lookup("x.default.pod.cluster.local", Question::A), Answer::NoSuchName);
        assert_eq!(
            z.lookup("dns-version.cluster.local", Question::Txt),
            Answer::Records(vec![Data::Txt("1.1.0".into())])
        );
    }
}

//! A rule set as nftables commands: flat maps, so that the number of rules doesn't grow with the services.
//!
//! A packet to a service finds in one map how many endpoints there are (the verdict: a chain for that number), and
//! in a second map the endpoint of the number it drew. The chains depend on the *count* of endpoints alone, so
//! there are as many as there are different counts. A change of one service is the change of its elements, and every
//! change is one transaction of the kernel.
//!
//! Services with affinity have chains that look first for the client in a map of clients. After a packet was translated, a
//! chain for the time that the service asks for writes its client into that map; the kernel takes out what is older.
//!
//! The maps of endpoints are declared with `tcp dport`, `udp dport` and so on, one for each protocol, and used with
//! `th dport`: both are the same two bytes, but nft 1.0 cannot read back a map that was declared with `th`.

use crate::rules::{Backends, Frontend, RuleSet};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::Ipv4Addr;

/// The bridges of pods on this machine: a second node of the cluster may be on it.
const POD_BRIDGES: &str = "ic-*";
/// Clients of services with affinity that the kernel remembers for each protocol; more are served without affinity.
const MAX_CLIENTS: usize = 65_536;

/// What the table needs to know of the node and the cluster.
#[derive(Clone, Debug)]
pub struct Table {
    /// The table's name; one for each cluster on the machine.
    pub name: String,
    /// Addresses of services, as `ADDRESS/BITS`: what isn't translated there is refused at once.
    pub service_cidr: String,
    /// The cluster's DNS, an address in that range which is served on this node itself.
    pub dns: Ipv4Addr,
    /// The node itself, as pods reach it: an address that only this machine and its pods have any business with.
    pub host: Ipv4Addr,
    /// The bridge of this cluster's pods.
    pub bridge: String,
    /// Addresses of the node, as `ADDRESS/BITS`, at which node ports answer.
    pub node_port_addresses: Vec<String>,
}

impl Table {
    /// Commands that make the table anew with these rules, whatever was there before.
    fn replace(&self, rules: &RuleSet) -> String {
        let name = &self.name;
        let mut out = format!("table ip {name} {{}}\ndelete table ip {name}\ntable ip {name} {{\n");
        out.push_str(&self.skeleton());
        for n in counts(rules) {
            out.push_str(&chains(n));
        }
        for seconds in times(rules) {
            out.push_str(&remember(seconds));
        }
        out.push_str("}\n");
        for (frontend, backends) in &rules.frontends {
            self.elements(&mut out, "add", frontend, backends);
        }
        for ip in rules.endpoints() {
            let _ = writeln!(out, "add element ip {name} hairpin {{ {ip} . {ip} }}");
        }
        out
    }

    fn skeleton(&self) -> String {
        let Self { service_cidr, dns, host, bridge, .. } = self;
        let node_ports = self.node_port_addresses.join(", ");
        let service_endpoints = endpoint_maps("service", "ip daddr . meta l4proto");
        let node_port_endpoints = endpoint_maps("node_port", "meta l4proto");
        let (clients, affinity) = (client_maps(), affinity_rules());
        format!(
            "\
\tmap services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
{service_endpoints}\tmap node_ports {{ type inet_proto . inet_service : verdict; }}
{node_port_endpoints}{clients}\tmap service_affinity {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
\tmap node_port_affinity {{ type inet_proto . inet_service : verdict; }}
\tset hairpin {{ type ipv4_addr . ipv4_addr; }}
\tset node_port_addresses {{ type ipv4_addr; flags interval; elements = {{ {node_ports} }} }}
\tchain translate {{
\t\tip daddr . meta l4proto . th dport vmap @services
\t\tfib daddr type local ip daddr @node_port_addresses meta l4proto . th dport vmap @node_ports
\t}}
\tchain guard {{
\t\ttype filter hook prerouting priority raw; policy accept;
\t\tiifname \"{bridge}\" ip daddr 127.0.0.0/8 drop
\t\tiifname != \"lo\" iifname != \"{POD_BRIDGES}\" ip daddr {{ {dns}, {host} }} drop
\t}}
\tchain prerouting {{ type nat hook prerouting priority dstnat; policy accept; jump translate; }}
\tchain output {{ type nat hook output priority -100; policy accept; jump translate; }}
\tchain affinity {{
\t\ttype filter hook postrouting priority srcnat - 10; policy accept;
{affinity}\t}}
\tchain postrouting {{
\t\ttype nat hook postrouting priority srcnat; policy accept;
\t\tct status dnat ip saddr . ip daddr @hairpin masquerade
\t\tct status dnat ip saddr 127.0.0.0/8 oifname \"{bridge}\" masquerade
\t}}
\tchain refuse {{
\t\tip daddr {dns} return
\t\tip daddr {service_cidr} ct state new meta l4proto tcp reject with tcp reset
\t\tip daddr {service_cidr} ct state new reject
\t}}
\tchain filter_forward {{ type filter hook forward priority filter; policy accept; jump refuse; }}
\tchain filter_output {{ type filter hook output priority filter; policy accept; jump refuse; }}
"
        )
    }

    /// The elements of one front end. A front end without endpoints has none: what isn't translated is refused.
    fn elements(&self, out: &mut String, verb: &str, frontend: &Frontend, backends: &Backends) {
        let Some(chain) = chain_of(frontend, backends) else { return };
        let (map, key) = match frontend.address {
            Some(ip) => ("service", format!("{ip} . {} . {}", frontend.protocol.as_str(), frontend.port)),
            None => ("node_port", format!("{} . {}", frontend.protocol.as_str(), frontend.port)),
        };
        let name = &self.name;
        let _ = writeln!(out, "{verb} element ip {name} {map}s {{ {key} : goto {chain} }}");
        if let Some(seconds) = backends.affinity {
            let _ = writeln!(
                out,
                "{verb} element ip {name} {map}_affinity {{ {key} : goto remember_{seconds} }}"
            );
        }
        let each = backends.targets.iter().enumerate();
        let list: Vec<String> =
            each.map(|(i, t)| format!("{key} . {i} : {} . {}", t.ip(), t.port())).collect();
        let (protocol, list) = (frontend.protocol.as_str(), list.join(", "));
        let _ = writeln!(out, "{verb} element ip {name} {map}_endpoints_{protocol} {{ {list} }}");
    }
}

/// What stands in the kernel besides the elements of each service: the chains, and who uses which hairpin.
#[derive(Clone, Debug, Default)]
pub struct Programmed {
    counts: BTreeSet<Count>,
    times: BTreeSet<u32>,
    hairpins: BTreeMap<Ipv4Addr, usize>,
}

impl Programmed {
    /// Commands that make the table anew with these rules, whatever was there before.
    pub fn replace(&mut self, table: &Table, rules: &RuleSet) -> String {
        *self = Self {
            counts: counts(rules),
            times: times(rules),
            hairpins: rules.endpoints().into_iter().map(|ip| (ip, 1)).collect(),
        };
        table.replace(rules)
    }

    /// The same, with the users of each hairpin counted by service.
    pub fn with_users<'a>(mut self, services: impl Iterator<Item = &'a RuleSet>) -> Self {
        self.hairpins.clear();
        for ip in services.flat_map(RuleSet::endpoints) {
            *self.hairpins.entry(ip).or_default() += 1;
        }
        self
    }

    /// Commands that turn one service's rules from `old` into `new`; empty when there is nothing to do.
    pub fn change(&mut self, table: &Table, old: &RuleSet, new: &RuleSet) -> String {
        let name = &table.name;
        let mut out = String::new();
        for n in counts(new) {
            if self.counts.insert(n) {
                let _ = writeln!(out, "table ip {name} {{\n{}}}", chains(n));
            }
        }
        for seconds in times(new) {
            if self.times.insert(seconds) {
                let _ = writeln!(out, "table ip {name} {{\n{}}}", remember(seconds));
            }
        }
        for (frontend, was) in old.frontends.iter().filter(|(f, b)| new.frontends.get(f) != Some(b)) {
            table.elements(&mut out, "delete", frontend, was);
        }
        for (frontend, is) in new.frontends.iter().filter(|(f, b)| old.frontends.get(f) != Some(b)) {
            table.elements(&mut out, "add", frontend, is);
        }
        for ip in new.endpoints() {
            let users = self.hairpins.entry(ip).or_default();
            *users += 1;
            if *users == 1 {
                let _ = writeln!(out, "add element ip {name} hairpin {{ {ip} . {ip} }}");
            }
        }
        for ip in old.endpoints() {
            let Some(users) = self.hairpins.get_mut(&ip) else { continue };
            *users -= 1;
            if *users == 0 {
                self.hairpins.remove(&ip);
                let _ = writeln!(out, "delete element ip {name} hairpin {{ {ip} . {ip} }}");
            }
        }
        out
    }
}

/// A kind of chain: how many endpoints, whether clients are remembered, whether for node ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Count {
    endpoints: usize,
    affinity: bool,
    node_port: bool,
}

impl Count {
    fn of(frontend: &Frontend, backends: &Backends) -> Option<Self> {
        let (endpoints, affinity) = (backends.targets.len(), backends.affinity.is_some());
        (endpoints > 0).then_some(Self { endpoints, affinity, node_port: frontend.address.is_none() })
    }

    fn chain(self) -> String {
        let kind = if self.node_port { "node_port" } else { "service" };
        let how = if self.affinity { "_by_client" } else { "" };
        format!("{kind}{how}_{}", self.endpoints)
    }
}

fn chain_of(frontend: &Frontend, backends: &Backends) -> Option<String> {
    Count::of(frontend, backends).map(Count::chain)
}

fn counts(rules: &RuleSet) -> BTreeSet<Count> {
    rules.frontends.iter().filter_map(|(f, b)| Count::of(f, b)).collect()
}

/// The times for which clients are remembered.
fn times(rules: &RuleSet) -> BTreeSet<u32> {
    let used = rules.frontends.values().filter(|b| !b.targets.is_empty());
    used.filter_map(|b| b.affinity).collect()
}

fn chains(count: Count) -> String {
    let n = count.endpoints;
    let (key, map) = match count.node_port {
        true => ("meta l4proto", "node_port"),
        false => ("ip daddr . meta l4proto", "service"),
    };
    let known = |p: &str| {
        format!("meta l4proto {p} dnat ip to ip saddr . ip daddr . {p} dport map @{};", client_map(p))
    };
    let drawn =
        |p: &str| format!("dnat ip to {key} . th dport . numgen random mod {n} map @{map}_endpoints_{p};");
    let mut rules = if count.affinity { PROTOCOLS.map(known).to_vec() } else { Vec::new() };
    rules.extend(PROTOCOLS.map(drawn));
    format!("\tchain {} {{ {} }}\n", count.chain(), rules.join(" "))
}

/// The chain that writes down, once a packet is translated, which endpoint its client got.
fn remember(seconds: u32) -> String {
    let rule = |p: &str| {
        let client = "ip saddr . ct original ip daddr . ct original proto-dst";
        let map = client_map(p);
        format!(
            "\t\tmeta l4proto {p} update @{map} {{ {client} timeout {seconds}s : ip daddr . {p} dport }}\n"
        )
    };
    format!("\tchain remember_{seconds} {{\n{}\t}}\n", PROTOCOLS.map(rule).concat())
}

/// Sends new connections to services with affinity to the chain that remembers their client.
fn affinity_rules() -> String {
    let rule = |p: &str| {
        let new = format!("\t\tct state new ct status dnat meta l4proto {p}");
        let port = "meta l4proto . ct original proto-dst";
        format!(
            "{new} ct original ip daddr . {port} vmap @service_affinity\n{new} {port} vmap @node_port_affinity\n"
        )
    };
    PROTOCOLS.map(rule).concat()
}

/// The map of a protocol's clients: client, address and port that it sent to, and the endpoint that it got.
pub(crate) fn client_map(protocol: &str) -> String {
    format!("clients_{protocol}")
}

fn client_maps() -> String {
    let map = |p: &str| {
        let kind = "ipv4_addr . ipv4_addr . inet_service : ipv4_addr . inet_service";
        format!("\tmap {} {{ type {kind}; flags dynamic,timeout; size {MAX_CLIENTS}; }}\n", client_map(p))
    };
    PROTOCOLS.map(map).concat()
}

/// Protocols whose ports are translated. Each has maps of its own: what is declared with one protocol's ports, as nft
/// 1.0 needs it, matches no other protocol.
const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

fn endpoint_maps(name: &str, key: &str) -> String {
    let map = |p: &str| {
        format!(
            "\tmap {name}_endpoints_{p} {{ typeof {key} . {p} dport . numgen random mod 65536 : ip daddr . {p} dport; }}\n"
        )
    };
    PROTOCOLS.map(map).concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::Protocol;
    use expect_test::expect;

    fn rules(services: &[(&str, u16, &[&str])]) -> RuleSet {
        let mut set = RuleSet::default();
        for (address, port, targets) in services {
            let frontend = Frontend { address: address.parse().ok(), protocol: Protocol::Tcp, port: *port };
            let targets = targets.iter().map(|t| t.parse().unwrap()).collect();
            set.frontends.insert(frontend, Backends { affinity: None, targets });
        }
        set
    }

    fn table() -> Table {
        Table {
            name: "t".into(),
            service_cidr: "10.0.0.0/16".into(),
            dns: Ipv4Addr::new(10, 0, 0, 10),
            host: Ipv4Addr::new(10, 1, 255, 254),
            bridge: "br".into(),
            node_port_addresses: vec!["127.0.0.0/8".into()],
        }
    }

    #[test]
    fn a_change_touches_only_what_changed() {
        let old = rules(&[("10.0.0.1", 80, &["10.1.0.1:8080"]), ("10.0.0.2", 80, &["10.1.0.7:80"])]);
        let new = rules(&[
            ("10.0.0.1", 80, &["10.1.0.1:8080", "10.1.0.2:8080"]),
            ("10.0.0.2", 80, &["10.1.0.7:80"]),
            ("node", 30080, &[]),
        ]);
        let mut programmed = Programmed::default();
        programmed.replace(&table(), &old);
        expect![[r#"
            table ip t {
            	chain service_2 { dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 2 map @service_endpoints_tcp; dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 2 map @service_endpoints_udp; dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 2 map @service_endpoints_sctp; }
            }
            delete element ip t services { 10.0.0.1 . tcp . 80 : goto service_1 }
            delete element ip t service_endpoints_tcp { 10.0.0.1 . tcp . 80 . 0 : 10.1.0.1 . 8080 }
            add element ip t services { 10.0.0.1 . tcp . 80 : goto service_2 }
            add element ip t service_endpoints_tcp { 10.0.0.1 . tcp . 80 . 0 : 10.1.0.1 . 8080, 10.0.0.1 . tcp . 80 . 1 : 10.1.0.2 . 8080 }
            add element ip t hairpin { 10.1.0.2 . 10.1.0.2 }
        "#]]
        .assert_eq(&programmed.change(&table(), &old, &new));
        assert_eq!(programmed.change(&table(), &new, &new), "");
        programmed.change(&table(), &new, &RuleSet::default());
        assert!(programmed.hairpins.is_empty());
    }

    #[test]
    fn affinity_comes_with_a_chain_for_its_time() {
        let mut new = rules(&[("10.0.0.1", 80, &["10.1.0.1:8080"]), ("node", 30080, &["10.1.0.1:8080"])]);
        new.frontends.values_mut().for_each(|b| b.affinity = Some(10));
        let mut programmed = Programmed::default();
        programmed.replace(&table(), &RuleSet::default());
        expect![[r#"
            table ip t {
            	chain service_by_client_1 { meta l4proto tcp dnat ip to ip saddr . ip daddr . tcp dport map @clients_tcp; meta l4proto udp dnat ip to ip saddr . ip daddr . udp dport map @clients_udp; meta l4proto sctp dnat ip to ip saddr . ip daddr . sctp dport map @clients_sctp; dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 1 map @service_endpoints_tcp; dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 1 map @service_endpoints_udp; dnat ip to ip daddr . meta l4proto . th dport . numgen random mod 1 map @service_endpoints_sctp; }
            }
            table ip t {
            	chain node_port_by_client_1 { meta l4proto tcp dnat ip to ip saddr . ip daddr . tcp dport map @clients_tcp; meta l4proto udp dnat ip to ip saddr . ip daddr . udp dport map @clients_udp; meta l4proto sctp dnat ip to ip saddr . ip daddr . sctp dport map @clients_sctp; dnat ip to meta l4proto . th dport . numgen random mod 1 map @node_port_endpoints_tcp; dnat ip to meta l4proto . th dport . numgen random mod 1 map @node_port_endpoints_udp; dnat ip to meta l4proto . th dport . numgen random mod 1 map @node_port_endpoints_sctp; }
            }
            table ip t {
            	chain remember_10 {
            		meta l4proto tcp update @clients_tcp { ip saddr . ct original ip daddr . ct original proto-dst timeout 10s : ip daddr . tcp dport }
            		meta l4proto udp update @clients_udp { ip saddr . ct original ip daddr . ct original proto-dst timeout 10s : ip daddr . udp dport }
            		meta l4proto sctp update @clients_sctp { ip saddr . ct original ip daddr . ct original proto-dst timeout 10s : ip daddr . sctp dport }
            	}
            }
            add element ip t node_ports { tcp . 30080 : goto node_port_by_client_1 }
            add element ip t node_port_affinity { tcp . 30080 : goto remember_10 }
            add element ip t node_port_endpoints_tcp { tcp . 30080 . 0 : 10.1.0.1 . 8080 }
            add element ip t services { 10.0.0.1 . tcp . 80 : goto service_by_client_1 }
            add element ip t service_affinity { 10.0.0.1 . tcp . 80 : goto remember_10 }
            add element ip t service_endpoints_tcp { 10.0.0.1 . tcp . 80 . 0 : 10.1.0.1 . 8080 }
            add element ip t hairpin { 10.1.0.1 . 10.1.0.1 }
        "#]].assert_eq(&programmed.change(&table(), &RuleSet::default(), &new));
        assert!(!programmed.change(&table(), &new, &RuleSet::default()).contains("chain"));
    }
}

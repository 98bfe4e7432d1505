//! How this node reaches the pods of the others, as a value: from the Nodes' shares of the pods' addresses
//! (`spec.podCIDR`) and their machines' addresses (`InternalIP`). See docs/adr/0013.

use api::MetaExt;
use api::core::v1::Node;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::Ipv4Addr;

/// A range of addresses: its first one, and the length of its prefix.
pub type Range = (Ipv4Addr, u8);

/// What one node needs to know to reach the pods of all others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers {
    /// This node's machine.
    pub machine: Option<Ipv4Addr>,
    /// The first address of this node's own share: what the machine is called among pods of other nodes.
    pub address: Option<Ipv4Addr>,
    /// Which machine has which share of the pods' addresses.
    pub shares: BTreeMap<Range, Ipv4Addr>,
}

impl Peers {
    /// What `me` needs to know. Nodes without a share, on this very machine (the kernel knows the way already), or known
    /// by a loopback address only are left out.
    pub fn of<'a>(nodes: impl Iterator<Item = &'a Node> + Clone, me: &str) -> Self {
        let own = nodes.clone().find(|n| n.name() == me);
        let machine = own.and_then(machine);
        let address = own.and_then(share).map(|(first, _)| first);
        let shares = nodes
            .filter(|n| n.name() != me && !n.is_deleting())
            .filter_map(|n| Some((share(n)?, self::machine(n)?)))
            .filter(|(_, at)| Some(*at) != machine && !at.is_loopback());
        let shares =
            if machine.is_some_and(|m| !m.is_loopback()) { shares.collect() } else { BTreeMap::new() };
        Self { machine, address, shares }
    }

    /// The machines of the others.
    fn machines(&self) -> BTreeSet<Ipv4Addr> {
        self.shares.values().copied().collect()
    }
}

/// The first IPv4 share of a node.
fn share(node: &Node) -> Option<Range> {
    let spec = node.spec.as_ref()?;
    let all = spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr);
    all.filter_map(|text| range(text)).next()
}

/// `10.64.1.0/24`.
pub fn range(text: &str) -> Option<Range> {
    let (address, bits) = text.split_once('/')?;
    let (address, bits) = (address.parse::<Ipv4Addr>().ok()?, bits.parse::<u8>().ok()?);
    (1..=32).contains(&bits).then(|| (Ipv4Addr::from(u32::from(address) & (u32::MAX << (32 - bits))), bits))
}

/// The IPv4 address by which other machines reach a node's.
fn machine(node: &Node) -> Option<Ipv4Addr> {
    let addresses = node.status.as_ref()?.addresses.as_deref()?;
    addresses.iter().filter(|a| a.type_ == "InternalIP").find_map(|a| a.address.parse().ok())
}

/// The hardware address of a machine's end of the tunnels: known to all from the machine's address, so nobody has to
/// tell it. Locally administered.
pub(crate) fn hardware_address(machine: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = machine.octets();
    [0x02, 0x1c, a, b, c, d]
}

/// What the tunnel's rules need to know.
#[derive(Clone, Debug)]
pub struct Table {
    /// The table's name; one for each cluster on the machine.
    pub name: String,
    /// The tunnel's interface.
    pub interface: String,
    /// The bridge of this cluster's pods.
    pub bridge: String,
    /// Addresses of all pods, as `ADDRESS/BITS`.
    pub pods: String,
    /// The cluster's number among those whose tunnels end on one machine.
    pub vni: u32,
    /// UDP port of the tunnels.
    pub port: u16,
}

impl Table {
    /// Commands that make the table anew: tunnelled packets come from machines of nodes only, never from pods; and what
    /// did not come from a pod goes to other nodes under the machine's name among pods, so that answers come back.
    pub fn replace(&self, peers: &Peers) -> String {
        let Self { name, interface, bridge, pods, vni, port } = self;
        let machines: Vec<String> = peers.machines().iter().map(Ipv4Addr::to_string).collect();
        let mut out = format!("table ip {name} {{}}\ndelete table ip {name}\n");
        let _ = write!(
            out,
            "table ip {name} {{
\tset machines {{ type ipv4_addr; elements = {{ {} }} }}
\tchain guard {{
\t\ttype filter hook prerouting priority raw; policy accept;
\t\tiifname \"{bridge}\" udp dport {port} drop
\t\tudp dport {port} @th,96,24 {vni:#x} ip saddr != @machines drop
\t}}
\tchain postrouting {{
\t\ttype nat hook postrouting priority srcnat; policy accept;
\t\toifname \"{interface}\" ip saddr != {pods} masquerade
\t}}
}}
",
            machines.join(", ")
        );
        out
    }
}

/// The networks that an interface has routes to, from the text of `/proc/net/route`.
pub(crate) fn routes_of(interface: &str, routes: &str) -> BTreeSet<Range> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let hex = |n: usize| Some(u32::from_str_radix(fields.get(n)?, 16).ok()?.swap_bytes());
        (fields.first() == Some(&interface))
            .then(|| Some((Ipv4Addr::from(hex(1)?), u8::try_from(hex(7)?.leading_ones()).ok()?)))?
    };
    routes.lines().skip(1).filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    fn node(name: &str, share: &str, machine: &str) -> Node {
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"podCIDR": share},
            "status": {"addresses": [{"type": "Hostname", "address": name},
                {"type": "InternalIP", "address": machine}]}}))
        .unwrap()
    }

    #[test]
    fn every_other_machine_with_a_share_is_a_peer() {
        let nodes = [
            node("a", "10.64.0.0/24", "192.0.2.1"),
            node("b", "10.64.1.0/24", "192.0.2.2"),
            node("beside-a", "10.64.2.0/24", "192.0.2.1"),
            node("waits", "", "192.0.2.4"),
            node("alone", "10.64.4.0/24", "127.0.0.1"),
        ];
        let peers = Peers::of(nodes.iter(), "a");
        expect![[r#"
            Peers {
                machine: Some(
                    192.0.2.1,
                ),
                address: Some(
                    10.64.0.0,
                ),
                shares: {
                    (
                        10.64.1.0,
                        24,
                    ): 192.0.2.2,
                },
            }
        "#]]
        .assert_debug_eq(&peers);
        assert!(Peers::of(nodes.iter(), "alone").shares.is_empty());
        assert!(Peers::of(nodes.iter(), "new").shares.is_empty());
    }

    #[test]
    fn only_machines_of_nodes_are_heard() {
        let nodes = [node("a", "10.64.0.0/24", "192.0.2.1"), node("b", "10.64.1.0/24", "192.0.2.2")];
        let table = Table {
            name: "t".into(),
            interface: "icx-1".into(),
            bridge: "ic-1".into(),
            pods: "10.64.0.0/16".into(),
            vni: 64,
            port: 8472,
        };
        expect![[r#"
            table ip t {}
            delete table ip t
            table ip t {
            	set machines { type ipv4_addr; elements = { 192.0.2.2 } }
            	chain guard {
            		type filter hook prerouting priority raw; policy accept;
            		iifname "ic-1" udp dport 8472 drop
            		udp dport 8472 @th,96,24 0x40 ip saddr != @machines drop
            	}
            	chain postrouting {
            		type nat hook postrouting priority srcnat; policy accept;
            		oifname "icx-1" ip saddr != 10.64.0.0/16 masquerade
            	}
            }
        "#]]
        .assert_eq(&table.replace(&Peers::of(nodes.iter(), "a")));
    }

    #[test]
    fn routes_are_read_back() {
        let text = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n\
            icx-1 0001400A 0001400A 0007 0 0 0 00FFFFFF 0 0 0\neth0 00000000 0100A8C0 0003 0 0 0 00000000 0 0 0\n";
        let found: Vec<String> = routes_of("icx-1", text).iter().map(|(a, b)| format!("{a}/{b}")).collect();
        assert_eq!(found, ["10.64.1.0/24"]);
        assert_eq!(range("10.64.1.7/24"), range("10.64.1.0/24"));
        assert_eq!((range("fd00::/64"), range("10.0.0.0/0")), (None, None));
    }
}

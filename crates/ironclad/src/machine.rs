//! The machine's own addresses.

use network::address::Ranges;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// An address that no machine has (RFC 5737): the way there is the way to everywhere.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Any port: nothing is sent.
const ANY_PORT: u16 = 9;

/// Every IPv4 address of this machine (of this network namespace).
pub(crate) fn addresses() -> BTreeSet<Ipv4Addr> {
    local(&std::fs::read_to_string("/proc/net/fib_trie").unwrap_or_default())
}

/// Leaves of the kernel's routing trie that are local hosts.
fn local(trie: &str) -> BTreeSet<Ipv4Addr> {
    let mut last: Option<Ipv4Addr> = None;
    let mut found = BTreeSet::new();
    for line in trie.lines().map(str::trim) {
        match line.strip_prefix("|-- ") {
            Some(address) => last = address.parse().ok(),
            None if line == "/32 host LOCAL" => found.extend(last),
            None => {}
        }
    }
    found
}

/// The address from which this machine reaches another.
pub(crate) fn towards(other: IpAddr) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Nothing is sent: the kernel looks up the way.
    socket.connect(SocketAddr::new(other, ANY_PORT)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) if !address.is_unspecified() => Some(address),
        _ => None,
    }
}

/// The address by which others most likely reach this machine: the one of the way out, or else the first that is neither
/// loopback nor a cluster's.
pub(crate) fn main_address() -> Option<Ipv4Addr> {
    let others = |a: &Ipv4Addr| !a.is_loopback() && !Ranges::is_of_clusters(*a);
    towards(IpAddr::V4(ELSEWHERE)).filter(others).or_else(|| addresses().into_iter().find(others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_addresses_are_read_from_the_kernels_trie() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     \
            +-- 127.0.0.0/8 2 0 2\n        |-- 127.0.0.1\n           /32 host LOCAL\n     |-- 192.168.7.2\n        \
            /32 host LOCAL\n     |-- 192.168.7.255\n        /32 link BROADCAST\n";
        let found: Vec<String> = local(trie).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.1", "192.168.7.2"]);
        assert!(addresses().contains(&Ipv4Addr::LOCALHOST) || addresses().is_empty());
        assert_eq!(towards(IpAddr::V4(Ipv4Addr::LOCALHOST)), Some(Ipv4Addr::LOCALHOST));
    }
}

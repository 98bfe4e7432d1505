//! Which address of the pod CIDR a sandbox gets. Pure: the sandboxes' records are the only memory.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 network in prefix notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cidr {
    base: u32,
    prefix: u8,
}

/// The smallest pod network: two pods beside network, gateway and broadcast addresses need a /29.
const LONGEST_PREFIX: u8 = 29;

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || {
            format!(
                "invalid pod CIDR {text:?}: want an IPv4 network like 10.244.0.0/24, at most /{LONGEST_PREFIX}"
            )
        };
        let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let address: Ipv4Addr = address.parse().map_err(|_| invalid())?;
        let prefix: u8 =
            prefix.parse().ok().filter(|p| (8..=LONGEST_PREFIX).contains(p)).ok_or_else(invalid)?;
        Ok(Self { base: u32::from(address) & (u32::MAX << (32 - prefix)), prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.base), self.prefix)
    }
}

impl Cidr {
    /// The first IPv4 network of a list ("10.244.0.0/24,fd00::/64").
    pub(crate) fn first_v4(list: &str) -> Result<Self, String> {
        list.split(',').map(str::trim).find(|cidr| !cidr.contains(':')).unwrap_or(list).parse()
    }

    /// The bridge's own address: the network's first.
    pub(crate) fn gateway(self) -> Ipv4Addr {
        Ipv4Addr::from(self.base + 1)
    }

    /// The length of the network part.
    pub(crate) fn prefix(self) -> u8 {
        self.prefix
    }

    fn pods(self) -> std::ops::RangeInclusive<u32> {
        let broadcast = self.base | (u32::MAX >> self.prefix);
        self.base + 2..=broadcast - 1
    }

    /// The next free address after `last` (so that a freed one rests before it serves again), or `None` if all serve.
    pub(crate) fn next_free(self, used: &BTreeSet<Ipv4Addr>, last: Option<Ipv4Addr>) -> Option<Ipv4Addr> {
        let pods = self.pods();
        let start = last.map(|l| u32::from(l) + 1).filter(|s| pods.contains(s)).unwrap_or(*pods.start());
        let free = |address: &Ipv4Addr| !used.contains(address);
        (start..=*pods.end()).chain(*pods.start()..start).map(Ipv4Addr::from).find(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 1, 2, last)
    }

    #[test]
    fn addresses_go_round() {
        let cidr: Cidr = "10.1.2.77/29".parse().expect("a network");
        assert_eq!((cidr.to_string(), cidr.gateway()), ("10.1.2.72/29".to_owned(), ip(73)));
        let used = BTreeSet::from([ip(74), ip(75)]);
        assert_eq!(cidr.next_free(&used, None), Some(ip(76)));
        assert_eq!(cidr.next_free(&used, Some(ip(76))), Some(ip(77)));
        assert_eq!(cidr.next_free(&used, Some(ip(78))), Some(ip(76)));
        let all = (74..=78).map(ip).collect();
        assert_eq!(cidr.next_free(&all, None), None);
    }

    #[test]
    fn lists_and_nonsense() {
        assert_eq!(Cidr::first_v4("fd00::/64, 10.0.0.0/24").map(|c| c.to_string()), Ok("10.0.0.0/24".into()));
        for text in ["", "10.0.0.0", "10.0.0.0/31", "10.0.0.0/x", "fd00::/64"] {
            assert!(Cidr::first_v4(text).is_err(), "{text}");
        }
    }
}

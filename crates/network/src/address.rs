//! Which address ranges a cluster has. Several clusters on one machine must not overlap, so each takes a numbered
//! pair of ranges that nobody on the machine uses yet.

use std::net::Ipv4Addr;

/// How many clusters one machine can hold side by side.
pub const MAX_CLUSTERS: u8 = 60;

/// The ranges of one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranges {
    index: u8,
}

impl Ranges {
    /// The ranges with number `index`; none from [`MAX_CLUSTERS`] up.
    pub fn new(index: u8) -> Option<Self> {
        (index < MAX_CLUSTERS).then_some(Self { index })
    }

    /// The ranges that another machine tells: those with these addresses for pods and services.
    pub fn named(pods: &str, services: &str) -> Option<Self> {
        (0..MAX_CLUSTERS).map(|index| Self { index }).find(|r| r.pods() == pods && r.services() == services)
    }

    /// Whether an address is of a kind that clusters give out: no machine is reached by it.
    pub fn is_of_clusters(address: Ipv4Addr) -> bool {
        let [first, second, ..] = address.octets();
        first == 10 && [64, 128].iter().any(|from| (*from..from + MAX_CLUSTERS).contains(&second))
    }

    /// The number, which names the cluster's interfaces and tables on this machine.
    pub fn index(self) -> u8 {
        self.index
    }

    /// Addresses of pods, as `ADDRESS/BITS`.
    pub fn pods(self) -> String {
        format!("10.{}.0.0/16", 64 + self.index)
    }

    /// Addresses of services, as `ADDRESS/BITS`.
    pub fn services(self) -> String {
        format!("10.{}.0.0/16", 128 + self.index)
    }

    /// The service `kubernetes`: the first address of the services.
    pub fn api(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 128 + self.index, 0, 1)
    }

    /// The cluster's DNS: the tenth address of the services, as everywhere.
    pub fn dns(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 128 + self.index, 0, 10)
    }

    /// The machine itself, as pods reach it: the last host of the pods' range, which no node's share reaches.
    pub fn host(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 64 + self.index, 255, 254)
    }

    /// Network and prefix length of the services.
    pub fn service_network(self) -> (Ipv4Addr, u8) {
        (Ipv4Addr::new(10, 128 + self.index, 0, 0), 16)
    }

    /// Whether a route of the machine (as in `/proc/net/route`) leads into one of the two ranges.
    fn taken_by(self, network: Ipv4Addr, mask: Ipv4Addr) -> bool {
        let (network, mask) = (u32::from(network), u32::from(mask));
        let inside = |second: u8| {
            let ours = u32::from(Ipv4Addr::new(10, second, 0, 0));
            let both = mask & 0xffff_0000;
            ours & both == network & both
        };
        // The default route leads everywhere, and is nobody's claim.
        mask != 0 && (inside(64 + self.index) || inside(128 + self.index))
    }

    /// The first ranges that no route of the machine leads into. `routes` is the text of `/proc/net/route`.
    ///
    /// Where a wide route (a VPN to all of 10.0.0.0/8) takes them all, the first that no equally narrow route takes:
    /// the narrower route wins.
    pub fn free(routes: &str) -> Option<Self> {
        let claims: Vec<(Ipv4Addr, Ipv4Addr)> = routes.lines().skip(1).filter_map(route).collect();
        let narrow = |mask: Ipv4Addr| u32::from(mask) & 0xffff_0000 == 0xffff_0000;
        let find = |wide: bool| {
            let mut all = (0..MAX_CLUSTERS).map(|index| Self { index });
            all.find(|r| !claims.iter().any(|(n, m)| (wide || narrow(*m)) && r.taken_by(*n, *m)))
        };
        find(true).or_else(|| find(false))
    }
}

/// Destination and mask of a line of `/proc/net/route`, where both stand as little-endian hexadecimal.
fn route(line: &str) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let mut fields = line.split_whitespace();
    let mut hex = |n| Some(Ipv4Addr::from(u32::from_str_radix(fields.nth(n)?, 16).ok()?.swap_bytes()));
    Some((hex(1)?, hex(5)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n";

    #[test]
    fn takes_the_first_free_pair() {
        assert_eq!(Ranges::free(HEAD).unwrap().pods(), "10.64.0.0/16");
        let one = format!(
            "{HEAD}eth0 00000000 0100A8C0 0003 0 0 0 00000000 0 0 0\nbr 0000400A 00000000 0001 0 0 0 0000FFFF 0 0 0\n"
        );
        assert_eq!(Ranges::free(&one).unwrap().pods(), "10.65.0.0/16");
        let services = format!("{one}d0 0000810A 00000000 0001 0 0 0 0000FFFF 0 0 0\n");
        assert_eq!(Ranges::free(&services).unwrap().services(), "10.130.0.0/16");
    }

    #[test]
    fn ranges_are_known_by_their_names() {
        let some = Ranges::new(7).unwrap();
        assert_eq!(Ranges::named(&some.pods(), &some.services()), Some(some));
        assert_eq!(Ranges::named("10.64.0.0/16", "10.129.0.0/16"), None);
        assert!(Ranges::is_of_clusters(some.dns()) && Ranges::is_of_clusters(some.host()));
        assert!(!Ranges::is_of_clusters(Ipv4Addr::new(10, 0, 0, 7)));
    }

    #[test]
    fn a_route_to_all_of_ten_yields_to_a_narrower_one() {
        let vpn = format!("{HEAD}tun0 0000000A 00000000 0001 0 0 0 000000FF 0 0 0\n");
        assert_eq!(Ranges::free(&vpn).unwrap().pods(), "10.64.0.0/16");
    }
}
